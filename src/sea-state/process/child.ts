// Entry of the process that measures or draws one clip. A process of its own, so that a clip costs no memory between two
// clips, and its computation never holds up the agent.
import { buffer } from 'node:stream/consumers';
import { estimateSeaState } from '../estimate.ts';
import { findBreakerFaces } from '../breaker-faces.ts';
import { resample, type TimedSamples } from '../resample.ts';
import { findWhiteWater } from '../white-water.ts';
import { timeStackOf } from '../time-stack.ts';
import type { Job, Measured, Reply } from './messages.ts';

process.once('disconnect', () => process.exit());
// Ctrl-C in a terminal reaches the whole process group, but the agent decides when this process stops.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

async function measure({ samples, columns }: Extract<Job, { type: 'measure' }>): Promise<Measured> {
  const input = await buffer(process.stdin);
  const cellBytes = samples.columns * samples.rows * samples.timesS.length;
  const series = resample({ ...samples, values: input.subarray(0, cellBytes) });
  // The columns of a grid run down the picture, and people draw lines from the sea to the shore.
  const estimate = estimateSeaState(series, { isShoreKnown: true, findings: samples.findings });
  const breakers =
    columns && estimate.period ? findBreakers({ ...columns, values: input.subarray(cellBytes) }) : null;
  const { user, system } = process.cpuUsage();
  const stack = timeStackOf(series, estimate.cells);
  return { estimate, stack, breakers, missing: series.missing, cpuMs: (user + system) / 1000 };
}

function findBreakers(columns: TimedSamples): Measured['breakers'] {
  const series = resample(columns);
  const cells = Array.from({ length: series.columns * series.rows }, (_, cell) => cell);
  return { faces: findBreakerFaces(series, findWhiteWater(series, cells)), rateHz: series.rateHz };
}

async function handle(job: Job): Promise<Reply> {
  if (job.type === 'measure') return { type: 'measured', measured: await measure(job) };
  const { figurePng } = await import('./figures.ts');
  return { type: 'drawn', png: await figurePng([job.figure], job.data) };
}

process.once('message', (job) => {
  // A failure ends the process, and the agent reads the reason from its standard error.
  void handle(job as Job).then((reply) => process.send?.(reply, () => process.exit()));
});
