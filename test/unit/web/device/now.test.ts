import { describe, expect, it } from 'vitest';
import type { Series, SeriesPoint } from '../../../../src/contract/history.ts';
import type { Observation } from '../../../../src/contract/observation.ts';
import { coursePaths } from '../../../../src/web/device/now/course-paths.ts';
import { bodyHeight, headlineOf, scaleEnd } from '../../../../src/web/device/now/headline.ts';
import { trendOf } from '../../../../src/web/device/now/trend.ts';
import { observation } from '../../../fixtures/agent-api.ts';

const START_MS = Date.parse('2026-12-01T06:00:00.000Z');
const STEP_MS = 300_000;

const point = (step: number, heightM: number | null, changes: Partial<SeriesPoint> = {}): SeriesPoint => ({
  at: new Date(START_MS + step * STEP_MS).toISOString(),
  observations: 1,
  measured: 1,
  height_m: heightM,
  low_m: heightM === null ? null : heightM - 0.2,
  high_m: heightM === null ? null : heightM + 0.2,
  height_basis: heightM === null ? null : 'site_calibrated',
  period_s: null,
  period_low_s: null,
  period_high_s: null,
  quality: null,
  tide_m: null,
  reasons: [],
  ...changes,
});
/** 36 steps of 5 minutes. */
const points = (height: (hours: number, step: number) => number | null, changes: Partial<SeriesPoint> = {}) =>
  Array.from({ length: 36 }, (_, step) => point(step, height(step / 12, step), changes));
/** Alternates, so that it has no trend of its own. */
const noise = (step: number, byM: number): number => (step % 2 === 0 ? byM : -byM);

describe('trendOf', () => {
  it.each([
    ['rising', 0.2, 0.05],
    ['falling', -0.2, 0.05],
    ['steady', 0, 0.05],
    ['steady', 0.01, 0.05],
  ])('says %s when the height changes by %d m an hour', (direction, perHour, noiseM) => {
    const trend = trendOf(points((hours, step) => 1 + perHour * hours + noise(step, noiseM)));
    expect(trend?.direction).toBe(direction);
    expect(trend?.changeM).toBeCloseTo(perHour * 3, 1);
  });

  it.each([
    ['there are few heights', points((_hours, step) => (step % 9 === 0 ? 1 : null))],
    ['they are of one hour', points((hours) => (hours < 1 ? 1 + hours : null))],
    ['they scatter too much', points((hours, step) => 1 + 0.05 * hours + noise(step, 0.9))],
    ['they are the usual height', points((hours) => 1 + hours, { height_basis: 'site_median' })],
    ['there are none', []],
  ])('says nothing when %s', (_why, given) => {
    expect(trendOf(given)).toBeNull();
  });
});

describe('headlineOf', () => {
  const record = (changes: Partial<Observation>, wave: Partial<Observation['wave']> = {}): Observation => ({
    ...observation,
    ...changes,
    wave: { ...observation.wave, ...wave },
  });
  const calibration = { ...observation.calibration, labels: 14 };
  const none = { height_m: null, height_low_m: null, height_high_m: null, height_basis: null };
  const measured = record(
    { calibration },
    { height_m: 1.1, height_low_m: 0.9, height_high_m: 1.4, height_basis: 'site_calibrated' },
  );

  it('has the measured height and the readings from which it was learned', () => {
    expect(headlineOf(measured, null, 0)).toMatchObject({
      ...{ kind: 'measured', heightM: 1.1, lowM: 0.9, highM: 1.4, why: null },
      source: 'learned from 14 readings',
    });
  });

  it('does not show the usual height as a measurement', () => {
    const usual = record(
      { calibration: { ...calibration, labels: 1 } },
      { height_m: 1.1, height_basis: 'site_median' },
    );
    expect(headlineOf(usual, null, 0)).toMatchObject({
      kind: 'usual',
      source: 'from 1 reading, not measured now',
    });
  });

  it('asks for a reading when nobody has read the camera, and hides older heights of removed readings', () => {
    const uncalibrated = record({ reasons: ['uncalibrated'] }, none);
    expect(headlineOf(uncalibrated, measured, 0)).toMatchObject({ kind: 'none', heightM: null });
    expect(headlineOf(uncalibrated, null, 0).why).toContain('Nobody has read this camera');
    expect(headlineOf(uncalibrated, null, 1).why).toContain('The next frame gets a height');
  });

  it.each([
    ['rejected', ['dark'], 'it is too dark'],
    ['failed', ['camera_unreachable'], 'the camera does not answer'],
    ['skipped', ['heat'], 'the device is too hot'],
    ['measured', ['view_changed'], 'the camera looks somewhere else than when people read it'],
    ['rejected', ['fog', 'reason_of_a_newer_agent'], 'fog or rain hides the sea; reason_of_a_newer_agent'],
  ] as const)('keeps the last height when the newest record is %s for %s', (status, reasons, why) => {
    const newest = record({ status, reasons: [...reasons] as Observation['reasons'] }, none);
    expect(headlineOf(newest, measured, 0)).toMatchObject({ heightM: 1.1, record: measured, why });
    expect(headlineOf(newest, null, 0)).toMatchObject({ kind: 'none', record: null, why });
  });

  it('says so when there is no record yet', () => {
    expect(headlineOf(null, null, 0)).toMatchObject({
      kind: 'none',
      why: 'The camera was not observed yet.',
    });
  });
});

describe('the scale of heights', () => {
  it('ends above the greatest height, at a round number of the unit', () => {
    expect(scaleEnd([1.1, 1.4, null], 'm')).toBe(2);
    expect(scaleEnd([1.1, 1.4, null], 'ft')).toBe(6);
    expect(scaleEnd([null], 'm')).toBe(1);
    expect(scaleEnd([25], 'm')).toBe(26);
  });

  it('names heights as surfers do', () => {
    expect([0, 0.5, 1, 1.2, 1.7, 2, 9].map(bodyHeight)).toEqual([
      ...['flat', 'knee high', 'waist high', 'chest high', 'head high', 'overhead', 'huge'],
    ]);
  });
});

describe('coursePaths', () => {
  const series = (given: readonly SeriesPoint[]): Series => ({
    camera: 'north',
    from: new Date(START_MS).toISOString(),
    to: new Date(START_MS + 36 * STEP_MS).toISOString(),
    bucket_s: STEP_MS / 1000,
    max_read: 1000,
    simulated: false,
    points: [...given],
    labels: [],
  });
  const size = { width: 100, height: 30 };

  it('draws a gap in the data as a gap', () => {
    expect(coursePaths(series(points(() => 1)), size)?.line.match(/M/g)).toHaveLength(1);
    const withGap = points((hours) => (hours > 1 && hours < 2 ? null : 1));
    expect(coursePaths(series(withGap), size)?.line.match(/M/g)).toHaveLength(2);
  });

  it('draws nothing without two heights', () => {
    expect(coursePaths(series([]), size)).toBeNull();
    expect(coursePaths(series([point(0, 1)]), size)).toBeNull();
  });
});
