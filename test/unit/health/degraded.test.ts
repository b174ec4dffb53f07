import { describe, expect, it } from 'vitest';
import type { Health } from '../../../src/contract/health.ts';
import { findDegradedCodes, type DegradedContext } from '../../../src/health/degraded.ts';

const WELL: Omit<Health, 'degraded'> = {
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
const CONTEXT: DegradedContext = { visionReady: true, modelTrusted: true, droppedBefore: 7, failedParts: [] };

describe('findDegradedCodes', () => {
  it('is empty when all is well, also where the machine tells little', () => {
    expect(findDegradedCodes(WELL, CONTEXT)).toEqual([]);
    const silent = {
      ...WELL,
      cpu: { load1: 9, temp_c: null, throttled: null },
      disk: { free_mb: null, used_pct: null, written_mb_day: null },
    };
    expect(findDegradedCodes(silent, CONTEXT)).toEqual([]);
  });

  it.each([
    ['disk_low', { disk: { ...WELL.disk, free_mb: 199 } }],
    ['disk_low', { disk: { ...WELL.disk, used_pct: 95.1 } }],
    ['memory_low', { memory: { ...WELL.memory, free_mb: 63 } }],
    ['temperature_high', { cpu: { ...WELL.cpu, temp_c: 80 } }],
    ['throttled', { cpu: { ...WELL.cpu, throttled: true } }],
    ['clock_offset', { clock: { synced: true, offset_ms: -1000 } }],
    ['outbox_dropping', { outbox: { ...WELL.outbox, dropped_total: 8 } }],
  ])('says %s at the limit', (code, change) => {
    expect(findDegradedCodes({ ...WELL, ...change }, CONTEXT)).toEqual([code]);
  });

  it('says why records cannot be stored', () => {
    for (const storeFailure of ['store_full', 'store_failed', 'store_corrupt'])
      expect(findDegradedCodes(WELL, { ...CONTEXT, storeFailure })).toEqual([storeFailure]);
  });

  it('does not judge what could not be read', () => {
    const unknown = {
      ...WELL,
      link: { ...WELL.link, connected_since: null },
      model: { ...WELL.model, name: null },
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
