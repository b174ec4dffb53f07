import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { readFreeMemoryMb } from '../base/free-memory.ts';
import { MAX_START_TIME_S, minExtraMemoryMb } from '../base/provider-limits.ts';
import type { Bundle } from '../model/manifest.ts';

/** Memory of a vision process with its libraries and one frame, but without weights, MiB. Measured: 101 to 138 MiB. */
const BARE_PROCESS_MB = 110;
/** The weights are in memory twice: as the bytes of the file, and in the layout of the inference runtime. */
const WEIGHT_COPIES = 2;
/** Memory that a candidate must leave to the agent and the system, MiB. */
const RESERVE_MB = 48;
const BYTES_PER_MB = 2 ** 20;

const MIN_CPU_START_S = 10;
/** A model may take this many times as long to start as `inference.timeoutS` allows for one frame. */
const START_TIMEOUT_FACTOR = 2;

/**
 * Memory that the process of a candidate may use while another model serves, MiB. Rejects with `model_out_of_memory`
 * when that is not enough to open the candidate. An early refusal is safer: when memory runs out, the kernel may kill
 * the agent.
 */
export async function memoryForCandidate(
  bundle: Bundle,
  freeMemoryMb: () => Promise<number> = readFreeMemoryMb,
): Promise<number> {
  const extraMb = minExtraMemoryMb(bundle.manifest.requires.providers);
  const neededMb = Math.round(BARE_PROCESS_MB + extraMb + WEIGHT_COPIES * (await weightsMb(bundle)));
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
 * Longest start of a candidate on the CPU, seconds. If a model started more slowly, the agent could not analyse frames for too
 * long after each restart of the vision process.
 */
export const cpuStartTimeS = (timeoutS: number): number =>
  Math.min(MAX_START_TIME_S, Math.max(MIN_CPU_START_S, START_TIMEOUT_FACTOR * timeoutS));
