import type { Series, SeriesPoint } from '../../../contract/history.ts';

/** Steps without a height that a line may cross. */
const MAX_GAP_STEPS = 2;
/** Fewer say nothing about the course. */
const MIN_POINTS = 4;
const MARGIN = 2;

/**
 * SVG paths of the measured heights and their intervals; a gap in the data is a gap in the drawing. The vertical axis begins at 0.
 * Null: there is nothing to draw.
 */
export function coursePaths(
  { points, from, to, bucket_s: bucketS }: Series,
  { width, height }: { readonly width: number; readonly height: number },
): { readonly line: string; readonly band: string } | null {
  const measured = points.filter(({ height_m: heightM }) => heightM !== null);
  if (measured.length < MIN_POINTS) return null;
  const [fromMs, toMs] = [Date.parse(from), Date.parse(to)];
  const greatestM = Math.max(0.5, ...measured.map((point) => point.high_m ?? point.height_m ?? 0));
  const x = ({ at }: SeriesPoint): string =>
    (((Date.parse(at) + bucketS * 500 - fromMs) / (toMs - fromMs)) * width).toFixed(1);
  const y = (metres: number | null): string =>
    (height - MARGIN - ((metres ?? 0) / greatestM) * (height - 2 * MARGIN)).toFixed(1);
  const runs = splitAtGaps(measured, MAX_GAP_STEPS * bucketS * 1000);
  const line = (run: readonly SeriesPoint[], value: (point: SeriesPoint) => number | null): string =>
    run.map((point) => `${x(point)} ${y(value(point))}`).join('L');
  return {
    line: runs.map((run) => `M${line(run, (point) => point.height_m)}`).join(''),
    band: runs
      .map(
        (run) =>
          `M${line(run, (point) => point.high_m ?? point.height_m)}L${line(run.toReversed(), (point) => point.low_m ?? point.height_m)}Z`,
      )
      .join(''),
  };
}

function splitAtGaps(points: readonly SeriesPoint[], maxGapMs: number): readonly (readonly SeriesPoint[])[] {
  const runs: SeriesPoint[][] = [];
  let lastMs = -Infinity;
  for (const point of points) {
    const atMs = Date.parse(point.at);
    if (atMs - lastMs > maxGapMs) runs.push([]);
    runs.at(-1)?.push(point);
    lastMs = atMs;
  }
  return runs;
}
