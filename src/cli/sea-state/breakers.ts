import { AgentError } from '../../base/errors.ts';
import {
  measureBreakerHeight,
  type BreakerHeight,
  type BreakerReason,
} from '../../geometry/breaker-height.ts';
import { firstWaterRow } from '../../geometry/camera-geometry.ts';
import { toSeenBreakers } from '../../geometry/face-height.ts';
import { viewInImage } from '../../geometry/image-scale.ts';
import type { parsePoseFile } from '../../geometry/pose-file.ts';
import { findBreakerFaces } from '../../sea-state/breaker-faces.ts';
import { findWhiteWater } from '../../sea-state/white-water.ts';
import type { Clip } from './clips.ts';
import { decodeGrey, pictureSize } from './decode.ts';

/** Columns of the picture in which breakers are measured. */
const COLUMNS = 32;
/** Width of a column before it is reduced to one value: a wider one blurs crests that run obliquely, share of the picture. */
const COLUMN_SHARE = 1 / 320;

export interface BreakerOptions {
  readonly pose: ReturnType<typeof parsePoseFile>;
  /** Level of the water in the coordinates of the pose, metres; null when unknown. */
  readonly levelM: number | null;
}

/** Measures the height of the breakers in a clip of a film, from columns at the full resolution of its pictures. */
export async function measureBreakers(
  path: string,
  { fromS, series }: Clip,
  periodS: number,
  { pose, levelM }: BreakerOptions,
  signal: AbortSignal,
): Promise<BreakerHeight | BreakerReason> {
  const size = await pictureSize([`file:${path}`], path, signal);
  const view = viewInImage(pose, size);
  const firstRow = Math.round(firstWaterRow(view, size) * size.height);
  if (firstRow >= size.height)
    throw new AgentError('pose_unusable', 'the pose sees no water in this picture');
  const rows = size.height - firstRow;
  const { rateHz, samples } = series;
  const filters = [
    `fps=${String(rateHz)}:round=near,format=gray`,
    `crop=${String(size.width)}:${String(rows)}:0:${String(firstRow)}`,
    `scale=${String(Math.round(1 / COLUMN_SHARE))}:${String(rows)}:flags=area`,
    `scale=${String(COLUMNS)}:${String(rows)}:flags=neighbor`,
  ].join(',');
  const input = ['-ss', String(fromS), '-i', `file:${path}`, '-t', String(samples / rateHz)];
  const parts: Buffer[] = [];
  for await (const picture of decodeGrey(
    { input, filters, sizeBytes: COLUMNS * rows, feed: null, path },
    signal,
  ))
    parts.push(Buffer.from(picture));
  const stack = { ...series, samples: parts.length, columns: COLUMNS, rows, values: Buffer.concat(parts) };
  const cells = Array.from({ length: COLUMNS * rows }, (_, cell) => cell);
  const pixelOf = (column: number, row: number): readonly [number, number] => [
    ((column + 0.5) * size.width) / COLUMNS,
    firstRow + row,
  ];
  const seen = toSeenBreakers(findBreakerFaces(stack, findWhiteWater(stack, cells)), rateHz, pixelOf);
  return measureBreakerHeight(seen, view, { levelM, periodS });
}
