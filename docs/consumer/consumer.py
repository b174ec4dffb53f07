"""python3 consumer.py HOST PORT FILE.db: stores each record once, and prints the state of each camera."""
import json, os, pathlib, sqlite3, sys, time
from datetime import datetime, timezone
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes

db = sqlite3.connect(sys.argv[3], isolation_level=None, check_same_thread=False)
db.executescript(pathlib.Path(__file__).with_name("records.sql").read_text())
PUT = """INSERT INTO records VALUES (?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET at = excluded.at, body = excluded.body WHERE ?"""
newest = {}  # by topic: status, heartbeat and camera states, with the time at which they came
skew_s = {}  # by device: the error of its clock
parse = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
iso = lambda s: datetime.fromtimestamp(s, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def on_connect(client, *_):
    topics = lambda qos, *leaves: [(f"swellsight/v1/+/+/{leaf}", qos) for leaf in leaves]
    records = ["observation", "backfill", "sea_state", "sea_state/backfill"]
    client.subscribe(topics(1, *(f"camera/+/{leaf}" for leaf in records)))  # queued while this is away
    latest = ["camera/+/latest", "camera/+/sea_state/latest"]
    client.subscribe(topics(0, "status", "health", "camera/+/state", *latest))  # retained


def on_message(_client, _data, packet):
    _, _, site, name, *_, leaf = packet.topic.split("/")
    device, now = f"{site}/{name}", time.time()
    message = json.loads(packet.payload or "null")  # empty: the topic was cleared
    if message and "captured_at" in message:
        skew = skew_s.get(device, 0) if abs(skew_s.get(device, 0)) > 60 else 0  # the clock of the device is wrong
        at = iso(parse(message["captured_at"]) + skew)
        db.execute(PUT, (message["id"], at, iso(now), packet.payload.decode(), leaf != "latest"))
    else:
        if leaf == "health" and message and not packet.retain:
            skew_s[device] = now - parse(message["at"])
        valid_s = getattr(packet.properties, "MessageExpiryInterval", 90)
        newest[packet.topic] = message and {**message, "heard": now, "valid_s": valid_s}


def state_of(camera, status, health, slot, now):
    if status["state"] in ("offline", "stopped"):
        return status["state"]
    # Both times are by the clock of the device: their difference is right although that clock may be wrong.
    due = health["heard"] + parse(slot) - parse(health["at"]) if slot else now
    if not health or now > min(health["heard"], due) + health["valid_s"]:
        return "stale"
    if camera["state"] not in ("up", "starting"):
        return f"{camera['state']} ({camera['reason']})"
    return f"asleep until {iso(due)}" if due - now > 15 * 60 else "current"


version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []  # paho-mqtt 2, or 1.6
client = mqtt.Client(*version, client_id="consumer-python", protocol=mqtt.MQTTv5)
client.on_connect, client.on_message = on_connect, on_message
session = mqtt.Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 604_800
client.connect_async(sys.argv[1], int(sys.argv[2]), clean_start=False, properties=session)
client.loop_start()
while time.sleep(float(os.environ.get("PRINT_S", 10))) is None:
    for topic, camera in list(newest.items()):
        device, _, id = topic.removesuffix("/state").partition("/camera/")
        status, health = newest.get(f"{device}/status"), newest.get(f"{device}/health")
        slot = next((one["next_run_at"] for one in health["cameras"] if one["id"] == id), None) if health else None
        if id and camera and status:
            print(f"{device} {id}: {state_of(camera, status, health, slot, time.time())}", flush=True)
