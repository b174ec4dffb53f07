import { createTrialRunner } from '../vision/ladder-run-trial.ts';
import type { TrialRunner } from '../vision/ladder-trial-types.ts';
import type { Restraint } from '../vision/restraint.ts';

export interface PatientOptions {
  /** What one frame may take, seconds. */
  readonly timeoutS: number;
  readonly maxRssMb: number;
  readonly restraint: Restraint;
}

/** What takes longer would leave the agent blind for as long after every restart of the vision process. */
const LONGEST_START_MS = 60_000;
const SHORTEST_LIMIT_MS = 10_000;
/** An accelerator's library may build for minutes when it sees a model for the first time (TensorRT). */
const LONGEST_BUILD_MS = 900_000;

/**
 * Trials that nobody waits for: an accelerator may build for a quarter of an hour, once. Then it must start quickly, from
 * what it has kept of the build: a second trial decides.
 */
export function patientTrials(
  { timeoutS, maxRssMb, restraint }: PatientOptions,
  make: typeof createTrialRunner = createTrialRunner,
): TrialRunner {
  const startMs = Math.min(LONGEST_START_MS, Math.max(SHORTEST_LIMIT_MS, 2000 * timeoutS));
  const limits = { maxRssMb, restraint };
  const quick = make({ ...limits, timeoutMs: startMs });
  const patient = make({ ...limits, timeoutMs: LONGEST_BUILD_MS });
  return async (request, signal) => {
    if (request.provider === 'cpu') return quick(request, signal);
    const built = await patient(request, signal);
    const { outcome } = built;
    if (outcome.type !== 'right' || outcome.openMs + outcome.firstRunMs < startMs / 2) return built;
    return quick(request, signal);
  };
}
