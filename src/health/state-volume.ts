import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { readText } from '../base/read-file.ts';

interface Mount {
  readonly path: string;
  readonly type: string;
  readonly options: string;
}

/**
 * Whether the state directory keeps its files: `memory`: they are in RAM and lost at the next boot, as with the overlay
 * file system of Raspberry Pi OS; `layer`: they are in the writable layer of a container and lost with it; null: they stay,
 * or it cannot be determined.
 */
export async function findVolatility(dir: string, root = '/'): Promise<'memory' | 'layer' | null> {
  const mounts = parseMounts((await readText(join(root, 'proc/self/mountinfo'))) ?? '');
  const mount = mountOf(mounts, await realpath(dir).catch(() => dir));
  if (mount === null) return null;
  if (isMemory(mount)) return 'memory';
  if (mount.type !== 'overlay') return null;
  const upper = /(?:^|,)upperdir=([^,]*)/.exec(mount.options)?.[1];
  const upperMount = upper === undefined ? null : mountOf(mounts, upper);
  // The path of the upper directory is one of the system that made the mount. In a container it is not visible.
  if (upperMount === null || upperMount.type === 'overlay') return 'layer';
  return isMemory(upperMount) ? 'memory' : null;
}

const isMemory = ({ type }: Mount): boolean => type === 'tmpfs' || type === 'ramfs';

/** The mount that contains a path: the last one of those with the longest path. */
function mountOf(mounts: readonly Mount[], path: string): Mount | null {
  let found: Mount | null = null;
  for (const mount of mounts) {
    const prefix = mount.path === '/' ? '/' : `${mount.path}/`;
    const contains = path === mount.path || path.startsWith(prefix);
    if (contains && mount.path.length >= (found?.path.length ?? 0)) found = mount;
  }
  return found;
}

/** Lines such as `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`. Source: proc(5). */
const parseMounts = (text: string): readonly Mount[] =>
  text.split('\n').flatMap((line) => {
    const [before = '', after] = line.split(' - ');
    const path = before.split(' ')[4];
    const [type, , options = ''] = after?.split(' ') ?? [];
    return path === undefined || type === undefined ? [] : [{ path: unescapeOctal(path), type, options }];
  });

const unescapeOctal = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
