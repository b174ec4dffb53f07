import { Ajv } from 'ajv';
import addFormatsModule from 'ajv-formats';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { Health } from '../../../src/contract/health.ts';
import { BoardMonitor } from '../../../src/health/board/board-monitor.ts';
import { Heartbeat, type HeartbeatDeps } from '../../../src/health/heartbeat.ts';
import type { CameraHealthReport, HealthSources, VisionHealth } from '../../../src/health/types.ts';
import { MemoryKeyValue } from '../../fixtures/key-value.ts';
import { ManualClock, silentLog, tempDir } from '../../fixtures/store.ts';

const addFormats = addFormatsModule.default;
const ajv = new Ajv({ allErrors: true });
addFormats(ajv);
const isHealth = ajv.compile(Health);

const camera = (id: string, state: CameraHealthReport['state']): CameraHealthReport => ({
  id,
  state,
  lastFrameAgeS: 12.34,
  failures1h: 0,
  isMoved: false,
  nextRunAtMs: Date.UTC(2026, 5, 1, 12),
});
const vision = (ready = true): VisionHealth => ({
  provider: 'cpu',
  pid: null,
  stats: {
    rssMb: 150.123,
    p50Ms: 20.04,
    p95Ms: Number.NaN,
    failures1h: 0,
    restarts: 1,
    lastProgressMonoMs: 0,
    ready,
  },
});
const NORMAL: HealthSources = {
  cameras: () => [camera('north', 'up')],
  link: () => ({
    connectedSinceMs: 0,
    reconnects1h: 0,
    rttMs: 3.456,
    broker: 'broker:8883',
    protocolVersion: 5,
  }),
  vision: () => vision(),
  outbox: () => ({ depth: 0, oldestAgeS: null, droppedTotal: 0 }),
  model: () => ({ name: 'm', version: '1.0.0', digest: 'sha256:0', phase: 'committed', trusted: true }),
  clock: () => ({ synced: true, offsetMs: 0.1234 }),
};
const fails = (): never => {
  throw new Error('broken');
};

let state: ReturnType<typeof tempDir>;
beforeEach(() => {
  state = tempDir();
});
afterEach(() => state.remove());

function heartbeat(sources: Partial<HealthSources> = {}, deps: Partial<HeartbeatDeps> = {}): Heartbeat {
  const clock = deps.clock ?? new ManualClock();
  // An empty root hides the sensors of this machine.
  const root = deps.root ?? state.path;
  const limits = () => ({ maxWrittenMbDay: 1000, maxSlowdown: 8 });
  return new Heartbeat(
    { intervalS: 30, stateDir: state.path, version: '0.1.0', bootId: 'boot' },
    {
      clock,
      log: silentLog,
      sources: { ...NORMAL, ...sources },
      board: new BoardMonitor({ clock, raise: () => undefined, limits, root }),
      memory: new MemoryKeyValue(),
      limits,
      sink: () => undefined,
      root,
      ...deps,
    },
  );
}

