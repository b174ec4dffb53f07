// node consumer.mjs mqtt://HOST FILE.db: stores each record once, and prints the state of each camera.
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { connect } from 'mqtt';

const db = new DatabaseSync(process.argv[3]);
db.exec(readFileSync(new URL('records.sql', import.meta.url), 'utf8'));
const put = db.prepare(`INSERT INTO records VALUES (?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET at = excluded.at, body = excluded.body WHERE ?`);
const newest = {}; // by topic: status, heartbeat and camera states, with the time at which they came
const skewMs = {}; // by device: the error of its clock
const iso = (ms) => new Date(ms).toISOString();

const session = { clientId: 'consumer-node', clean: false, properties: { sessionExpiryInterval: 604_800 } };
const client = connect(process.argv[2], { protocolVersion: 5, ...session });
client.on('error', console.error);
client.on('connect', () => {
  const topics = (leaves) => leaves.map((leaf) => `swellsight/v1/+/+/${leaf}`);
  const records = [
    'camera/+/observation',
    'camera/+/backfill',
    'camera/+/sea_state',
    'camera/+/sea_state/backfill',
  ];
  client.subscribe(topics(records), { qos: 1 }); // queued while this is away
  const states = ['status', 'health', 'camera/+/state', 'camera/+/latest', 'camera/+/sea_state/latest'];
  client.subscribe(topics(states), { qos: 0 }); // retained
});
client.on('message', (topic, payload, { retain, properties }) => {
  const [device, leaf] = [topic.split('/', 4).join('/'), topic.split('/').at(-1)];
  const message = payload.length > 0 ? JSON.parse(payload) : null; // empty: the topic was cleared
  const now = Date.now();
  if (message?.captured_at) {
    const shiftMs = Math.abs(skewMs[device]) > 60_000 ? skewMs[device] : 0; // the clock of the device is wrong
    const at = iso(Date.parse(message.captured_at) + shiftMs);
    put.run(message.id, at, iso(now), `${payload}`, Number(leaf !== 'latest'));
  } else {
    if (leaf === 'health' && message && !retain) skewMs[device] = now - Date.parse(message.at);
    const validMs = 1000 * (properties?.messageExpiryInterval ?? 90);
    newest[topic] = message && { ...message, heardMs: now, validMs };
  }
});

function stateOf({ state, reason }, status, health, slot, now) {
  if (status.state === 'offline' || status.state === 'stopped') return status.state;
  // Both times are by the clock of the device: their difference is right although that clock may be wrong.
  const dueMs = slot ? health.heardMs + Date.parse(slot) - Date.parse(health.at) : now;
  if (!health || now > Math.min(health.heardMs, dueMs) + health.validMs) return 'stale';
  if (state !== 'up' && state !== 'starting') return `${state} (${reason})`;
  return dueMs - now > 15 * 60_000 ? `asleep until ${iso(dueMs)}` : 'current';
}
const print = () => {
  for (const [topic, camera] of Object.entries(newest)) {
    const [device, id] = topic.split(/\/camera\/|\/state$/);
    const [status, health] = [newest[`${device}/status`], newest[`${device}/health`]];
    const slot = health?.cameras.find((one) => one.id === id)?.next_run_at;
    if (id && camera && status)
      console.log(`${device} ${id}: ${stateOf(camera, status, health, slot, Date.now())}`);
  }
};
setInterval(print, 1000 * (process.env.PRINT_S ?? 10));
