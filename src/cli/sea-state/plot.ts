import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { figurePng, figureSvg } from '../../sea-state/process/figures.ts';
import { timeStackOf } from '../../sea-state/time-stack.ts';
import type { SeaStateEstimate } from '../../sea-state/types.ts';
import type { Clip } from './clips.ts';
import { describeClip } from './format.ts';

const PANELS = ['timestack', 'spectrum'] as const;

/**
 * Writes a figure: the time stack of the column with the most waves, and the spectrum with background, peak and interval.
 * PNG, or SVG when the name ends so. Throws `usage` when the file cannot be written.
 */
export async function plotClip(
  file: string,
  input: string,
  { fromS, series }: Clip,
  estimate: SeaStateEstimate,
): Promise<void> {
  const data = {
    title: basename(input),
    caption: describeClip(fromS, estimate),
    fromS,
    stack: timeStackOf(series, estimate.cells),
    ...estimate,
  };
  const isSvg = file.toLowerCase().endsWith('.svg');
  const bytes = isSvg ? await figureSvg(PANELS, data) : await figurePng(PANELS, data);
  await writeFile(file, bytes).catch((cause: unknown) => {
    throw new AgentError('usage', `the figure ${file} cannot be written`, { cause });
  });
}
