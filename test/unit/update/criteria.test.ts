import { describe, expect, it } from 'vitest';
import { missingCriteria, snapshotBefore, type TrialFacts } from '../../../src/update/criteria.ts';
import type { BeforeUpdate } from '../../../src/update/types.ts';
import { CannedAgent } from '../../fixtures/agent-api.ts';

const LIMITS = { observations: 3, minutes: 2 };
const HEALTHY: TrialFacts = {
  elapsedMs: 120_000,
  observations: 3,
  visionReady: true,
  storeWritable: true,
  connected: true,
  degraded: [],
};
const BEFORE: BeforeUpdate = { format: 1, id: 'id', degraded: [], connected: true, camera_up: true };
const missing = (facts: Partial<TrialFacts>, before: Partial<BeforeUpdate> | null = {}): readonly string[] =>
  missingCriteria({ ...HEALTHY, ...facts }, before && { ...BEFORE, ...before }, LIMITS);

describe('missingCriteria', () => {
  it('is empty for a version that does everything', () => {
    expect(missing({})).toEqual([]);
  });

  it.each([
    [{ elapsedMs: 119_999 }, ['time']],
    [{ observations: 2 }, ['observations']],
    [{ visionReady: false }, ['vision']],
    [{ storeWritable: false }, ['store']],
    [{ connected: false }, ['broker']],
    [{ degraded: ['camera_down:north'] }, ['camera_down:north']],
    [{ elapsedMs: 0, observations: 0, visionReady: false }, ['time', 'observations', 'vision']],
  ] as const)('names what %j lacks', (facts, expected) => {
    expect(missing(facts)).toEqual(expected);
  });

  it('does not demand a broker or a camera that did not work before', () => {
    expect(missing({ connected: false }, { connected: false })).toEqual([]);
    expect(missing({ observations: 0 }, { camera_up: false })).toEqual([]);
    expect(missing({ degraded: ['camera_down:north'] }, { degraded: ['camera_down:north'] })).toEqual([]);
  });

  it.each([
    'clock_unsynced',
    'link_flapping',
    'temperature_high',
    'under_voltage',
    'certificate_expiring:device',
  ])('does not blame a version for %s', (code) => {
    expect(missing({ degraded: [code] })).toEqual([]);
  });

  it('judges only the version itself when the snapshot is lost', () => {
    expect(missing({ connected: false, observations: 0, degraded: ['memory_low'] }, null)).toEqual([]);
    expect(missing({ visionReady: false }, null)).toEqual(['vision']);
  });
});

describe('snapshotBefore', () => {
  it('keeps codes, connection and cameras', () => {
    const health = new CannedAgent().health();
    const camera = { id: 'north', last_frame_age_s: 1, failures_1h: 0, next_run_at: null };
    expect(
      snapshotBefore('id', {
        ...health,
        degraded: ['disk_low'],
        link: { ...health.link, connected_since: '2026-05-01T12:00:00.000Z' },
        cameras: [{ ...camera, state: 'up' }],
      }),
    ).toEqual({ format: 1, id: 'id', degraded: ['disk_low'], connected: true, camera_up: true });
    expect(snapshotBefore('id', { ...health, cameras: [{ ...camera, state: 'down' }] })).toMatchObject({
      connected: false,
      camera_up: false,
    });
  });
});
