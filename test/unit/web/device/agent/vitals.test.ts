import { describe, expect, it } from 'vitest';
import { DEGRADED_CODES } from '../../../../../src/contract/codes.ts';
import type { Health } from '../../../../../src/contract/health.ts';
import { verdictOf, vitalsOf } from '../../../../../src/web/device/agent/vitals.ts';
import { degradedText } from '../../../../../src/web/shared/degraded-text.ts';

const HEALTH: Health = {
  schema: 'swellsight.health/1',
  boot_id: 'boot',
  seq: 1,
  at: '2026-05-01T06:00:00.000Z',
  uptime_s: 7200,
  agent_version: '1.2.3',
  cpu: { load1: 0.42, temp_c: 52.4, throttled: false },
  memory: { rss_mb: 150, vision_rss_mb: 350, free_mb: 500 },
  disk: { free_mb: 12_400, used_pct: 61.2, written_mb_day: 57, life_used_pct: 10 },
  clock: { synced: true, offset_ms: -3.2 },
  power: { under_voltage: false, hot_surface: null, over_current_1h: null },
  link: { connected_since: '2026-05-01T03:00:00.000Z', reconnects_1h: 1, rtt_ms: 12, broker: 'broker:8883' },
  cameras: [
    { id: 'north', state: 'up', last_frame_age_s: 3, failures_1h: 1, next_run_at: null },
    { id: 'pier', state: 'up', last_frame_age_s: 4, failures_1h: 0, next_run_at: null },
  ],
  inference: { provider: 'cpu', p50_ms: 34.6, p95_ms: 48, failures_1h: 0, restarts: 0 },
  model: { name: 'factory', version: '1.0.0', digest: 'sha256:0', phase: 'idle' },
  outbox: { depth: 0, oldest_age_s: null, dropped_total: 0 },
  degraded: [],
};
const NOW_MS = Date.parse(HEALTH.at);
const words = (changes: Partial<Health>): Record<string, string> =>
  Object.fromEntries(
    vitalsOf({ ...HEALTH, ...changes }, (at) => (NOW_MS - Date.parse(at)) / 1000).map(
      ({ area, tone, sentence, notes }) => [
        area,
        `${tone}: ${[sentence, ...notes].join('; ')}`.replaceAll('\u00a0', ' '),
      ],
    ),
  );

describe('The heartbeat in words', () => {
  it('says what a person wants to know of a healthy agent', () => {
    expect(words({})).toEqual({
      cameras: 'ok: All 2 cameras deliver frames; 1 failure in the last hour',
      model: 'ok: Reads a frame in 35 ms; on cpu; at most 48 ms for 95 %; 0 failures in the last hour',
      broker: 'ok: Connected for 3 h, 12 ms away; broker:8883; 1 new connection in the last hour',
      outbox: 'ok: Holds 0 messages; none dropped',
      disk: 'ok: 61 % used, 57.0 MB written a day; 12.4 GB free; 10 % of its life used',
      memory: 'ok: 150.0 MB used by the agent and 350.0 MB by the model; 500.0 MB free',
      processor: 'ok: 52 °C; load 0.4',
      power: 'ok: The voltage is good',
      clock: 'ok: Set by a time source; 3.2 ms off',
      agent: 'ok: Runs for 2 h; version 1.2.3',
    });
  });

  it('shows a fault at the part that has it, and what is not known as not known', () => {
    const sick = words({
      degraded: ['link_down', 'camera_down:pier', 'outbox_backlog'],
      link: { connected_since: null, reconnects_1h: 0, rtt_ms: null, broker: null },
      cameras: [{ id: 'pier', state: 'down', last_frame_age_s: null, failures_1h: 60, next_run_at: null }],
      outbox: { depth: 7, oldest_age_s: 1200, dropped_total: 2 },
      cpu: { load1: 0, temp_c: null, throttled: null },
      disk: { free_mb: null, used_pct: null, written_mb_day: null },
      power: { under_voltage: null, hot_surface: null, over_current_1h: null },
    });
    expect(sick).toMatchObject({
      broker: 'bad: Not connected; 0 new connections in the last hour',
      cameras: 'bad: 0 of 1 camera deliver frames; 60 failures in the last hour',
      outbox: 'warn: Holds 7 messages; the oldest has waited 20 min; 2 messages were dropped so far',
      processor: 'off: Temperature not known; load 0.0',
      disk: 'off: Use of the disk not known',
      power: 'off: This machine does not report its voltage',
    });
  });

  it('counts the faults, and without faults what there is to check', () => {
    expect(verdictOf([])).toEqual({ tone: 'ok', count: 0 });
    expect(verdictOf(['clock_unsynced', 'disk_low'])).toEqual({ tone: 'warn', count: 2 });
    expect(verdictOf(['clock_unsynced', 'camera_down:a', 'link_down'])).toEqual({ tone: 'bad', count: 2 });
  });
});

describe('The words of degraded codes', () => {
  it('has a title and a remedy for each code, with its part filled in', () => {
    for (const key of Object.keys(DEGRADED_CODES)) {
      const { title, meaning, remedy } = degradedText(key.replace(/\{\w+\}/, 'north:2'));
      expect(title, key).not.toMatch(/[{}]/);
      if (key.includes('{')) expect(title, key).toContain('north:2');
      for (const text of [meaning, remedy]) expect(text, key).toMatch(/^[A-Z].+\.$/);
    }
  });

  it('shows a code of a newer agent as it is', () => {
    expect(degradedText('moon_eclipsed:north')).toMatchObject({ title: 'moon eclipsed:north', tone: 'warn' });
    expect(degradedText('constructor').title).toBe('constructor');
  });
});
