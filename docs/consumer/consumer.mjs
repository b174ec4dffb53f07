// node consumer.mjs mqtt://HOST FILE.db: stores each record once, and prints the state of each camera.
import { DatabaseSync } from 'node:sqlite';
import { connect } from 'mqtt';

const [url, file] = process.argv.slice(2);
const STALE_MS = 1000 * (process.env.STALE_S ?? 90); // three heartbeats
const ASLEEP_MS = 15 * 60_000; // the next slot is further away: night, or a rare schedule
// The broker queues QoS 1 while this program is away. It does not queue QoS 0: a heartbeat is new, or has the retain flag.
const TOPICS = { status: 1, 'camera/+/state': 1, 'camera/+/observation': 1, 'camera/+/backfill': 1 };
const NOT_QUEUED = { health: 0, 'camera/+/latest': 0 };
const db = new DatabaseSync(file);
db.exec(`PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, series TEXT, camera TEXT, seq INTEGER,
    at TEXT, received_at TEXT, height_m REAL, body TEXT);
  CREATE VIEW IF NOT EXISTS gaps AS SELECT series, camera, before + 1 AS first, seq - 1 AS last FROM
    (SELECT *, lag(seq) OVER (PARTITION BY series, camera ORDER BY seq) AS before FROM records)
    WHERE seq > before + 1`);
const INSERT = 'INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO';
const insert = db.prepare(`${INSERT} NOTHING`);
const upsert = db.prepare(`${INSERT} UPDATE SET at = excluded.at, body = excluded.body`);
const devices = {}; // "site/device": newest status and heartbeat, when it arrived, error of the clock, cameras
const iso = (ms) => new Date(ms).toISOString();

const session = { clientId: 'consumer-node', clean: false, properties: { sessionExpiryInterval: 604_800 } };
const client = connect(url, { protocolVersion: 5, ...session });
client.on('error', ({ message }) => console.error(message));
client.on('connect', () => {
  for (const [topic, qos] of Object.entries({ ...TOPICS, ...NOT_QUEUED }))
    client.subscribe(`swellsight/v1/+/+/${topic}`, { qos });
});
client.on('message', (topic, payload, { retain }) => {
  const [, , site, name, kind, camera, leaf = kind] = topic.split('/');
  const device = (devices[`${site}/${name}`] ??= { skewMs: 0, cameras: {} });
  const message = payload.length > 0 ? JSON.parse(payload) : null; // empty: the topic was cleared
  const now = Date.now();
  if (leaf === 'status') device.status = message;
  else if (leaf === 'state') device.cameras[camera] = message;
  else if (leaf === 'health' && message) {
    if (!retain) device.skewMs = now - Date.parse(message.at);
    Object.assign(device, { health: message, heardMs: now });
  } else if (message) {
    const shiftMs = Math.abs(device.skewMs) > 60_000 ? device.skewMs : 0; // the clock of the device is wrong
    const times = [iso(Date.parse(message.captured_at) + shiftMs), iso(now)];
    const { id, store_id: series = `${site}/${name}`, seq, wave } = message;
    (leaf === 'latest' ? insert : upsert).run(id, series, camera, seq, ...times, wave.height_m, `${payload}`);
  }
});

function stateOf({ status, health, heardMs, cameras }, camera, now) {
  if (status.state === 'offline' || status.state === 'stopped') return status.state;
  const slot = health?.cameras.find(({ id }) => id === camera)?.next_run_at;
  // Both times are by the clock of the device: their difference is right although that clock may be wrong.
  const dueMs = slot ? heardMs + Date.parse(slot) - Date.parse(health.at) : now;
  if (!health || now > Math.min(heardMs, dueMs) + STALE_MS) return 'stale';
  const { state, reason } = cameras[camera];
  if (state !== 'up' && state !== 'starting') return `${state} (${reason})`;
  return dueMs - now > ASLEEP_MS ? `asleep until ${iso(dueMs)}` : 'current';
}

function print() {
  for (const [name, device] of Object.entries(devices))
    for (const camera of Object.keys(device.cameras).filter((id) => device.status && device.cameras[id]))
      console.log(`${name} ${camera}: ${stateOf(device, camera, Date.now())}`);
}
setInterval(print, 1000 * (process.env.PRINT_S ?? 10));
