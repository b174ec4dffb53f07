import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { readFreeMemoryMb } from '../health/memory.ts';
import type { Bundle } from '../model/manifest.ts';

/** A vision process with its libraries and one picture in hand, before any weights, MiB. Measured: 101 to 138. */
const BARE_MB = 110;
/** Weights lie in memory once as the file and once as the runtime lays them out. */
const WEIGHT_COPIES = 2;
/** What must stay for the agent and the system, MiB. */
const RESERVE_MB = 48;
const BYTES_PER_MB = 2 ** 20;

/**
 * How much a candidate for this bundle may take beside the model that serves, MiB. Rejects with `model_out_of_memory`
 * when it could not even be opened: better refused than found out by the kernel, which may end the agent for it.
 */
export async function memoryForCandidate(
  bundle: Bundle,
  freeMemoryMb: () => Promise<number> = readFreeMemoryMb,
): Promise<number> {
  const neededMb = Math.round(BARE_MB + WEIGHT_COPIES * (await weightsMb(bundle)));
  const spareMb = Math.round((await freeMemoryMb()) - RESERVE_MB);
  if (spareMb >= neededMb) return spareMb;
  throw new AgentError(
    'model_out_of_memory',
    `the model would need about ${neededMb} MB beside the one that serves; ${Math.max(0, spareMb)} MB can be spared`,
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
