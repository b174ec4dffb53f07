import { describe, expect, it } from 'vitest';
import type { Series, SeriesPoint } from '../../../src/contract/history.ts';
import { dayEndMs, dayStartMs, idTimeMs, lastDays } from '../../../src/web/device/history/days.ts';
import {
  addObservation,
  connectNear,
  rowAt,
  toGaps,
  toRows,
  valueRange,
} from '../../../src/web/device/history/timeline.ts';
import { timeOrderedUuid } from '../../../src/base/uuid.ts';
import { observation } from '../../fixtures/agent-api.ts';

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 5, 1);
const STEP_S = 300;

/** A step; a string is the reason for no height, a number the height. */
const point = (step: number, value: number | SeriesPoint['reasons'][number]['code']): SeriesPoint => ({
  ...{ at: new Date(START_MS + step * STEP_S * 1000).toISOString(), observations: 1, measured: 1 },
  ...{ height_m: typeof value === 'number' ? value : null, low_m: null, high_m: null, height_basis: null },
  ...{ period_s: null, period_low_s: null, period_high_s: null, quality: 1, tide_m: null },
  reasons: typeof value === 'number' ? [] : [{ code: value, count: 1 }],
});
const series = (points: SeriesPoint[]): Series => ({
  ...{
    camera: 'north',
    from: '',
    to: '',
    bucket_s: STEP_S,
    max_read: 13,
    simulated: false,
    labels: [],
    points,
  },
});
const rowsOf = (points: SeriesPoint[], hours = 1) =>
  toRows(series(points), START_MS, START_MS + hours * HOUR_MS);
/** Start and end in steps, and what is there. */
const shape = (rows: ReturnType<typeof rowsOf>): unknown[] =>
  rows.map(({ fromMs, toMs, point: one }) => [
    (fromMs - START_MS) / (STEP_S * 1000),
    (toMs - START_MS) / (STEP_S * 1000),
    one?.height_m ?? null,
  ]);

describe('rows of a chart', () => {
  it('follow each other; a pause of the agent is a row of its own', () => {
    expect(shape(rowsOf([point(0, 1), point(1, 2), point(8, 3), point(9, 4), point(10, 4)]))).toEqual([
      [0, 1, 1],
      [1, 2, 2],
      [2, 8, null],
      [8, 9, 3],
      [9, 10, 4],
      [10, 12, 4],
    ]);
  });

  it('have no gap between the readings of a camera that is read every half hour', () => {
    const rows = rowsOf([point(0, 1), point(6, 1), point(12, 1), point(18, 1)], 2);
    expect(shape(rows)).toEqual([
      [0, 6, 1],
      [6, 12, 1],
      [12, 18, 1],
      [18, 24, 1],
    ]);
  });

  it('say that there are no records before the first and after the last one', () => {
    expect(shape(rowsOf([point(5, 1), point(6, 1)]))).toEqual([
      [0, 5, null],
      [5, 6, 1],
      [6, 7, 1],
      [7, 12, null],
    ]);
    expect(shape(rowsOf([]))).toEqual([[0, 12, null]]);
  });

  it('are found by a time', () => {
    const rows = rowsOf([point(0, 1), point(1, 2)]);
    expect(rowAt(rows, START_MS + 1)).toBe(0);
    expect(rowAt(rows, START_MS + STEP_S * 1000)).toBe(1);
    expect(rowAt(rows, START_MS - 1)).toBe(-1);
  });
});

describe('gaps of a chart', () => {
  it('join neighbours with the same reason and keep others apart', () => {
    const gaps = toGaps(
      rowsOf([point(0, 'dark'), point(1, 'dark'), point(2, 'fog'), point(3, 1), point(4, 'fog')]),
    );
    expect(gaps.map(({ fromMs, toMs, reason }) => [(toMs - fromMs) / (STEP_S * 1000), reason])).toEqual([
      [2, 'dark'],
      [1, 'fog'],
      [1, 'fog'],
      [7, null],
    ]);
    expect(gaps.map(({ hasRecords }) => hasRecords)).toEqual([true, true, true, false]);
  });
});

