import { createTrialRunner } from '../vision/providers/run-trial.ts';
import type { TrialRunner } from '../vision/providers/trial.ts';
import type { ProcessLimits } from '../vision/process-priority.ts';

export interface PatientOptions {
  /** What one frame may take, seconds. */
  readonly timeoutS: number;
  readonly maxRssMb: number;
  readonly processLimits: ProcessLimits;
}

/** What takes longer would leave the agent blind for as long after every restart of the vision process. */
const MAX_START_MS = 60_000;
const MIN_LIMIT_MS = 10_000;
/** An accelerator's library may build for minutes when it sees a model for the first time (TensorRT). */
const MAX_BUILD_MS = 900_000;

/**
 * Trials that nobody waits for: an accelerator may build for a quarter of an hour, once. Then it must start quickly, from
 * what it has kept of the build: a second trial decides.
 */
export function patientTrials(
  { timeoutS, maxRssMb, processLimits }: PatientOptions,
  make: typeof createTrialRunner = createTrialRunner,
): TrialRunner {
  const startMs = Math.min(MAX_START_MS, Math.max(MIN_LIMIT_MS, 2000 * timeoutS));
  const limits = { maxRssMb, processLimits };
  const quick = make({ ...limits, timeoutMs: startMs });
  const patient = make({ ...limits, timeoutMs: MAX_BUILD_MS });
  return async (request, signal) => {
    if (request.provider === 'cpu') return quick(request, signal);
    const built = await patient(request, signal);
    const { outcome } = built;
    if (outcome.type !== 'right' || outcome.openMs + outcome.firstRunMs < startMs / 2) return built;
    return quick(request, signal);
  };
}
