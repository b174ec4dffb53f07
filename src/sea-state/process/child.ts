// Entry of the process that measures or draws one clip. A process of its own, so that a clip costs no memory between two
// clips, and its computation never holds up the agent.
import { readSync } from 'node:fs';
import { estimateSeaState } from '../estimate.ts';
import { findBreakerFaces } from '../breaker-faces.ts';
import { resampleFrames, type TimedSamples } from '../resample.ts';
import { findWhiteWater } from '../white-water.ts';
import { timeStackOf } from '../time-stack.ts';
import type { PixelSeries } from '../types.ts';
import type { Job, Measured, Reply } from './messages.ts';

process.once('disconnect', () => process.exit());
// Ctrl-C in a terminal reaches the whole process group, but the agent decides when this process stops.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

type SeriesShape = Omit<TimedSamples, 'values'>;

function measure({ samples, columns }: Extract<Job, { type: 'measure' }>): Measured {
  const { estimate, stack, missing } = measureCells(samples);
  globalThis.gc?.();
  const breakers = columns && estimate.period ? findBreakers(columns) : null;
  const { user, system } = process.cpuUsage();
  return { estimate, stack, breakers, missing, cpuMs: (user + system) / 1000 };
}

/** A function of its own, so that its series has no memory any more when the columns are read. */
function measureCells({
  findings,
  ...shape
}: Extract<Job, { type: 'measure' }>['samples']): Pick<Measured, 'estimate' | 'stack' | 'missing'> {
  const series = readSeries(shape);
  // The columns of a grid run down the picture, and people draw lines from the sea to the shore.
  const estimate = estimateSeaState(series, { isShoreKnown: true, findings });
  return { estimate, stack: timeStackOf(series, estimate.cells), missing: series.missing };
}

/** Reads the frames of a series from standard input. The frames are not in the memory together with the even samples. */
function readSeries(shape: SeriesShape): PixelSeries {
  const cells = shape.columns * shape.rows;
  const [even, odd] = [new Uint8Array(cells), new Uint8Array(cells)];
  let count = 0;
  const next = (): Uint8Array => {
    const frame = count % 2 === 0 ? even : odd;
    count += 1;
    // The standard input of a child process is a blocking socket.
    for (let at = 0; at < cells;) {
      const bytes = readSync(0, frame, at, cells - at, null);
      if (bytes === 0) throw new Error('the samples ended early');
      at += bytes;
    }
    return frame;
  };
  const series = resampleFrames(shape, next);
  while (count < shape.timesS.length) next();
  return series;
}

function findBreakers(shape: SeriesShape): Measured['breakers'] {
  const series = readSeries(shape);
  const cells = Array.from({ length: series.columns * series.rows }, (_, cell) => cell);
  return { faces: findBreakerFaces(series, findWhiteWater(series, cells)), rateHz: series.rateHz };
}

async function handle(job: Job): Promise<Reply> {
  if (job.type === 'measure') return { type: 'measured', measured: measure(job) };
  const { figurePng } = await import('./figures.ts');
  return { type: 'drawn', png: await figurePng([job.figure], job.data) };
}

process.once('message', (job) => {
  // A failure ends the process, and the agent reads the reason from its standard error.
  void handle(job as Job).then((reply) => process.send?.(reply, () => process.exit()));
});
