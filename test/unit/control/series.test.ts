import { describe, expect, it } from 'vitest';
import { readSeries, seriesPoint, stepS } from '../../../src/control/series.ts';
import type { RecordValues } from '../../../src/store/record-values.ts';
import { draft, NO_FEATURES, seaStateDraft, burstFeatures } from '../../fixtures/store.ts';
import { recordValues } from '../../fixtures/record-values.ts';
import { useStore } from '../../fixtures/use-store.ts';
import { NO_WAVE } from '../../../src/observation/record.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const START_MS = Date.UTC(2026, 5, 1);
const NEVER = new AbortController().signal;
const all = (...values: RecordValues[]) => ({ count: values.length, values });

describe('stepS', () => {
  it.each([
    [DAY_MS, 288, 300],
    [DAY_MS, 300, 300],
    [7 * DAY_MS, 336, 1800],
    [30 * DAY_MS, 360, 7200],
    [365 * DAY_MS, 300, 172_800],
    [10_000, 1000, 1],
  ])('is the shortest round step: %d ms in %d points are steps of %d s', (rangeMs, points, expected) => {
    expect(stepS(rangeMs, points)).toBe(expected);
  });
});

describe('seriesPoint', () => {
  it('has the median of the heights and of both ends of their intervals', () => {
    const heights = [1, 3, 1.4].map((heightM) =>
      recordValues({ heightM, lowM: heightM - 0.2, highM: heightM + 0.5 }),
    );
    expect(seriesPoint([all(...heights)])).toMatchObject({
      ...{ observations: 3, measured: 3, height_m: 1.4, low_m: 1.2, high_m: 1.9 },
      ...{ height_basis: 'site_calibrated', reasons: [] },
    });
  });

  it('has no height without one, and the most frequent reasons', () => {
    const without = (reason: RecordValues['reason'], quality: number | null): RecordValues =>
      recordValues({ ...{ heightM: null, lowM: null, highM: null, basis: null }, reason, quality });
    const point = seriesPoint([
      all(without('uncalibrated', 0.9)),
      { count: 100, values: [without('dark', 0.1), without('fog', 0.2)] },
      all(without('camera_timeout', null), without('camera_timeout', null)),
      all(),
    ]);
    expect(point).toEqual({
      ...{ observations: 103, measured: 1, height_m: null, low_m: null, high_m: null, height_basis: null },
      ...{ period_s: null, period_low_s: null, period_high_s: null, quality: 0.2 },
      reasons: [
        { code: 'dark', count: 50 },
        { code: 'fog', count: 50 },
        { code: 'camera_timeout', count: 2 },
      ],
    });
  });
});

describe('readSeries', () => {
  const state = useStore({}, { inMemory: true, startMs: START_MS });
  const read = (fromMs: number, toMs: number, points = 10, predictTideM = (): number | null => null) =>
    readSeries(
      { camera: 'north', fromMs, toMs, points },
      { values: state.store.values, labels: state.store.labels, predictTideM },
      NEVER,
    );
  const append = (minute: number, over: Parameters<typeof draft>[0] = {}) =>
    state.store.append(
      draft({
        captured_at: new Date(START_MS + minute * MINUTE_MS).toISOString(),
        wave: {
          ...NO_WAVE,
          height_m: minute / 10,
          height_low_m: 0,
          height_high_m: 9,
          height_basis: 'site_calibrated',
        },
        reasons: [],
        ...over,
      }),
      burstFeatures([1]),
    );

  it('counts all records, leaves out empty steps, and reads an even part of a full step', async () => {
    for (let minute = 0; minute < 600; minute += 1)
      if (minute < 200 || minute >= 400)
        append(minute, minute % 10 === 0 ? { status: 'rejected', wave: NO_WAVE, reasons: ['fog'] } : {});
    const series = await read(START_MS, START_MS + 600 * MINUTE_MS);
    expect([series.bucket_s, series.max_read]).toEqual([3600, 50]);
    expect(
      series.points.map(({ at, observations, measured }) => [at.slice(11, 16), observations, measured]),
    ).toEqual([
      ['00:00', 60, 54],
      ['01:00', 60, 54],
      ['02:00', 60, 54],
      ['03:00', 20, 18],
      ['06:00', 20, 18],
      ['07:00', 60, 54],
      ['08:00', 60, 54],
      ['09:00', 60, 54],
    ]);
    // The heights rise by 0.1 m a minute: the median of 50 of 54 records is close to the middle of the hour.
    expect(series.points[1]?.height_m).toBeCloseTo(9, 0);
    expect(series.points[1]?.reasons).toEqual([{ code: 'fog', count: 6 }]);
  });

  it('has the same steps for a range that begins a little later, and no record from outside of the range', async () => {
    for (let minute = 0; minute < 120; minute += 1) append(minute);
    const { points, from, to } = await read(START_MS + 30 * MINUTE_MS, START_MS + 125 * MINUTE_MS);
    expect([from, to].map((time) => time.slice(11, 16))).toEqual(['00:30', '02:10']);
    const later = await read(START_MS + 33 * MINUTE_MS, START_MS + 125 * MINUTE_MS);
    expect(later.from.slice(11, 16)).toBe('00:30');
    expect(later.points[0]?.observations).toBe(7);
    expect(later.points.slice(1)).toEqual(points.slice(1));
  });

  it('has the tide of the clips, else the predicted one, and the readings at the time of their frames', async () => {
    const { id } = append(5);
    append(70);
    state.store.labels.add({ observationId: id, heightM: 1.7, observer: 'ana', note: null });
    const breaker = { ...seaStateDraft().breaker, tide_m: 0.42 };
    state.store.appendSeaState(
      seaStateDraft({ captured_at: new Date(START_MS + MINUTE_MS).toISOString(), breaker }),
    );
    const { points, labels } = await read(START_MS, START_MS + 600 * MINUTE_MS, 10, () => -0.3);
    expect(points.map(({ tide_m }) => tide_m)).toEqual([0.42, -0.3]);
    expect(labels).toEqual([
      { observation_id: id, captured_at: '2026-06-01T00:05:00.000Z', height_m: 1.7, observer: 'ana' },
    ]);
    expect((await read(START_MS + 60 * MINUTE_MS, START_MS + 600 * MINUTE_MS)).labels).toEqual([]);
  });

  it('gives other work a turn, and stops when nobody waits for it', async () => {
    append(0);
    let turns = 0;
    let isDone = false;
    const count = (): void => {
      turns += 1;
      if (!isDone) setImmediate(count);
    };
    count();
    await read(START_MS - 3000 * DAY_MS, START_MS + DAY_MS, 1000);
    isDone = true;
    expect(turns).toBeGreaterThan(1);
    const stopped = readSeries(
      { camera: 'north', fromMs: START_MS - 3000 * DAY_MS, toMs: START_MS, points: 1000 },
      { values: state.store.values, labels: state.store.labels, predictTideM: () => null },
      AbortSignal.abort(new Error('left')),
    );
    await expect(stopped).rejects.toThrow('left');
  });

  it('skips records of other cameras and says that records are simulated', async () => {
    append(1, { simulated: true });
    state.store.append(draft({ camera: 'south', captured_at: '2026-06-01T00:02:00.000Z' }), NO_FEATURES);
    const series = await read(START_MS, START_MS + DAY_MS);
    expect([series.simulated, series.points.length, series.points[0]?.observations]).toEqual([true, 1, 1]);
  });
});
