import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { readFreeMemoryMb } from '../base/free-memory.ts';
import type { Bundle } from '../model/manifest.ts';
import type { ProcessLimits } from '../vision/process-priority.ts';
import { createTrialRunner } from '../vision/providers/run-trial.ts';
import type { TrialRunner } from '../vision/providers/trial.ts';

/** A vision process with its libraries and one frame, without weights, MiB. Measured: 101 to 138. */
const BARE_PROCESS_MB = 110;
/** The file's bytes, and the runtime's own layout of the weights. */
const WEIGHT_COPIES = 2;
/** Left to the agent and the system, MiB. */
const RESERVE_MB = 48;
const BYTES_PER_MB = 2 ** 20;

/** A model that starts more slowly would leave the agent blind after each restart of the vision process. */
const MAX_START_MS = 60_000;
const MIN_START_LIMIT_MS = 10_000;
/** An accelerator's library may compile a new model for minutes (TensorRT). */
const MAX_BUILD_MS = 900_000;

/**
 * Memory that a candidate for this bundle may use while another model serves, MiB. Rejects with `model_out_of_memory` when
 * the candidate cannot even be opened. Refusing early is safer: when memory runs out, the kernel may kill the agent.
 */
export async function memoryForCandidate(
  bundle: Bundle,
  freeMemoryMb: () => Promise<number> = readFreeMemoryMb,
): Promise<number> {
  const neededMb = Math.round(BARE_PROCESS_MB + WEIGHT_COPIES * (await weightsMb(bundle)));
  const spareMb = Math.round((await freeMemoryMb()) - RESERVE_MB);
  if (spareMb >= neededMb) return spareMb;
  throw new AgentError(
    'model_out_of_memory',
    `the model needs about ${neededMb} MB in addition to the one that serves; ${Math.max(0, spareMb)} MB are available`,
    { context: { needed_mb: neededMb, spare_mb: spareMb } },
  );
}

async function weightsMb({ dir }: Bundle): Promise<number> {
  const entries = await readdir(dir, { withFileTypes: true });
  const sizes = await Promise.all(
    entries.filter((entry) => entry.isFile()).map(async ({ name }) => (await stat(join(dir, name))).size),
  );
  return sizes.reduce((sum, sizeBytes) => sum + sizeBytes, 0) / BYTES_PER_MB;
}

export interface CandidateTrialLimits {
  /** The time limit of one frame, seconds. */
  readonly timeoutS: number;
  readonly maxRssMb: number;
  readonly processLimits: ProcessLimits;
}

/**
 * Runs provider trials in the background. An accelerator may compile the model for up to 15 minutes once. A second trial
 * then checks that it starts quickly from the compiled files; its outcome counts.
 */
export function candidateTrials(
  { timeoutS, maxRssMb, processLimits }: CandidateTrialLimits,
  createRunner: typeof createTrialRunner = createTrialRunner,
): TrialRunner {
  const startMs = Math.min(MAX_START_MS, Math.max(MIN_START_LIMIT_MS, 2000 * timeoutS));
  const limits = { maxRssMb, processLimits };
  const quick = createRunner({ ...limits, timeoutMs: startMs });
  const patient = createRunner({ ...limits, timeoutMs: MAX_BUILD_MS });
  return async (request, signal) => {
    if (request.provider === 'cpu') return quick(request, signal);
    const built = await patient(request, signal);
    const { outcome } = built;
    if (outcome.type !== 'right' || outcome.openMs + outcome.firstRunMs < startMs / 2) return built;
    return quick(request, signal);
  };
}
