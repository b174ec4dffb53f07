import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, globSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { emulate } from '../image/emulation.ts';
import { runTool } from '../image/run-tool.ts';

/**
 * Debian's kernels for arm64 by their page size, KiB, each with the processor of the Raspberry Pi 4 or 5. That of the 4 has no
 * pages of 16 KiB. The second kernel is in the backports of Debian 12.
 */
const KERNELS = {
  4: { kernel: 'arm64', processor: 'cortex-a72' },
  16: { kernel: 'arm64-16k', processor: 'cortex-a76' },
} as const;
export type PageKib = keyof typeof KERNELS;
export const PAGE_SIZES_KIB: readonly PageKib[] = [4, 16];

/** The system that boots, what a device has in addition, and the agent through which the checks run commands. */
const PACKAGES = [
  ...['systemd-sysv', 'dbus', 'udev', 'kmod', 'procps'],
  ...['ffmpeg', 'mosquitto', 'mosquitto-clients', 'qemu-guest-agent'],
  ...Object.values(KERNELS).map(({ kernel }) => `linux-image-${kernel}`),
];
const MIRROR = 'http://deb.debian.org/debian';
const SUITES = ['bookworm', 'bookworm-backports'];
/** To look through all modules of a kernel for its initrd takes a quarter of an hour under emulation. */
const SMALL_INITRD = `mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
  echo MODULES=list >"$1/etc/initramfs-tools/conf.d/board"
  printf 'virtio_pci\\nvirtio_blk\\next4\\n' >"$1/usr/share/initramfs-tools/modules.d/board"`;
/** Those of this machine otherwise. The emulated one has no network. */
const OWN_NAMES = 'echo board >"$1/etc/hostname"; rm -f "$1/etc/resolv.conf"';
const DISK_SIZE = '4G';
/** Emulated programs of Debian unpack and configure some 300 packages. */
const BOOTSTRAP_TIMEOUT_MS = 2 * 60 * 60_000;

export interface MachineParts {
  /** QEMU's name of the processor. */
  readonly processor: string;
  /** ext4 file system of a Debian 12 for arm64, without the agent. Do not change it: it is kept for the next run. */
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * The parts of an emulated arm64 machine. The files are made once, and kept in `cache` until the constants above
 * change. Needs root, the packages of the group `board` in scripts/setup.mjs and, for the first time, a Debian mirror.
 */
export function machineParts(cache: string, pageKib: PageKib): MachineParts {
  const inputs = JSON.stringify([PACKAGES, MIRROR, SUITES, SMALL_INITRD, OWN_NAMES, DISK_SIZE]);
  const key = createHash('sha256').update(inputs).digest('hex').slice(0, 12);
  const directory = join(cache, `debian-12-${key}`);
  if (!existsSync(directory)) {
    rmSync(cache, { recursive: true, force: true });
    const unfinished = join(cache, 'unfinished');
    mkdirSync(unfinished, { recursive: true });
    makeFiles(unfinished);
    renameSync(unfinished, directory);
  }
  const { kernel, processor } = KERNELS[pageKib];
  return {
    processor,
    disk: join(directory, 'disk'),
    kernel: join(directory, `vmlinuz-${kernel}`),
    initrd: join(directory, `initrd.img-${kernel}`),
  };
}

function makeFiles(directory: string): void {
  const root = join(directory, 'root');
  emulate();
  runTool(
    'unshare',
    [
      // Its mounts end with it, also after an interruption. The processor: see emulationOptions.
      ...['--mount', '--', 'env', 'QEMU_CPU=cortex-a72', 'nice', '-n', '5', 'mmdebstrap'],
      ...['--skip=check/qemu', '--variant=minbase', '--architectures=arm64'],
      ...[`--include=${PACKAGES.join(',')}`, `--essential-hook=${SMALL_INITRD}`],
      ...[`--customize-hook=${OWN_NAMES}`, 'bookworm', root],
      ...SUITES.map((suite) => `deb ${MIRROR} ${suite} main`),
    ],
    BOOTSTRAP_TIMEOUT_MS,
  );
  for (const { kernel } of Object.values(KERNELS))
    for (const name of ['vmlinuz', 'initrd.img']) {
      const [file] = globSync(join(root, 'boot', `${name}-*-${kernel}`));
      if (file === undefined) throw new Error(`linux-image-${kernel} has no ${name}`);
      copyFileSync(file, join(directory, `${name}-${kernel}`));
    }
  runTool('mke2fs', ['-q', '-t', 'ext4', '-d', root, join(directory, 'disk'), DISK_SIZE]);
  rmSync(root, { recursive: true });
}
