import type { Series, SeriesPoint } from '../../../contract/history.ts';
import type { Observation } from '../../../contract/observation.ts';

export type GapReason = SeriesPoint['reasons'][number]['code'];

/** A part of the time axis: a step with records, or a time without any. The rows of a chart follow each other without holes. */
export interface Row {
  readonly fromMs: number;
  readonly toMs: number;
  /** Null: a time without records. */
  readonly point: SeriesPoint | null;
}

/** A time without a height. */
export interface Gap {
  readonly fromMs: number;
  readonly toMs: number;
  readonly hasRecords: boolean;
  /** Null: there are no records, or they state no reason. */
  readonly reason: GapReason | null;
}

/** A camera that is read once an hour has no gap from one reading to the next. */
const GAP_SPACINGS = 2.5;

/** The steps with records, oldest first, and between them the times without records that are unusually long for this camera. */
export function toRows(series: Series, fromMs: number, toMs: number): readonly Row[] {
  const stepMs = series.bucket_s * 1000;
  const points = series.points.map((point) => ({ point, atMs: Date.parse(point.at) }));
  const spacingsMs = points.slice(1).map(({ atMs }, index) => atMs - (points[index]?.atMs ?? atMs));
  const usualMs = spacingsMs.toSorted((a, b) => a - b)[spacingsMs.length >> 1] ?? stepMs;
  const minGapMs = Math.max(2 * stepMs, GAP_SPACINGS * usualMs);
  const rows: Row[] = [];
  const first = points[0]?.atMs ?? toMs;
  if (first - fromMs >= minGapMs) rows.push({ fromMs, toMs: first, point: null });
  for (const [index, { point, atMs }] of points.entries()) {
    const nextMs = points[index + 1]?.atMs ?? Math.max(toMs, atMs + stepMs);
    const isGap = nextMs - atMs >= minGapMs;
    const endMs = isGap ? atMs + stepMs : nextMs;
    rows.push({ fromMs: atMs, toMs: endMs, point });
    if (isGap && nextMs > endMs) rows.push({ fromMs: endMs, toMs: nextMs, point: null });
  }
  return rows;
}

/** The times without a height; neighbours with the same reason are one. */
export function toGaps(rows: readonly Row[]): readonly Gap[] {
  const gaps: Gap[] = [];
  for (const { fromMs, toMs, point } of rows) {
    if (point?.height_m != null) continue;
    const gap = { fromMs, toMs, hasRecords: point !== null, reason: point?.reasons[0]?.code ?? null };
    const last = gaps.at(-1);
    const isSame = last?.toMs === fromMs && last.reason === gap.reason && last.hasRecords === gap.hasRecords;
    if (isSame) gaps[gaps.length - 1] = { ...last, toMs };
    else gaps.push(gap);
  }
  return gaps;
}

/** The gap at a time; null when there is a height. */
export const gapAt = (gaps: readonly Gap[], atMs: number): Gap | null =>
  gaps.find(({ fromMs, toMs }) => atMs >= fromMs && atMs < toMs) ?? null;

/** The row at a time, or the last one before it; -1 before the first. */
export const rowAt = (rows: readonly Row[], atMs: number): number =>
  rows.findLastIndex(({ fromMs }) => fromMs <= atMs);

/**
 * The series with one more record, so that a chart follows new records without another request. The values of a step become
 * means, until the agent is asked again.
 */
export function addObservation(series: Series, record: Observation): Series {
  const stepMs = series.bucket_s * 1000;
  const at = new Date(Math.floor(Date.parse(record.captured_at) / stepMs) * stepMs).toISOString();
  const last = series.points.at(-1);
  if (record.camera !== series.camera || (last && last.at > at)) return series;
  const before = last?.at === at ? last : emptyPoint(at);
  const { wave, quality } = record;
  const mean = (old: number | null, value: number | null | undefined): number | null => {
    if (value == null) return old;
    return old === null ? value : old + (value - old) / (before.measured + 1);
  };
  const point: SeriesPoint = {
    ...before,
    observations: before.observations + 1,
    measured: before.measured + (record.status === 'measured' ? 1 : 0),
    height_m: mean(before.height_m, wave.height_m),
    low_m: mean(before.low_m, wave.height_low_m),
    high_m: mean(before.high_m, wave.height_high_m),
    height_basis: wave.height_basis ?? before.height_basis,
    period_s: wave.period_s ?? before.period_s,
    period_low_s: wave.period_low_s ?? before.period_low_s,
    period_high_s: wave.period_high_s ?? before.period_high_s,
    quality: mean(before.quality, quality.score),
    reasons: wave.height_m === null ? addReason(before.reasons, record.reasons[0]) : before.reasons,
  };
  return {
    ...series,
    simulated: series.simulated || record.simulated === true,
    points: [...(before === last ? series.points.slice(0, -1) : series.points), point],
  };
}

function emptyPoint(at: string): SeriesPoint {
  return {
    ...{ at, observations: 0, measured: 0, height_m: null, low_m: null, high_m: null, height_basis: null },
    ...{ period_s: null, period_low_s: null, period_high_s: null, quality: null, tide_m: null, reasons: [] },
  };
}

function addReason(reasons: SeriesPoint['reasons'], code: GapReason | undefined): SeriesPoint['reasons'] {
  if (code === undefined) return reasons;
  const known = reasons.find((one) => one.code === code);
  const others = reasons.filter((one) => one !== known);
  return [...others, { code, count: (known?.count ?? 0) + 1 }]
    .toSorted((a, b) => b.count - a.count)
    .slice(0, 3);
}

/** The smallest and the largest of the values with room around them; `usual` without values. `least`: the smallest height of the axis. */
export function valueRange(
  values: readonly (number | null)[],
  usual: readonly [number, number],
  least: number,
): readonly [number, number] {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return usual;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const missing = Math.max(0, least - (high - low)) / 2;
  const room = (high - low) * 0.08;
  return [low - missing - room, high + missing + room];
}

/** The values with straight lines between known ones that are at most `maxGapMs` apart. */
export function connectNear(
  atMs: readonly number[],
  values: readonly (number | null)[],
  maxGapMs: number,
): (number | null)[] {
  const connected = [...values];
  let before: { readonly index: number; readonly value: number } | null = null;
  for (const [index, value] of values.entries()) {
    if (value === null) continue;
    const [fromMs, toMs] = [atMs[before?.index ?? index] ?? 0, atMs[index] ?? 0];
    if (before !== null && toMs - fromMs <= maxGapMs)
      for (let between = before.index + 1; between < index; between += 1) {
        const share = ((atMs[between] ?? toMs) - fromMs) / (toMs - fromMs);
        connected[between] = before.value + (value - before.value) * share;
      }
    before = { index, value };
  }
  return connected;
}
