"""python3 consumer.py HOST PORT FILE.db: stores each record once, and prints the state of each camera."""
import json, os, sqlite3, sys, threading, time
from datetime import datetime, timedelta, timezone
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes

host, port, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
STALE = timedelta(seconds=float(os.environ.get("STALE_S", 90)))  # three heartbeats
ASLEEP = timedelta(minutes=15)  # the next slot is further away: night, or a rare schedule
# The broker queues QoS 1 while this program is away. It does not queue QoS 0: a heartbeat is new, or has the retain flag.
TOPICS = {"status": 1, "camera/+/state": 1, "camera/+/observation": 1, "camera/+/backfill": 1}
NOT_QUEUED = {"health": 0, "camera/+/latest": 0}
db = sqlite3.connect(file, isolation_level=None)
db.executescript("""PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, series TEXT, camera TEXT, seq INTEGER,
    at TEXT, received_at TEXT, height_m REAL, body TEXT);
  CREATE VIEW IF NOT EXISTS gaps AS SELECT series, camera, before + 1 AS first, seq - 1 AS last FROM
    (SELECT *, lag(seq) OVER (PARTITION BY series, camera ORDER BY seq) AS before FROM records)
    WHERE seq > before + 1""")
INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO "
UPDATE = "UPDATE SET at = excluded.at, body = excluded.body"
devices = {}  # "site/device": newest status and heartbeat, when it arrived, error of the clock, cameras
NEW = {"status": None, "health": None, "skew": timedelta()}
parse = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))
iso = lambda time: time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def on_connect(client, *_):
    client.subscribe([(f"swellsight/v1/+/+/{topic}", qos) for topic, qos in {**TOPICS, **NOT_QUEUED}.items()])


def on_message(_client, _data, packet):
    _, _, site, name, kind, *rest = packet.topic.split("/")
    camera, leaf = rest or (None, kind)
    device = devices.setdefault(f"{site}/{name}", {**NEW, "cameras": {}})
    message = json.loads(packet.payload) if packet.payload else None  # empty: the topic was cleared
    now = datetime.now(timezone.utc)
    if leaf == "status":
        device["status"] = message
    elif leaf == "state":
        device["cameras"][camera] = message
    elif leaf == "health" and message:
        skew = device["skew"] if packet.retain else now - parse(message["at"])
        device.update(health=message, heard=now, skew=skew)
    elif message:
        shift = device["skew"] if abs(device["skew"]) > timedelta(minutes=1) else timedelta()  # its clock is wrong
        times = iso(parse(message["captured_at"]) + shift), iso(now)
        key = message["id"], message.get("store_id", f"{site}/{name}"), camera, message["seq"]
        row = (*key, *times, message["wave"]["height_m"], packet.payload.decode())
        db.execute(INSERT + ("NOTHING" if leaf == "latest" else UPDATE), row)


def state_of(device, camera, now):
    if device["status"]["state"] in ("offline", "stopped"):
        return device["status"]["state"]
    health = device["health"] or {"cameras": []}
    slot = next((one["next_run_at"] for one in health["cameras"] if one["id"] == camera), None)
    # Both times are by the clock of the device: their difference is right although that clock may be wrong.
    due = device["heard"] + (parse(slot) - parse(health["at"])) if slot else now
    if not device["health"] or now > min(device["heard"], due) + STALE:
        return "stale"
    state, reason = device["cameras"][camera]["state"], device["cameras"][camera]["reason"]
    if state not in ("up", "starting"):
        return f"{state} ({reason})"
    return f"asleep until {iso(due)}" if due - now > ASLEEP else "current"


def print_states():
    while time.sleep(float(os.environ.get("PRINT_S", 10))) is None:
        for name, device in list(devices.items()):
            for camera in [id for id, state in list(device["cameras"].items()) if device["status"] and state]:
                print(f"{name} {camera}: {state_of(device, camera, datetime.now(timezone.utc))}", flush=True)


version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []  # paho-mqtt 2, or 1.6
client = mqtt.Client(*version, client_id="consumer-python", protocol=mqtt.MQTTv5)
client.on_connect, client.on_message = on_connect, on_message
session = mqtt.Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 604_800
threading.Thread(target=print_states, daemon=True).start()
client.connect_async(host, port, clean_start=False, properties=session)
client.loop_forever(retry_first_connection=True)