describe('addObservation', () => {
  const record = (minute: number, heightM: number | null) => ({
    ...observation,
    captured_at: new Date(START_MS + minute * 60_000).toISOString(),
    wave: { ...observation.wave, height_m: heightM, height_low_m: null, height_high_m: null },
    reasons: heightM === null ? (['fog'] as 'fog'[]) : [],
  });

  it('begins a new step, and adds to the present one', () => {
    const first = addObservation(series([point(0, 1)]), record(6, 2));
    expect(
      first.points.map(({ at, height_m, observations }) => [at.slice(14, 16), height_m, observations]),
    ).toEqual([
      ['00', 1, 1],
      ['05', 2, 1],
    ]);
    expect(addObservation(first, record(7, 3)).points.at(-1)).toMatchObject({
      height_m: 2.5,
      observations: 2,
    });
    expect(addObservation(first, record(7, null)).points.at(-1)).toMatchObject({
      ...{ height_m: 2, observations: 2, reasons: [{ code: 'fog', count: 1 }] },
    });
  });

  it('ignores records of other cameras and of the past', () => {
    const before = series([point(5, 1)]);
    expect(addObservation(before, { ...record(30, 2), camera: 'south' })).toBe(before);
    expect(addObservation(before, record(1, 2))).toBe(before);
  });
});

describe('values of a chart', () => {
  it('have room above and below, and a least range', () => {
    expect(valueRange([1, null, 2], [0, 1], 0.5)).toEqual([0.92, 2.08]);
    expect(valueRange([1, 1], [0, 1], 2)).toEqual([0, 2]);
    expect(valueRange([null], [0, 1], 2)).toEqual([0, 1]);
  });

  it('are connected over short gaps only', () => {
    const hours = [0, 1, 2, 3, 9, 10].map((hour) => hour * HOUR_MS);
    expect(connectNear(hours, [0, null, null, 3, null, 5], 4 * HOUR_MS)).toEqual([0, 1, 2, 3, null, 5]);
  });
});

describe('days of a zone', () => {
  it('begin at local midnight, also on days of 23 and 25 hours', () => {
    const zone = 'Europe/Lisbon';
    expect(dayStartMs(Date.UTC(2026, 6, 1, 12), zone)).toBe(Date.UTC(2026, 5, 30, 23));
    // Clocks go forward at 01:00 on 29 March and back at 02:00 on 25 October.
    const length = (atMs: number): number => (dayEndMs(atMs, zone) - dayStartMs(atMs, zone)) / HOUR_MS;
    expect(length(Date.UTC(2026, 2, 29, 20))).toBe(23);
    expect(length(Date.UTC(2026, 9, 25, 20))).toBe(25);
    expect(dayStartMs(Date.UTC(2026, 9, 25, 20), zone)).toBe(Date.UTC(2026, 9, 24, 23));
    expect(dayStartMs(Date.UTC(2026, 5, 1, 23, 30), 'Pacific/Kiritimati')).toBe(Date.UTC(2026, 5, 1, 10));
    expect(dayStartMs(Date.UTC(2026, 5, 1, 5), 'No/Such_Zone')).toBe(Date.UTC(2026, 5, 1));
  });

  it('follow each other without a hole', () => {
    const days = lastDays(Date.UTC(2026, 9, 27, 9), 'Europe/Lisbon', 4);
    for (const [index, startMs] of days.slice(1).entries())
      expect(dayEndMs(startMs, 'Europe/Lisbon')).toBe(days[index]);
  });

  it('are read from an id of version 7', () => {
    expect(idTimeMs(timeOrderedUuid(START_MS))).toBe(START_MS);
    expect(idTimeMs('0195f3a0-0000-4000-8000-000000000001')).toBeNull();
  });
});
