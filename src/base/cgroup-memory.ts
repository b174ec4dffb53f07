import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The files of one level of a memory cgroup. The two versions of cgroups have different names for them. */
export interface MemoryCgroup {
  readonly limitFile: string;
  readonly usageFile: string;
  readonly statFile: string;
  /** Field of `statFile`: page cache that the kernel can drop, bytes. */
  readonly droppableField: string;
}

/**
 * The memory cgroups of this process, from its own up to the root: a limit of any level holds. Empty if memory is not
 * controlled. In a container the path is that of the host, but only its root is mounted, so some files may not exist.
 */
export function memoryCgroups(root = '/'): readonly MemoryCgroup[] {
  const memberships = readSmall(join(root, 'proc/self/cgroup'));
  // A controller belongs to one version. On a hybrid machine, memory belongs to version 1 if that lists it.
  const v1 = pathOf(memberships, 'memory');
  if (v1 !== null)
    return levels(join(root, 'sys/fs/cgroup/memory'), v1).map((directory) => ({
      limitFile: join(directory, 'memory.limit_in_bytes'),
      usageFile: join(directory, 'memory.usage_in_bytes'),
      statFile: join(directory, 'memory.stat'),
      droppableField: 'total_inactive_file',
    }));
  const v2 = pathOf(memberships, '');
  if (v2 === null) return [];
  return levels(join(root, 'sys/fs/cgroup'), v2).map((directory) => ({
    limitFile: join(directory, 'memory.max'),
    usageFile: join(directory, 'memory.current'),
    statFile: join(directory, 'memory.stat'),
    droppableField: 'inactive_file',
  }));
}

/** Path of this process in the hierarchy of a controller; '' is the unified hierarchy. */
function pathOf(memberships: string, controller: string): string | null {
  for (const line of memberships.split('\n')) {
    const [, controllers = '', path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path !== undefined && controllers.split(',').includes(controller)) return path;
  }
  return null;
}

function levels(base: string, path: string): readonly string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  return Array.from({ length: parts.length + 1 }, (_, index) =>
    join(base, ...parts.slice(0, parts.length - index)),
  );
}

function readSmall(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