describe('Heartbeat', () => {
  it('beats after nudge, also during a beat, and then not until the end of the interval', async () => {
    const stop = new AbortController();
    const beats: number[] = [];
    const beating = heartbeat(
      {},
      {
        clock: systemClock,
        sink: ({ seq }) => {
          beats.push(seq);
          if (seq === 1) beating.nudge();
        },
      },
    );
    const running = beating.run(stop.signal);
    await expect.poll(() => beats, { timeout: 60_000 }).toEqual([1, 2]);
    beating.nudge();
    await expect.poll(() => beats, { timeout: 60_000 }).toEqual([1, 2, 3]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(beats).toEqual([1, 2, 3]);
    stop.abort();
    await running;
  });

  it('builds a record that matches the contract', async () => {
    const record = await heartbeat().buildRecord();
    expect(isHealth(record), JSON.stringify(isHealth.errors)).toBe(true);
    expect(record).toMatchObject({
      seq: 1,
      boot_id: 'boot',
      at: '2026-06-01T00:00:00.000Z',
      cpu: { temp_c: null, throttled: null },
      memory: { vision_rss_mb: 150.1 },
      clock: { synced: true, offset_ms: 0.123 },
      link: { connected_since: '1970-01-01T00:00:00.000Z', rtt_ms: 3.5, broker: 'broker:8883' },
      cameras: [{ id: 'north', last_frame_age_s: 12.3, next_run_at: '2026-06-01T12:00:00.000Z' }],
      inference: { provider: 'cpu', p50_ms: 20, p95_ms: null, restarts: 1 },
      degraded: [],
    });
  });

  it('reads the values of this machine', async () => {
    const record = await heartbeat({}, { root: '/' }).buildRecord();
    expect(isHealth(record), JSON.stringify(isHealth.errors)).toBe(true);
    expect(record.memory.rss_mb).toBeGreaterThan(10);
    expect(record.disk.free_mb).toBeGreaterThan(0);
  });

  it('survives the failure of every source, and names them', async () => {
    const record = await heartbeat({
      cameras: fails,
      link: fails,
      vision: fails,
      outbox: fails,
      model: fails,
      clock: fails,
    }).buildRecord();
    expect(isHealth(record), JSON.stringify(isHealth.errors)).toBe(true);
    expect(record.degraded).toEqual(
      ['vision', 'link', 'model', 'outbox', 'clock', 'cameras'].map((part) => `probe_failed:${part}`),
    );
  });

  it.each([
    ['clock_unsynced', { clock: () => ({ synced: false, offsetMs: null }) }],
    ['link_down', { link: () => ({ ...NORMAL.link(), connectedSinceMs: null }) }],
    ['link_flapping', { link: () => ({ ...NORMAL.link(), reconnects1h: 5 }) }],
    ['camera_down:south', { cameras: () => [camera('north', 'up'), camera('south', 'down')] }],
    ['camera_frozen:north', { cameras: () => [camera('north', 'frozen')] }],
    ['camera_obstructed:north', { cameras: () => [camera('north', 'obstructed')] }],
    ['vision_down', { vision: () => vision(false) }],
    ['inference_failing', { vision: () => ({ ...vision(), stats: { ...vision().stats, failures1h: 5 } }) }],
    ['model_missing', { model: () => ({ ...NORMAL.model(), name: null }) }],
    ['unsigned_model', { model: () => ({ ...NORMAL.model(), trusted: false }) }],
    ['model_expiry_unchecked', { model: () => ({ ...NORMAL.model(), expiryChecked: false }) }],
    ['outbox_backlog', { outbox: () => ({ depth: 9, oldestAgeS: 901, droppedTotal: 0 }) }],
  ] satisfies [string, Partial<HealthSources>][])('reports %s, and nothing else', async (code, sources) => {
    expect((await heartbeat(sources).buildRecord()).degraded).toEqual([code]);
  });

  it('does not report a starting camera and an unneeded vision process', async () => {
    const record = await heartbeat({
      cameras: () => [camera('north', 'starting')],
      vision: () => null,
    }).buildRecord();
    expect(record.degraded).toEqual([]);
    expect(record.inference.provider).toBeNull();
  });

  it('beats immediately and at every interval, counts the beats, survives an error of the sink, and ends with the signal', async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const seen: { seq: number; at: string; degraded: readonly string[] }[] = [];
    let dropped = 0;
    const subject = heartbeat(
      { outbox: () => ({ depth: 0, oldestAgeS: null, droppedTotal: (dropped += 2) }) },
      {
        clock,
        sink: (record) => {
          seen.push(record);
          if (seen.length === 2) throw new Error('no link');
          if (seen.length === 3) stop.abort();
        },
      },
    );
    expect(subject.latest).toBeNull();
    await subject.run(stop.signal);
    expect(seen.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(seen.map(({ at }) => at.slice(14, 19))).toEqual(['00:00', '00:30', '01:00']);
    expect(seen.every(({ degraded }) => degraded.includes('outbox_dropping'))).toBe(true);
    expect(subject.latest?.seq).toBe(3);
  });

  it('replaces a time outside the range of Date by null', async () => {
    const record = await heartbeat({
      cameras: () => [{ ...camera('north', 'up'), nextRunAtMs: 1e18 }],
    }).buildRecord();
    expect(record.cameras[0]?.next_run_at).toBeNull();
  });
});
