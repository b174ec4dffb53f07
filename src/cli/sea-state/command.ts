import { stat } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { breakerField } from '../../geometry/breaker-field.ts';
import { parsePoseFile } from '../../geometry/pose-file.ts';
import { estimateSeaState, MIN_DURATION_S } from '../../sea-state/estimate.ts';
import { breakingFields, periodFields, travelField } from '../../sea-state/record-fields.ts';
import type { SeaStateEstimate } from '../../sea-state/types.ts';
import { readOptionFile } from '../options.ts';
import { createProgressBar } from '../progress.ts';
import { EXIT, toJson, type Terminal } from '../terminal.ts';
import { measureBreakers, type BreakerOptions } from './breakers.ts';
import { formatBreaker, formatClip } from './format.ts';
import { parseLine } from './parse-line.ts';
import { readInput } from './read-input.ts';

export interface SeaStateOptions {
  readonly fps?: string;
  readonly timestack?: boolean;
  readonly line: readonly string[];
  readonly window?: string;
  /** File of a figure. */
  readonly plot?: string;
  /** File of a pose from `calibrate-camera`. */
  readonly pose?: string;
  /** Level of the water in the coordinates of the pose, metres. */
  readonly tide?: string;
  readonly json?: boolean;
}

/** `sea-state INPUT`: measures the wave period in each window of the input. A refusal is a result, not a failure. */
export async function runSeaState(
  path: string,
  options: SeaStateOptions,
  terminal: Terminal,
): Promise<number> {
  const fps = options.fps === undefined ? null : positive('--fps', options.fps);
  const windowS = options.window === undefined ? null : positive('--window', options.window);
  if (windowS !== null && windowS < MIN_DURATION_S)
    throw new AgentError('usage', `--window must be at least ${String(MIN_DURATION_S)} seconds`);
  if (options.line.length > 0 && options.timestack === true)
    throw new AgentError('usage', 'use either --timestack or --line: a time stack is a line');
  const lines = options.line.map(parseLine);
  const geometry = await readGeometry(path, options);
  const bar = await createProgressBar('reading', terminal);
  using _bar = { [Symbol.dispose]: () => bar.stop() };
  const isTimestack = options.timestack === true;
  const input = {
    fps,
    isTimestack,
    lines,
    windowS,
    signal: terminal.signal,
    progress: (done: number, total: number) => bar.update(done, total),
  };
  const results: unknown[] = [];
  let count = 0;
  for await (const clip of readInput(path, input)) {
    const { fromS, series, findings } = clip;
    count += 1;
    // Nobody says on which side of a time stack the shore is.
    const estimate = estimateSeaState(series, { isShoreKnown: !isTimestack, findings });
    if (options.plot !== undefined) {
      const { plotClip } = await import('./plot.ts');
      await plotClip(plotFile(options.plot, count), path, clip, estimate);
    }
    const breaker =
      geometry && estimate.period
        ? await measureBreakers(path, clip, estimate.period.peakS, geometry, terminal.signal)
        : null;
    const frames = { wanted: series.samples, used: series.samples - series.missing };
    if (options.json === true)
      results.push({
        ...{ start_s: fromS, frames, ...toRecord(estimate) },
        ...(breaker === null ? {} : { breaker: breakerField(breaker, geometry?.levelM ?? null) }),
      });
    else terminal.out([formatClip(fromS, estimate), ...(breaker === null ? [] : formatBreaker(breaker))]);
  }
  if (options.json === true) terminal.out(toJson({ input: path, clips: results }));
  return EXIT.ok;
}

async function readGeometry(path: string, options: SeaStateOptions): Promise<BreakerOptions | null> {
  if (options.pose === undefined) {
    if (options.tide !== undefined) throw new AgentError('usage', '--tide needs --pose');
    return null;
  }
  const isFilm = options.timestack !== true && options.fps === undefined && !(await isDirectory(path));
  if (!isFilm)
    throw new AgentError('usage', '--pose needs a video that plays at the speed at which it was taken');
  const levelM = options.tide === undefined ? null : Number(options.tide);
  if (levelM !== null && !(Math.abs(levelM) <= 1000))
    throw new AgentError('usage', `--tide must be a number of metres, not ${String(options.tide)}`);
  return { pose: parsePoseFile(readOptionFile('pose', options.pose)), levelM };
}

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** The second window of `sea.png` is drawn in `sea-2.png`. */
function plotFile(file: string, count: number): string {
  if (count === 1) return file;
  const { dir, name, ext } = parse(file);
  return join(dir, `${name}-${String(count)}${ext}`);
}

function toRecord({ durationS, reasons, period, warnings, breaking, travelDeg }: SeaStateEstimate): object {
  return {
    duration_s: durationS,
    status: period ? 'measured' : 'rejected',
    reasons,
    period: period && periodFields(period),
    travel_deg: travelField(travelDeg),
    breaking: breaking && breakingFields(breaking),
    warnings,
  };
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 100_000))
    throw new AgentError('usage', `${option} must be a number above 0, not ${text}`);
  return value;
}
