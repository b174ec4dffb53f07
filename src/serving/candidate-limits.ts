import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { readFreeMemoryMb } from '../base/free-memory.ts';
import type { Bundle } from '../model/manifest.ts';
import { createTrialRunner, type TrialLimits } from '../vision/providers/run-trial.ts';
import type { TrialRunner } from '../vision/providers/trial.ts';

/** Memory of a vision process with its libraries and one frame, but without weights, MiB. Measured: 101 to 138 MiB. */
const BARE_PROCESS_MB = 110;
/** The weights are in memory twice: as the bytes of the file, and in the layout of the inference runtime. */
const WEIGHT_COPIES = 2;
/** Memory that a candidate must leave to the agent and the system, MiB. */
const RESERVE_MB = 48;
const BYTES_PER_MB = 2 ** 20;

/**
 * Longest start. If a model started more slowly, the agent could not analyse frames for too long after each restart of
 * the vision process.
 */
const MAX_START_MS = 60_000;
const MIN_START_LIMIT_MS = 10_000;
/** Longest first start on an accelerator: its library (TensorRT) may compile a new model for minutes. */
const MAX_BUILD_MS = 900_000;

/**
 * Memory that the process of a candidate may use while another model serves, MiB. Rejects with `model_out_of_memory`
 * when that is not enough to open the candidate. An early refusal is safer: when memory runs out, the kernel may kill
 * the agent.
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

/**
 * Returns a function that tries an execution provider with low priority. The first trial on an accelerator may take up
 * to 15 minutes, because the accelerator compiles the model. If that trial was slow, a second trial checks that the
 * model starts quickly from the compiled files, and the outcome of the second trial counts. `timeoutS` is the time
 * limit of one frame, seconds.
 */
export function candidateTrials(
  { timeoutS, ...limits }: Omit<TrialLimits, 'timeoutMs'> & { readonly timeoutS: number },
  createRunner: typeof createTrialRunner = createTrialRunner,
): TrialRunner {
  const startMs = Math.min(MAX_START_MS, Math.max(MIN_START_LIMIT_MS, 2000 * timeoutS));
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
