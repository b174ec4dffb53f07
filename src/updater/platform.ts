import { execFile } from 'node:child_process';
import { readFile, stat, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import { childEnvironment } from '../base/child-environment.ts';
import { AgentError } from '../base/errors.ts';
import type { Release } from '../contract/update-files.ts';

/** What the updater asks the machine. Tests give other answers. */
export interface Machine {
  /** As dpkg names it: `amd64`, `arm64`, or another one, for which there is no agent. */
  readonly arch: string;
  /** Version of the C library, such as `2.36`; null without glibc. */
  readonly glibc: string | null;
  /** The wall clock, ms since 1970; null while it is not synchronised. */
  readonly syncedNowMs: () => Promise<number | null>;
  /** Seconds since the machine was started, with the time in which it was suspended. */
  readonly uptimeS: () => Promise<number>;
  readonly bootId: () => Promise<string>;
}

/** systemd-timesyncd creates this file when it has set the clock. */
const TIMESYNCD_FLAG = '/run/systemd/timesync/synchronized';
const ARCHES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export const thisMachine: Machine = {
  arch: ARCHES[process.arch] ?? process.arch,
  glibc: glibcVersion(),
  syncedNowMs: async () => ((await isClockSynchronised()) ? Date.now() : null),
  uptimeS: async () => Number.parseFloat(await readFile('/proc/uptime', 'utf8')),
  bootId: async () => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
};

/** The same rule as in the agent, without the native module with which the agent asks the kernel. */
async function isClockSynchronised(): Promise<boolean> {
  if (await stat(TIMESYNCD_FLAG).catch(() => null)) return true;
  try {
    const { stdout } = await promisify(execFile)(
      'timedatectl',
      ['show', '--property=NTPSynchronized', '--value'],
      { env: childEnvironment(process.env, 'program'), timeout: 5_000, killSignal: 'SIGKILL' },
    );
    return stdout.trim() === 'yes';
  } catch {
    return false;
  }
}

function glibcVersion(): string | null {
  const report = process.report.getReport() as {
    readonly header?: { readonly glibcVersionRuntime?: string };
  };
  return report.header?.glibcVersionRuntime ?? null;
}

/** Throws `update_platform` when the release does not run on this machine. */
export function checkPlatform({ arch, glibc }: Pick<Release, 'arch' | 'glibc'>, machine: Machine): void {
  if (arch !== machine.arch)
    throw new AgentError('update_platform', `the version is for ${arch}, this machine is ${machine.arch}`);
  if (machine.glibc === null || compareDotted(machine.glibc, glibc) < 0)
    throw new AgentError(
      'update_platform',
      `the version needs glibc ${glibc}, this machine has ${machine.glibc ?? 'another C library'}`,
    );
}

function compareDotted(a: string, b: string): number {
  const [majorA = 0, minorA = 0] = a.split('.').map(Number);
  const [majorB = 0, minorB = 0] = b.split('.').map(Number);
  return majorA - majorB || minorA - minorB;
}

/** Bytes and files that must fit below a directory. */
export interface SpaceNeed {
  readonly dir: string;
  readonly bytes: number;
  readonly files: number;
}

/** Space that stays free for observations and logs. */
const SPARE_BYTES = 32 * 1024 * 1024;
const BLOCK_BYTES = 4096;

/** Throws `update_space` when the file systems do not have enough bytes or inodes. */
export async function checkSpace(needs: readonly SpaceNeed[]): Promise<void> {
  const byDevice = new Map<number, SpaceNeed>();
  for (const need of needs) {
    const { dev } = await stat(need.dir);
    const known = byDevice.get(dev);
    byDevice.set(dev, {
      dir: need.dir,
      bytes: (known?.bytes ?? 0) + need.bytes,
      files: (known?.files ?? 0) + need.files,
    });
  }
  for (const { dir, bytes, files } of byDevice.values()) {
    const { bavail, bsize, ffree, files: inodes } = await statfs(dir);
    const neededBytes = bytes + files * BLOCK_BYTES + SPARE_BYTES;
    if (bavail * bsize < neededBytes)
      throw new AgentError(
        'update_space',
        `the update needs ${megabytes(neededBytes)} of disk space, ${megabytes(bavail * bsize)} are free`,
        { context: { needed_bytes: neededBytes, free_bytes: bavail * bsize } },
      );
    // Some file systems, such as Btrfs, have no fixed number of inodes and report 0.
    if (inodes > 0 && ffree < files)
      throw new AgentError('update_space', `the update needs ${files} inodes, ${ffree} are free`);
  }
}

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;
