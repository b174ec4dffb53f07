import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { join } from 'node:path';
import { memoryCgroups } from './cgroup-memory.ts';
import { readNumber, readText } from './read-file.ts';

// All sizes of memory in the agent, in its configuration and in manifests are MiB.
const BYTES_PER_MB = 2 ** 20;

/**
 * Memory that this process may use, MiB: the smaller of the machine's memory and the limits of its cgroups. Unlike
 * `process.constrainedMemory()`, it includes the limits of parent cgroups of both versions.
 */
export function readUsableMemoryMb(root = '/'): number {
  const limits = memoryCgroups(root).flatMap(({ limitFile }) => {
    const limit = Number(readSync(limitFile));
    // `max` is not a number. Version 1 reports a number above any real memory if there is no limit.
    return Number.isFinite(limit) && limit > 0 ? [limit] : [];
  });
  return Math.floor(Math.min(totalmem(), ...limits) / BYTES_PER_MB);
}

/**
 * Memory that this process can still use, MiB: the smaller of the machine's free memory and what the limits of its cgroups
 * leave. Page cache that the kernel can drop counts as free.
 */
export async function readFreeMemoryMb(root = '/'): Promise<number> {
  let freeMb = (await availableMb(root)) ?? freemem() / BYTES_PER_MB;
  for (const { limitFile, usageFile, statFile, droppableField } of memoryCgroups(root)) {
    const limit = await readNumber(limitFile);
    const used = await readNumber(usageFile);
    if (limit === null || used === null) continue;
    freeMb = Math.min(freeMb, (limit - used + (await readField(statFile, droppableField))) / BYTES_PER_MB);
  }
  return Math.round(Math.max(0, freeMb));
}

async function availableMb(root: string): Promise<number | null> {
  const kb = /^MemAvailable:\s+(\d+) kB$/m.exec((await readText(join(root, 'proc/meminfo'))) ?? '')?.[1];
  return kb === undefined ? null : Number(kb) / 1024;
}

async function readField(path: string, field: string): Promise<number> {
  const stat = (await readText(path)) ?? '';
  return Number(new RegExp(`^${field} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
}

function readSync(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return 'max';
  }
}
