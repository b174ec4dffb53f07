import { setImmediate as nextTurn } from 'node:timers/promises';
import { isoTime } from '../base/clock.ts';
import { median } from '../base/statistics.ts';
import type { Series, SeriesPoint } from '../contract/history.ts';
import type { Observation } from '../contract/observation.ts';
import type { RecordValueReader, RecordValues, SampledRecords } from '../store/record-values.ts';
import type { CapturedLabel } from '../store/types.ts';

/** Round lengths of a step, seconds. Above the last one: whole days. */
const STEPS_S = [
  ...[1, 2, 5, 10, 15, 20, 30],
  ...[60, 120, 180, 300, 600, 900, 1200, 1800],
  ...[3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400],
];
const DAY_S = 86_400;
/** Records of each status that one answer reads at most. Each takes some ten microseconds. */
const MAX_READ_RECORDS = 4000;
/** Of one step: the least that a turn of the event loop reads. */
const MAX_READ_OF_STEP = 50;
/** Synchronous work between two turns of the event loop, ms. */
const MAX_BLOCK_MS = 4;
const MAX_REASONS = 3;
const STATUSES = [
  'measured',
  'rejected',
  'failed',
  'skipped',
] as const satisfies readonly Observation['status'][];

export interface SeriesQuery {
  readonly camera: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** Most steps. */
  readonly points: number;
}

export interface SeriesDeps {
  readonly values: Pick<RecordValueReader, 'sample' | 'tideM'>;
  readonly labels: { captured(camera: string, fromMs: number, toMs: number): readonly CapturedLabel[] };
  /** Predicted level of the water; null when none is predicted. */
  readonly predictTideM: (atMs: number) => number | null;
}

/** The shortest round step with which `points` cover the range, seconds. */
export function stepS(rangeMs: number, points: number): number {
  const wantedS = rangeMs / 1000 / points;
  return STEPS_S.find((one) => one >= wantedS) ?? Math.ceil(wantedS / DAY_S) * DAY_S;
}

/**
 * Height, period, quality and tide of one camera in equal steps of time. Gives the event loop a turn every few milliseconds.
 * Rejects as the store does, and when the signal aborts.
 */
export async function readSeries(
  { camera, fromMs, toMs, points }: SeriesQuery,
  { values, labels, predictTideM }: SeriesDeps,
  signal: AbortSignal,
): Promise<Series> {
  const lengthS = stepS(toMs - fromMs, points);
  const lengthMs = lengthS * 1000;
  const startMs = Math.floor(fromMs / lengthMs) * lengthMs;
  const endMs = Math.ceil(toMs / lengthMs) * lengthMs;
  const maxRead = Math.min(MAX_READ_OF_STEP, Math.floor(MAX_READ_RECORDS / points));
  const found: SeriesPoint[] = [];
  let isSimulated = false;
  let sliceEndMs = performance.now() + MAX_BLOCK_MS;
  for (let atMs = startMs; atMs < endMs; atMs += lengthMs) {
    const range = { fromMs: Math.max(atMs, fromMs), toMs: Math.min(atMs + lengthMs, toMs) };
    const samples = STATUSES.map((status) => values.sample(camera, status, range, maxRead));
    if (samples.some(({ count }) => count > 0)) {
      const tideM = values.tideM(camera, range) ?? predictTideM(atMs + lengthMs / 2);
      found.push({ ...seriesPoint(samples), at: isoTime(atMs), tide_m: roundOrNull(tideM) });
      isSimulated ||= samples.some((sample) => sample.values.some((one) => one.isSimulated));
    }
    if (performance.now() < sliceEndMs) continue;
    await nextTurn();
    signal.throwIfAborted();
    sliceEndMs = performance.now() + MAX_BLOCK_MS;
  }
  return {
    ...{ camera, from: isoTime(startMs), to: isoTime(endMs), bucket_s: lengthS, max_read: maxRead },
    simulated: isSimulated,
    points: found,
    labels: labels.captured(camera, fromMs, toMs).map((label) => ({
      observation_id: label.observationId,
      captured_at: isoTime(label.capturedAtMs),
      height_m: label.heightM,
      observer: label.observer,
    })),
  };
}

/** One step, from the records of each status in the order of `STATUSES`. */
export function seriesPoint(samples: readonly SampledRecords[]): Omit<SeriesPoint, 'at' | 'tide_m'> {
  const records = samples.flatMap((sample) => sample.values);
  const withHeight = records.filter(({ heightM }) => heightM !== null);
  const medianOf = (rows: readonly RecordValues[], value: (row: RecordValues) => number | null) =>
    roundOrNull(median(rows.flatMap((row) => value(row) ?? [])));
  return {
    observations: samples.reduce((sum, { count }) => sum + count, 0),
    measured: samples[0]?.count ?? 0,
    height_m: medianOf(withHeight, (row) => row.heightM),
    low_m: medianOf(withHeight, (row) => row.lowM),
    high_m: medianOf(withHeight, (row) => row.highM),
    height_basis:
      mostFrequent(withHeight.flatMap(({ basis }) => (basis ? [[basis, 1] as const] : [])))[0]?.[0] ?? null,
    period_s: medianOf(records, (row) => row.periodS),
    period_low_s: medianOf(records, (row) => row.periodLowS),
    period_high_s: medianOf(records, (row) => row.periodHighS),
    quality: medianOf(records, (row) => row.quality),
    reasons: mostFrequent(
      samples.flatMap(({ count, values }) =>
        values.flatMap(({ heightM, reason }) =>
          heightM === null && reason !== null ? [[reason, count / values.length] as const] : [],
        ),
      ),
    )
      .slice(0, MAX_REASONS)
      .map(([code, count]) => ({ code, count: Math.round(count) })),
  };
}

/** The sum of the weights of each key, the heaviest first. */
function mostFrequent<K>(weighted: readonly (readonly [key: K, weight: number])[]): [K, number][] {
  const sums = new Map<K, number>();
  for (const [key, weight] of weighted) sums.set(key, (sums.get(key) ?? 0) + weight);
  return [...sums].sort((a, b) => b[1] - a[1]);
}

const roundOrNull = (value: number | null): number | null =>
  value === null ? null : Number(value.toFixed(3));
