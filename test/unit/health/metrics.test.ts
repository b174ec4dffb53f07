import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { CAMERA_STATES, type Health } from '../../../src/contract/health.ts';
import type { Observation } from '../../../src/contract/observation.ts';
import { Metrics } from '../../../src/health/metrics/metrics.ts';
import type { OutboxEntry, OutboxStats } from '../../../src/store/types.ts';
import { CannedAgent, observation, seaState } from '../../fixtures/agent-api.ts';
import { readExposition, valueOf } from '../../fixtures/exposition.ts';

const hasPromtool = spawnSync('promtool', ['--version']).status === 0;
const AT = Date.UTC(2026, 4, 1, 12);
const canned = new CannedAgent();
const camera = {
  id: 'north',
  state: 'up' as const,
  last_frame_age_s: 2.5,
  failures_1h: 1,
  next_run_at: null,
};

async function open(health: Partial<Health> = {}, outbox: Partial<OutboxStats> = {}) {
  const now = { ...canned.health(), cameras: [camera], ...health };
  const analysis = {
    load: { waiting: 0, requests: 0, heldBytes: 0 },
    cache: { hits: 0, misses: 0, entries: 0, sizeBytes: 0 },
  };
  const link = { connectedSinceMs: AT, reconnects1h: 0, rttMs: 2, broker: null, protocolVersion: 5 as const };
  const metrics = await Metrics.open(
    { version: '0.1.0' },
    {
      clock: systemClock,
      heartbeat: { current: () => now },
      link: { stats: () => link },
      store: { outbox: { stats: () => ({ depth: 0, oldestAgeS: null, droppedTotal: 0, ...outbox }) } },
      analysis: { stats: () => analysis.load },
      cache: { stats: () => analysis.cache },
    },
  );
  return { metrics, now, link, analysis, read: async () => readExposition(await metrics.text()) };
}

const entry = (stream: string, agoMs: number): OutboxEntry => ({
  rowId: 1,
  topic: 'camera/north/observation',
  stream,
  seq: 1,
  payload: '{}',
  createdMonoMs: systemClock.monoMs() - agoMs,
  createdAtMs: AT,
});

