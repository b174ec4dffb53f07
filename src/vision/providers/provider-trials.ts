import { MAX_START_TIME_S, providerLimits } from '../../base/provider-limits.ts';
import type { ProcessLimits } from '../../base/process-priority.ts';
import { createTrialRunner } from './run-trial.ts';
import type { TrialRunner } from './trial.ts';

export interface ProviderTrialsOptions {
  /** As `inference.maxRssMb`, MiB. */
  readonly maxRssMb: number;
  /** For trials that run alongside a serving model. */
  readonly processLimits?: ProcessLimits;
  /** Shorter time limit of a start on the CPU, seconds. */
  readonly cpuStartTimeS?: number;
}

/**
 * Returns a function that tries an execution provider within the limits of `providerLimits`. The first trial on an
 * accelerator may take minutes, because its library compiles the model. If that trial was slow, a second trial checks that
 * the model starts quickly from the compiled files, and the outcome of the second trial counts.
 */
export function createProviderTrials(
  { maxRssMb, processLimits, cpuStartTimeS }: ProviderTrialsOptions,
  createRunner: typeof createTrialRunner = createTrialRunner,
): TrialRunner {
  const run = (timeS: number): TrialRunner =>
    createRunner({ maxRssMb, timeoutMs: 1000 * timeS, ...(processLimits && { processLimits }) });
  return async (request, signal) => {
    const { trialTimeS } = providerLimits(request.provider);
    if (request.provider === 'cpu') return run(cpuStartTimeS ?? MAX_START_TIME_S)(request, signal);
    const built = await run(trialTimeS)(request, signal);
    const { outcome } = built;
    if (outcome.type !== 'right' || outcome.openMs + outcome.firstRunMs < 500 * MAX_START_TIME_S)
      return built;
    return run(MAX_START_TIME_S)(request, signal);
  };
}
