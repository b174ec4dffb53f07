import { describe, expect, it } from 'vitest';
import type { Health } from '../../../src/contract/health.ts';
import { findDegradedCodes, type DegradedContext } from '../../../src/health/degraded.ts';

const NORMAL: Omit<Health, 'degraded'> = {
  schema: 'swellsight.health/1',
  boot_id: 'b',
  seq: 1,
  at: '2026-06-01T00:00:00.000Z',
  uptime_s: 1,
  agent_version: '0.1.0',
  cpu: { load1: 0.1, temp_c: 45, throttled: false },
  memory: { rss_mb: 90, vision_rss_mb: 150, free_mb: 500 },
  disk: { free_mb: 10_000, used_pct: 40, written_mb_day: 20 },
  clock: { synced: true, offset_ms: 0 },
  link: { connected_since: '2026-06-01T00:00:00.000Z', reconnects_1h: 0, rtt_ms: 1, broker: 'b:1' },
  cameras: [],
  inference: { provider: 'cpu', p50_ms: 1, p95_ms: 2, failures_1h: 0, restarts: 0 },
  model: { name: 'm', version: '1', digest: 'd', phase: 'committed' },
  outbox: { depth: 0, oldest_age_s: null, dropped_total: 7 },
};
const POWER = { under_voltage: false, hot_surface: false, over_current_1h: 0 };
const CONTEXT: DegradedContext = {
  visionReady: true,
  modelTrusted: true,
  droppedBefore: 7,
  maxWrittenMbDay: 1000,
  failedParts: [],
};

describe('findDegradedCodes', () => {
  it('returns nothing when everything is normal, also with many unknown values', () => {
    expect(findDegradedCodes(NORMAL, CONTEXT)).toEqual([]);
    const silent = {
      ...NORMAL,
      cpu: { load1: 9, temp_c: null, throttled: null },
      disk: { free_mb: null, used_pct: null, written_mb_day: null },
    };
    expect(findDegradedCodes(silent, CONTEXT)).toEqual([]);
  });

  it('names each camera that was moved', () => {
    expect(findDegradedCodes(NORMAL, { ...CONTEXT, movedCameras: ['north', 'south'] })).toEqual([
      'view_changed:north',
      'view_changed:south',
    ]);
  });

  it.each([
    ['disk_low', { disk: { ...NORMAL.disk, free_mb: 199, used_pct: 80.1 } }],
    ['disk_low', { disk: { ...NORMAL.disk, free_mb: 199, used_pct: null } }],
    ['disk_low', { disk: { ...NORMAL.disk, used_pct: 95.1 } }],
    ['memory_low', { memory: { ...NORMAL.memory, free_mb: 63 } }],
    ['temperature_high', { cpu: { ...NORMAL.cpu, temp_c: 80 } }],
    ['disk_worn', { disk: { ...NORMAL.disk, life_used_pct: 90 } }],
    ['disk_worn', { disk: { ...NORMAL.disk, pre_eol: 'warning' as const } }],
    ['writes_high', { disk: { ...NORMAL.disk, written_mb_day: 1000.1 } }],
    ['state_volatile', { disk: { ...NORMAL.disk, volatile: true } }],
    ['under_voltage', { power: { ...POWER, under_voltage: true } }],
    ['hot_surface', { power: { ...POWER, hot_surface: true } }],
    ['over_current', { power: { ...POWER, over_current_1h: 1 } }],
    ['capture_slowed', { capture: { slowdown: 2, reason: 'heat' as const } }],
    ['throttled', { cpu: { ...NORMAL.cpu, throttled: true } }],
    ['clock_offset', { clock: { synced: true, offset_ms: -1000 } }],
    ['outbox_dropping', { outbox: { ...NORMAL.outbox, dropped_total: 8 } }],
  ])('returns %s at the limit', (code, change) => {
    expect(findDegradedCodes({ ...NORMAL, ...change }, CONTEXT)).toEqual([code]);
  });

  it('returns nothing for values below the limits, and no limit of writes for 0', () => {
    const below = {
      ...NORMAL,
      disk: {
        ...NORMAL.disk,
        // A partition of 64 MB for the state is never as free as a large disk.
        free_mb: 30,
        used_pct: 50,
        written_mb_day: 1000,
        life_used_pct: 80,
        pre_eol: 'normal' as const,
        volatile: false,
      },
      power: POWER,
      capture: { slowdown: 1, reason: null },
    };
    expect(findDegradedCodes(below, CONTEXT)).toEqual([]);
    const writing = { ...NORMAL, disk: { ...NORMAL.disk, written_mb_day: 1e9 } };
    expect(findDegradedCodes(writing, { ...CONTEXT, maxWrittenMbDay: 0 })).toEqual([]);
  });

  it('returns the reason why records cannot be stored', () => {
    for (const storeFailure of ['store_full', 'store_failed', 'store_corrupt'])
      expect(findDegradedCodes(NORMAL, { ...CONTEXT, storeFailure })).toEqual([storeFailure]);
  });

  it('does not check parts that could not be read', () => {
    const unknown = {
      ...NORMAL,
      link: { ...NORMAL.link, connected_since: null },
      model: { ...NORMAL.model, name: null },
      clock: { synced: false, offset_ms: null },
    };
    const failedParts = ['link', 'model', 'clock'];
    expect(findDegradedCodes(unknown, { ...CONTEXT, failedParts })).toEqual([
      'probe_failed:link',
      'probe_failed:model',
      'probe_failed:clock',
    ]);
  });
});
