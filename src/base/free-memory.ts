import { freemem } from 'node:os';
import { join } from 'node:path';
import { readNumber, readText } from './read-file.ts';

const BYTES_PER_MB = 2 ** 20;

/**
 * Memory that could still be had, MiB: the smaller of the machine's and what the cgroups of this process leave.
 * Page cache that can be dropped counts as free in both.
 */
export async function readFreeMemoryMb(root = '/'): Promise<number> {
  const machineMb = (await availableMb(root)) ?? freemem() / BYTES_PER_MB;
  const cgroupMb = (await freeInCgroupV2(root)) ?? (await freeInCgroupV1(root));
  return Math.round(cgroupMb === null ? machineMb : Math.max(0, Math.min(machineMb, cgroupMb)));
}

async function availableMb(root: string): Promise<number | null> {
  const kb = /^MemAvailable:\s+(\d+) kB$/m.exec((await readText(join(root, 'proc/meminfo'))) ?? '')?.[1];
  return kb === undefined ? null : Number(kb) / 1024;
}

/** A limit may stand on any level of the path: the tightest one counts. */
async function freeInCgroupV2(root: string): Promise<number | null> {
  const path = await cgroupPath(root, '');
  if (path === null) return null;
  let tightest: number | null = null;
  for (const folder of upwards(join(root, 'sys/fs/cgroup'), path)) {
    const limit = await readNumber(join(folder, 'memory.max'));
    const used = await readNumber(join(folder, 'memory.current'));
    if (limit === null || used === null) continue;
    const freeMb = (limit - used + (await droppable(folder, 'inactive_file'))) / BYTES_PER_MB;
    tightest = tightest === null ? freeMb : Math.min(tightest, freeMb);
  }
  return tightest;
}

async function freeInCgroupV1(root: string): Promise<number | null> {
  const path = await cgroupPath(root, 'memory');
  if (path === null) return null;
  for (const folder of upwards(join(root, 'sys/fs/cgroup/memory'), path)) {
    const limit = await readNumber(join(folder, 'memory.limit_in_bytes'));
    const used = await readNumber(join(folder, 'memory.usage_in_bytes'));
    if (limit === null || used === null) continue;
    // Without a limit this is the largest multiple of the page size: the machine's memory is then the smaller one.
    return (limit - used + (await droppable(folder, 'total_inactive_file'))) / BYTES_PER_MB;
  }
  return null;
}

/** Path of this process in the hierarchy of a controller; '' is the unified one. */
async function cgroupPath(root: string, controller: string): Promise<string | null> {
  for (const line of ((await readText(join(root, 'proc/self/cgroup'))) ?? '').split('\n')) {
    const [, controllers = '', path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path !== undefined && controllers.split(',').includes(controller)) return path;
  }
  return null;
}

/** In a container the path is the host's, and only its root is mounted: missing folders are passed over. */
function upwards(base: string, path: string): readonly string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  return Array.from({ length: parts.length + 1 }, (_, index) =>
    join(base, ...parts.slice(0, parts.length - index)),
  );
}

async function droppable(folder: string, field: string): Promise<number> {
  const stat = (await readText(join(folder, 'memory.stat'))) ?? '';
  return Number(new RegExp(`^${field} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
}
