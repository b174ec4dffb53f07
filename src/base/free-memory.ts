import { freemem } from 'node:os';
import { join } from 'node:path';
import { readNumber, readText } from './read-file.ts';

const BYTES_PER_MB = 2 ** 20;

/**
 * Memory that this process can still use, MiB: the smaller of the machine's free memory and what the limits of its cgroups
 * leave. Page cache that the kernel can drop counts as free.
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

/** Each level of the path may have a limit; the tightest one counts. */
async function freeInCgroupV2(root: string): Promise<number | null> {
  const path = await cgroupPath(root, '');
  if (path === null) return null;
  let tightestMb: number | null = null;
  for (const directory of pathsUpTo(join(root, 'sys/fs/cgroup'), path)) {
    const limit = await readNumber(join(directory, 'memory.max'));
    const used = await readNumber(join(directory, 'memory.current'));
    if (limit === null || used === null) continue;
    const freeMb = (limit - used + (await droppableBytes(directory, 'inactive_file'))) / BYTES_PER_MB;
    tightestMb = tightestMb === null ? freeMb : Math.min(tightestMb, freeMb);
  }
  return tightestMb;
}

async function freeInCgroupV1(root: string): Promise<number | null> {
  const path = await cgroupPath(root, 'memory');
  if (path === null) return null;
  for (const directory of pathsUpTo(join(root, 'sys/fs/cgroup/memory'), path)) {
    const limit = await readNumber(join(directory, 'memory.limit_in_bytes'));
    const used = await readNumber(join(directory, 'memory.usage_in_bytes'));
    if (limit === null || used === null) continue;
    // Without a limit the kernel reports the largest multiple of the page size; the machine's memory is smaller then.
    return (limit - used + (await droppableBytes(directory, 'total_inactive_file'))) / BYTES_PER_MB;
  }
  return null;
}

/** Path of this process in the hierarchy of a controller; '' is the unified hierarchy. */
async function cgroupPath(root: string, controller: string): Promise<string | null> {
  for (const line of ((await readText(join(root, 'proc/self/cgroup'))) ?? '').split('\n')) {
    const [, controllers = '', path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path !== undefined && controllers.split(',').includes(controller)) return path;
  }
  return null;
}

/**
 * The directories from the process's cgroup up to the root. In a container the path is that of the host, but only its root
 * is mounted, so some of these directories may not exist.
 */
function pathsUpTo(base: string, path: string): readonly string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  return Array.from({ length: parts.length + 1 }, (_, index) =>
    join(base, ...parts.slice(0, parts.length - index)),
  );
}

async function droppableBytes(directory: string, field: string): Promise<number> {
  const stat = (await readText(join(directory, 'memory.stat'))) ?? '';
  return Number(new RegExp(`^${field} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
}
