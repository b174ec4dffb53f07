import { expect, test } from 'vitest';
import { MAX_START_TIME_S, providerLimits } from '../../../../src/base/provider-limits.ts';
import type { Bundle } from '../../../../src/model/manifest.ts';
import { createProviderTrials } from '../../../../src/vision/providers/provider-trials.ts';
import type { TrialLimits } from '../../../../src/vision/providers/run-trial.ts';
import type { TrialOutcome, TrialRequest } from '../../../../src/vision/providers/trial.ts';

const NEVER = new AbortController().signal;
const right = (openMs: number): TrialOutcome => ({
  type: 'right',
  medianMs: 5,
  runs: 5,
  openMs,
  firstRunMs: 10,
});

/** Trials with the given outcomes, and the limits of each trial that ran. */
function trials(...outcomes: TrialOutcome[]) {
  const limits: TrialLimits[] = [];
  const processLimits = { niceness: 5, hardRssMb: 300 };
  const run = createProviderTrials({ maxRssMb: 400, processLimits, cpuStartTimeS: 20 }, (given) => () => {
    limits.push(given);
    return Promise.resolve({ outcome: outcomes.shift() ?? right(1), runtime: null });
  });
  return { run, limits, timesMs: () => limits.map(({ timeoutMs }) => timeoutMs) };
}
const request = (provider: string): TrialRequest => ({
  provider,
  threads: 1,
  runs: 5,
  bundle: {} as unknown as Bundle,
});

test('the CPU gets only the time that a start after a crash may take', async () => {
  const { run, limits } = trials(right(100));
  await run(request('cpu'), NEVER);
  expect(limits).toEqual([
    { maxRssMb: 400, timeoutMs: 20_000, processLimits: { niceness: 5, hardRssMb: 300 } },
  ]);
});

test('an accelerator may compile for minutes once, but must then start quickly from the compiled files', async () => {
  const { trialTimeS } = providerLimits('tensorrt');
  const hung: TrialOutcome = { type: 'hung', reason: 'no result within 60 s' };
  const { run, timesMs } = trials(right(300_000), hung);
  expect(await run(request('tensorrt'), NEVER)).toMatchObject({ outcome: hung });
  expect(timesMs()).toEqual([1000 * trialTimeS, 1000 * MAX_START_TIME_S]);
});

test('a provider that starts quickly at once gets one trial', async () => {
  const { run, timesMs } = trials(right(900));
  expect(await run(request('cuda'), NEVER)).toMatchObject({ outcome: { type: 'right' } });
  expect(timesMs()).toEqual([1000 * providerLimits('cuda').trialTimeS]);
});

test('a provider that fails gets no second trial', async () => {
  const unavailable: TrialOutcome = { type: 'unavailable', reason: 'libcudart.so.12 is missing' };
  const { run, limits } = trials(unavailable);
  expect(await run(request('cuda'), NEVER)).toMatchObject({ outcome: unavailable });
  expect(limits).toHaveLength(1);
});