describe('metrics', () => {
  it('have the text format of Prometheus from the first scrape', async () => {
    const { metrics, read } = await open();
    expect(metrics.contentType).toMatch(/^text\/plain; version=0\.0\.4; charset=utf-8$/);
    const families = await read();
    expect(families.size).toBeGreaterThan(40);
    // A scrape neither adds nor removes series.
    const series = (of: typeof families): number => [...of.values()].flatMap(({ samples }) => samples).length;
    expect(series(await read())).toBe(series(families));
  });

  it.skipIf(!hasPromtool)('pass promtool (needs the package prometheus)', async () => {
    const { metrics } = await open({ degraded: ['link_down'] }, { oldestAgeS: 1 });
    metrics.countObservation(observation);
    metrics.countSeaState(seaState);
    metrics.countRequest('GET', '/live', 200, 1);
    metrics.countProblem('vision_busy');
    metrics.countStream();
    metrics.countAnalysis({ kind: 'measured', durationMs: 12 });
    metrics.countAnalysis({ kind: 'failed', code: 'image_corrupt' });
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: await metrics.text(),
      encoding: 'utf8',
    });
    expect(stdout + stderr).toBe('');
    expect(status).toBe(0);
  });

  it('contain the values of the heartbeat in base units', async () => {
    const { read } = await open(
      {
        cpu: { load1: 0.5, temp_c: 51.5, throttled: false },
        memory: { rss_mb: 90, vision_rss_mb: 120, free_mb: 1000 },
        disk: { free_mb: 2048, used_pct: 25, written_mb_day: 86.4 },
        inference: { provider: 'cpu', p50_ms: 10, p95_ms: 12, failures_1h: 0, restarts: 3 },
        degraded: ['clock_unsynced', 'camera_down:north'],
      },
      { depth: 7, oldestAgeS: 12, droppedTotal: 5 },
    );
    const families = await read();
    const value = (name: string, labels = {}): number | undefined =>
      valueOf(families, `swellsight_${name}`, labels);
    expect(value('cpu_temperature_celsius')).toBe(51.5);
    expect(value('cpu_throttled')).toBe(0);
    expect(value('vision_resident_memory_bytes')).toBe(120 * 1024 * 1024);
    expect(value('disk_available_bytes')).toBe(2 ** 31);
    expect(value('disk_used_ratio')).toBe(0.25);
    expect(value('disk_written_bytes_per_second')).toBeCloseTo(0.001 * 2 ** 20);
    expect(value('inference_latency_seconds', { percentile: '95' })).toBe(0.012);
    expect(value('vision_restarts_total')).toBe(3);
    expect(value('outbox_messages')).toBe(7);
    expect(value('outbox_dropped_messages_total')).toBe(5);
    expect(value('link_connected')).toBe(1);
    expect(value('degraded', { code: 'camera_down:north' })).toBe(1);
    expect(value('model_info', { name: 'gauge', provider: 'cpu' })).toBe(1);
    const states = CAMERA_STATES.map((state) => value('camera_state', { camera: 'north', state }));
    expect(states.reduce((sum = 0, one = 0) => sum + one, 0)).toBe(1);
    expect(value('camera_state', { camera: 'north', state: 'up' })).toBe(1);
    expect(valueOf(families, 'process_resident_memory_bytes')).toBeGreaterThan(1e7);
  });

  it('are absent for unknown values, also after a known value', async () => {
    const { now, read } = await open({ degraded: ['link_down'] }, { oldestAgeS: 3 });
    expect(valueOf(await read(), 'swellsight_degraded')).toBe(1);
    Object.assign(now, { degraded: [], cameras: [], model: { ...now.model, name: null } });
    const families = await read();
    for (const name of [
      'cpu_temperature_celsius',
      'degraded',
      'camera_state',
      'model_info',
      'clock_offset_seconds',
    ])
      expect(families.get(`swellsight_${name}`)?.samples, name).toEqual([]);
  });

  it('count records, and remove a reading when the newest record has none', async () => {
    const { metrics, now, read } = await open();
    const failed: Observation = {
      ...observation,
      status: 'failed',
      reasons: ['camera_unreachable'],
      wave: { ...observation.wave, height_m: null },
      timing_ms: { ...observation.timing_ms, total: null },
    };
    metrics.countObservation({ ...observation, timing_ms: { ...observation.timing_ms, total: 1500 } });
    metrics.countObservation(observation);
    let families = await read();
    expect(valueOf(families, 'swellsight_observations_total', { camera: 'north', status: 'measured' })).toBe(
      2,
    );
    expect(valueOf(families, 'swellsight_observation_duration_seconds_count')).toBe(2);
    expect(valueOf(families, 'swellsight_observation_duration_seconds_sum')).toBeCloseTo(1.504);
    expect(valueOf(families, 'swellsight_wave_height_meters', { camera: 'north' })).toBe(1.2);
    metrics.countObservation(failed);
    families = await read();
    expect(valueOf(families, 'swellsight_observations_total', { status: 'failed' })).toBe(1);
    const reason = { camera: 'north', status: 'failed', reason: 'camera_unreachable' };
    expect(valueOf(families, 'swellsight_observation_reasons_total', reason)).toBe(1);
    expect(valueOf(families, 'swellsight_wave_height_meters')).toBeUndefined();
    expect(valueOf(families, 'swellsight_image_quality_ratio')).toBe(1);
    Object.assign(now, { cameras: [] });
    families = await read();
    expect(valueOf(families, 'swellsight_image_quality_ratio')).toBeUndefined();
  });

  it('measure the delivery of live records only', async () => {
    const { metrics, read } = await open();
    metrics.countConnection();
    metrics.countDelivery(entry('camera:north', 80), false);
    metrics.countDelivery(entry('camera:north', 1e9), true);
    metrics.countDelivery(entry('events', -1e9), false);
    const families = await read();
    for (const kind of ['live', 'backfill', 'event'])
      expect(valueOf(families, 'swellsight_delivered_messages_total', { kind })).toBe(1);
    expect(valueOf(families, 'swellsight_delivery_duration_seconds_count')).toBe(1);
    expect(valueOf(families, 'swellsight_delivery_duration_seconds_bucket', { le: '0.05' })).toBe(0);
    expect(valueOf(families, 'swellsight_delivery_duration_seconds_bucket', { le: '10' })).toBe(1);
    expect(valueOf(families, 'swellsight_link_connections_total')).toBe(1);
  });

  it('count uploaded images by outcome', async () => {
    const { metrics, analysis, read } = await open();
    metrics.countAnalysis({ kind: 'measured', durationMs: 120 });
    metrics.countAnalysis({ kind: 'cached', durationMs: 0.4 });
    metrics.countAnalysis({ kind: 'cached', durationMs: 0.6 });
    for (const code of ['image_corrupt', 'image_corrupt', 'vision_busy'])
      metrics.countAnalysis({ kind: 'failed', code });
    Object.assign(analysis, {
      load: { waiting: 3, requests: 5, heldBytes: 7e6 },
      cache: { hits: 2, misses: 1, entries: 10, sizeBytes: 12_000 },
    });
    const value = (of: Awaited<ReturnType<typeof read>>, name: string, labels = {}): number | undefined =>
      valueOf(of, `swellsight_analysis_${name}`, labels);
    const families = await read();
    expect(value(families, 'duration_seconds_sum', { outcome: 'measured' })).toBeCloseTo(0.12);
    expect(value(families, 'duration_seconds_bucket', { outcome: 'cached', le: '0.0005' })).toBe(1);
    expect(value(families, 'duration_seconds_bucket', { outcome: 'cached', le: '0.001' })).toBe(2);
    expect(value(families, 'failed_images_total', { code: 'image_corrupt' })).toBe(2);
    expect(value(families, 'queue_images')).toBe(3);
    expect(value(families, 'open_requests')).toBe(5);
    expect(value(families, 'held_bytes')).toBe(7e6);
    // Totals of other parts are copied, not added at each scrape.
    for (const again of [families, await read()]) {
      expect(value(again, 'cache_hits_total')).toBe(2);
      expect(value(again, 'cache_misses_total')).toBe(1);
      expect(value(again, 'cache_entries')).toBe(10);
      expect(value(again, 'cache_size_bytes')).toBe(12_000);
    }
  });

  it('count each open event stream once', async () => {
    const { metrics, read } = await open();
    const [first] = [metrics.countStream(), metrics.countStream()];
    expect(valueOf(await read(), 'swellsight_http_event_streams')).toBe(2);
    first();
    first();
    expect(valueOf(await read(), 'swellsight_http_event_streams')).toBe(1);
  });

  it('have bounded labels for any HTTP request', async () => {
    const { metrics, read } = await open();
    for (let i = 0; i < 1000; i += 1) metrics.countRequest(`M${String(i)}`, null, 400 + (i % 100), 1);
    metrics.countRequest('GET', '/api/v1/cameras/:id/latest.jpg', 200, 30);
    const requests = (await read()).get('swellsight_http_request_duration_seconds')?.samples ?? [];
    const series = requests.filter(({ name }) => name.endsWith('_count')).map(({ labels }) => labels);
    expect(series).toEqual([
      { method: 'other', route: 'none', code: '4xx' },
      { method: 'GET', route: '/api/v1/cameras/:id/latest.jpg', code: '2xx' },
    ]);
  });

  it('measure a stall of the main loop', async () => {
    const { metrics, read } = await open();
    const ended = new AbortController();
    metrics.start(ended.signal);
    await systemClock.sleep(900);
    const until = systemClock.monoMs() + 600;
    while (systemClock.monoMs() < until);
    await systemClock.sleep(50);
    ended.abort();
    const families = await read();
    expect(valueOf(families, 'swellsight_event_loop_lag_seconds_count')).toBe(1);
    expect(valueOf(families, 'swellsight_event_loop_lag_seconds_sum')).toBeGreaterThan(0.3);
    expect(valueOf(families, 'swellsight_event_loop_active_seconds_total')).toBeGreaterThan(0.5);
  });

  it('have the values of the newest clip and of the period that observations carry, until the camera is removed', async () => {
    const { metrics, now, read } = await open();
    metrics.countSeaState({ ...seaState, simulated: true });
    const wave = { ...observation.wave, period_s: 13.7, period_low_s: 12.6, period_high_s: 14.5 };
    metrics.countObservation({ ...observation, simulated: true, wave });
    const value = async (name: string) => valueOf(await read(), `swellsight_${name}`, { camera: 'north' });
    expect(await value('wave_period_seconds')).toBe(13.7);
    expect(await value('wave_period_low_seconds')).toBe(12.6);
    expect(await value('sea_state_peak_period_seconds')).toBe(13.7);
    expect(await value('sea_state_timestamp_seconds')).toBe(AT / 1000);
    expect(await value('breaker_height_meters')).toBeUndefined();
    expect(await value('camera_simulated')).toBe(1);
    const breaker = { height_m: 1.6, low_m: 1.2, high_m: 2.1, count: 23, tide_m: -0.4, reason: null };
    metrics.countSeaState({ ...seaState, breaker });
    const names = ['breaker_height_low_meters', 'breaker_height_high_meters', 'tide_meters'];
    expect(await Promise.all(names.map(value))).toEqual([1.2, 2.1, -0.4]);
    metrics.countSeaState({
      ...seaState,
      status: 'rejected',
      reasons: ['no_peak', 'fog'],
      period: { ...seaState.period, peak_s: null },
    });
    for (const name of names) expect(await value(name)).toBeUndefined();
    const reasons = (await read()).get('swellsight_sea_state_reasons_total')?.samples ?? [];
    expect(reasons.map(({ labels }) => [labels['status'], labels['reason']])).toEqual([
      ['rejected', 'no_peak'],
      ['rejected', 'fog'],
    ]);
    expect(await value('sea_state_peak_period_seconds')).toBeUndefined();
    const clips = (await read()).get('swellsight_sea_states_total')?.samples ?? [];
    expect(clips.map(({ labels, value: count }) => [labels['status'], count])).toEqual([
      ['measured', 2],
      ['rejected', 1],
    ]);
    for (const stream of ['observation', 'sea_state']) {
      const ageS = (await value(`${stream}_age_seconds`)) ?? -1;
      await systemClock.sleep(20);
      expect(await value(`${stream}_age_seconds`)).toBeGreaterThan(ageS);
    }
    Object.assign(now, { cameras: [] });
    for (const name of ['sea_state_timestamp_seconds', 'observation_age_seconds', 'sea_state_age_seconds'])
      expect(await value(name)).toBeUndefined();
  });

  it('are exactly those in docs/metrics.md, with their type', async () => {
    const { metrics, read } = await open();
    metrics.countObservation(observation);
    const page = readFileSync(join(import.meta.dirname, '../../../docs/metrics.md'), 'utf8');
    const documented = [...page.matchAll(/^\| `([a-z0-9_]+)`[^|]*\| (\w+)/gm)].map(
      ([, name, type]) => `${String(name)} ${String(type)}`,
    );
    expect(documented.sort()).toEqual(
      [...(await read()).values()].map(({ name, type }) => `${name} ${type}`).sort(),
    );
  });
});

describe('readExposition', () => {
  const gauge = '# HELP a_meters A.\n# TYPE a_meters gauge\n';
  it.each([
    ['no help', '# TYPE a gauge\na 1\n'],
    ['no type', '# HELP a A.\na 1\n'],
    ['a series twice', `${gauge}a_meters{x="1"} 1\na_meters{x="1"} 2\n`],
    ['a metric twice', `${gauge}a_meters 1\n${gauge}`],
    ['an open quote', `${gauge}a_meters{x="1} 1\n`],
    ['a line feed in a label', `${gauge}a_meters{x="1\n"} 1\n`],
    ['no number', `${gauge}a_meters null\n`],
    ['no end', `${gauge}a_meters 1`],
    ['milliseconds', '# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n'],
    ['a counter without _total', '# HELP a A.\n# TYPE a counter\na 1\n'],
    ['a histogram without +Inf', '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n'],
    [
      'a falling histogram',
      '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    ],
  ])('refuses %s', (_what, text) => {
    expect(() => readExposition(text)).toThrow();
  });
});
