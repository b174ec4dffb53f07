import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import type { Observation } from '../../src/contract/observation.ts';
import { SeededRandom } from '../torture/random.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;
const STEP_MS = 5 * MINUTE_MS;
const DAYS = 7;
/** The camera observes at these hours, UTC. */
const DAYLIGHT = { from: 7, to: 19 };
const METRES_PER_FOOT = 0.3048;

/**
 * Replaces the records of a camera by a past week with swell, tide, nights, glare and a failed camera, in a database that no
 * process uses. The records are marked as simulated, like those of the simulated camera.
 */
export function fillPastWeek(path: string, camera: string, endMs: number): void {
  const db = new Database(path);
  using _db = { [Symbol.dispose]: () => db.close() };
  const template = findTemplate(db, camera);
  const records = makeWeek(template, endMs);
  db.transaction(() => {
    for (const table of ['outbox', 'unsynced', 'observations', 'publications'])
      db.exec(`DELETE FROM ${table}`);
    db.exec(`DELETE FROM counters WHERE name = 'outbox_bytes'`);
    const add = db.prepare(
      'INSERT INTO observations (id, camera, seq, captured_at_ms, status, payload) VALUES (?, ?, ?, ?, ?, ?)',
    );
    for (const one of records)
      add.run(one.id, camera, one.seq, Date.parse(one.captured_at), one.status, JSON.stringify(one));
    db.exec(`INSERT INTO publications SELECT camera, seq, captured_at_ms + 2000, 0 FROM observations`);
    db.prepare('INSERT OR REPLACE INTO counters VALUES (?, ?)').run(`seq:camera:${camera}`, records.length);
    spreadLabels(db, camera, records);
  })();
}

/** Gives each label the time of a record of the week with about its height: the simulation labels within a minute. */
function spreadLabels(db: Database.Database, camera: string, records: readonly Observation[]): void {
  const labels = db
    .prepare('SELECT observation_id, height_m FROM labels WHERE camera = ? ORDER BY height_m DESC')
    .all(camera) as { observation_id: string; height_m: number }[];
  const move = db.prepare('UPDATE bursts SET captured_at_ms = ? WHERE camera = ? AND observation_id = ?');
  const free = new Set(records.filter(({ wave }) => wave.height_m !== null));
  for (const label of labels) {
    const distance = ({ wave }: Observation): number => Math.abs((wave.height_m ?? 0) - label.height_m);
    const nearest = [...free].reduce((best, one) => (distance(one) < distance(best) ? one : best));
    free.delete(nearest);
    move.run(Date.parse(nearest.captured_at), camera, label.observation_id);
  }
}

/** The newest record with a height. */
function findTemplate(db: Database.Database, camera: string): Observation {
  const rows = db
    .prepare(
      `SELECT payload FROM observations WHERE camera = ? AND status = 'measured' ORDER BY captured_at_ms DESC`,
    )
    .all(camera) as { payload: string }[];
  const records = rows.map(({ payload }) => JSON.parse(payload) as Observation);
  const template = records.find(
    ({ wave }) => wave.height_m !== null && wave.height_basis === 'site_calibrated',
  );
  if (!template) throw new Error('the camera has no record with a height yet');
  return template;
}

function makeWeek(template: Observation, endMs: number): readonly Observation[] {
  const random = new SeededRandom(7).next;
  const records: Observation[] = [];
  for (let ms = endMs - DAYS * DAY_MS; ms < endMs; ms += STEP_MS) {
    const at = new Date(ms);
    const hour = at.getUTCHours() + at.getUTCMinutes() / 60;
    if (hour < DAYLIGHT.from || hour > DAYLIGHT.to) continue;
    const record = {
      ...structuredClone(template),
      id: randomUUID(),
      seq: records.length + 1,
      captured_at: at.toISOString(),
      published_at: null,
    };
    const dayPart = (endMs - ms) / DAY_MS;
    if (dayPart > 2.3 && dayPart < 2.45) fail(record, 'camera_unreachable');
    else if (hour > 18.2 && random() < 0.7) reject(record, 'glare');
    else measure(record, ms, random);
    records.push(record);
  }
  return records;
}

function measure({ wave }: Observation, ms: number, random: () => number): void {
  const days = ms / DAY_MS;
  const heightM =
    1.55 + 0.8 * Math.sin(days * 1.3) + 0.14 * Math.sin(days * 2 * Math.PI * 1.93) + 0.16 * (random() - 0.5);
  const halfM = 0.26 + 0.1 * random();
  const periodS = 10.5 + 2 * Math.sin(days * 1.9 + 1) + 0.5 * (random() - 0.5);
  wave.height_m = round(heightM);
  wave.height_ft = round(heightM / METRES_PER_FOOT);
  wave.height_low_m = round(Math.max(0, heightM - halfM));
  wave.height_high_m = round(heightM + halfM);
  Object.assign(wave, {
    period_s: round(periodS),
    period_low_s: round(periodS - 0.7),
    period_high_s: round(periodS + 0.6),
    period_basis: 'video_spectrum',
    period_age_s: 120,
  });
}

function withoutHeight(record: Observation): void {
  for (const name of ['height_m', 'height_ft', 'height_low_m', 'height_high_m', 'height_basis'] as const)
    record.wave[name] = null;
  record.wave.period_s = null;
  record.has_height = false;
}

function reject(record: Observation, reason: 'glare'): void {
  withoutHeight(record);
  Object.assign(record, { status: 'rejected', reasons: [reason] });
}

function fail(record: Observation, reason: 'camera_unreachable'): void {
  withoutHeight(record);
  Object.assign(record, { status: 'failed', reasons: [reason], burst: { ...record.burst, used: 0 } });
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
