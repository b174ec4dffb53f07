import { expect, test, vi } from 'vitest';
import { candidateTrials } from '../../../src/serving/candidate-limits.ts';
import type { Bundle } from '../../../src/model/manifest.ts';
import type { TrialLimits } from '../../../src/vision/providers/run-trial.ts';
import type { TrialOutcome, TrialRequest } from '../../../src/vision/providers/trial.ts';

const NEVER = new AbortController().signal;
const processLimits = { niceness: 5, hardRssMb: 300 };
const right = (openMs: number): TrialOutcome => ({
  type: 'right',
  medianMs: 5,
  runs: 5,
  openMs,
  firstRunMs: 10,
});

/** Trials with the given outcomes, and the time limit of each trial that ran. */
function trials(...outcomes: TrialOutcome[]) {
  const limitsMs: number[] = [];
  const make = ({ timeoutMs }: TrialLimits) =>
    vi.fn(() => {
      limitsMs.push(timeoutMs);
      return Promise.resolve({ outcome: outcomes.shift() ?? right(1), runtime: null });
    });
  return { run: candidateTrials({ timeoutS: 30, maxRssMb: 400, processLimits }, make), limitsMs };
}
const request = (provider: string): TrialRequest => ({
  provider,
  threads: 1,
  runs: 5,
  bundle: {} as unknown as Bundle,
});

test('the CPU gets only the time that a start after a crash may take', async () => {
  const { run, limitsMs } = trials(right(100));
  await run(request('cpu'), NEVER);
  expect(limitsMs).toEqual([60_000]);
});

test('an accelerator may compile for minutes once, but must then start quickly from the compiled files', async () => {
  const hung: TrialOutcome = { type: 'hung', reason: 'no result within 60 s' };
  const { run, limitsMs } = trials(right(300_000), hung);
  expect(await run(request('tensorrt'), NEVER)).toMatchObject({ outcome: hung });
  expect(limitsMs).toEqual([900_000, 60_000]);
});

test('a provider that starts quickly at once gets one trial', async () => {
  const { run, limitsMs } = trials(right(900));
  expect(await run(request('cuda'), NEVER)).toMatchObject({ outcome: { type: 'right' } });
  expect(limitsMs).toEqual([900_000]);
});
