import { fork } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';
import { extname, join } from 'node:path';
import { deadlineSignal } from '../../base/deadline.ts';
import { classifyHardware, type Hardware, type HardwareFacts, type Inventory } from './hardware.ts';

/** nvidia-smi takes seconds on an idle card. The agent waits no longer than this: the inventory only adds names. */
const INVENTORY_TIMEOUT_MS = 8_000;
const BYTES_PER_MB = 2 ** 20;
/** Limit for one file, so that a broken /proc cannot fill the memory. */
const MAX_TEXT_CHARS = 256 * 1024;

const INVENTORY_ENTRY = new URL(`./inventory${extname(import.meta.url)}`, import.meta.url);

/**
 * Reads the hardware in about a millisecond from a few small files: the kind of machine, and all facts for selecting
 * the provider. Names that only other programs can find are `null`. Never throws.
 */
export function readHardware(): Hardware {
  return classifyHardware(readFacts(null));
}

/**
 * Reads the hardware once, at start, with the names of the CPU, the GPUs and the operating system. These names come from
 * a short-lived child process and are `null` if it fails or is too slow. Rejects only with the reason of `signal`.
 */
export async function probeHardware(signal: AbortSignal): Promise<Hardware> {
  const inventory = await takeInventory(deadlineSignal(INVENTORY_TIMEOUT_MS, signal));
  signal.throwIfAborted();
  return classifyHardware(readFacts(inventory));
}

function takeInventory(signal: AbortSignal): Promise<Inventory | null> {
  return new Promise((resolve) => {
    let inventory: Inventory | null = null;
    const child = fork(INVENTORY_ENTRY, {
      execArgv: ['--max-old-space-size=64'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      signal,
      killSignal: 'SIGKILL',
    });
    child.on('message', (message) => {
      inventory = message as Inventory;
    });
    // Both events may occur, in either order; the first one resolves.
    child.once('error', () => resolve(inventory));
    child.once('exit', () => resolve(inventory));
  });
}

/**
 * Reads a few small files and starts no program. Never throws: a fact that cannot be read (a container without /sys,
 * another platform) is `null` or empty. `root` differs from `/` only in tests.
 */
export function readFacts(inventory: Inventory | null, root = '/'): HardwareFacts {
  const text = (path: string): string | null => readText(join(root, path));
  const names = (path: string): readonly string[] => readNames(join(root, path));
  return {
    platform: platform(),
    arch: arch(),
    kernel: release(),
    cores: availableParallelism(),
    memoryMb: usableMemoryMb(),
    deviceTreeModel: text('proc/device-tree/model'),
    deviceTreeCompatible: (text('proc/device-tree/compatible') ?? '')
      .split('\0')
      .filter((name) => name !== ''),
    tegraRelease: text('etc/nv_tegra_release')?.split('\n')[0] ?? null,
    soc: { family: text('sys/devices/soc0/family'), machine: text('sys/devices/soc0/machine') },
    cpuinfo: text('proc/cpuinfo') ?? '',
    cpuBrand: cpus()[0]?.model ?? '',
    nvidiaGpus: names('proc/driver/nvidia/gpus').flatMap((gpu) => {
      const model = /^Model:\s*(.+)$/m.exec(text(`proc/driver/nvidia/gpus/${gpu}/information`) ?? '')?.[1];
      return model === undefined ? [] : [model.trim()];
    }),
    displayVendors: names('sys/bus/pci/devices').flatMap((device) => {
      // PCI base class 03 is a display controller (VGA, XGA, 3D).
      const isDisplay = text(`sys/bus/pci/devices/${device}/class`)?.startsWith('0x03') ?? false;
      const vendor = isDisplay ? text(`sys/bus/pci/devices/${device}/vendor`) : null;
      return vendor === null ? [] : [vendor];
    }),
    devices: [
      ...names('dev').filter((name) => /^(nvidia\d+|nvhost-gpu|nvmap|hailo\d+|apex_\d+)$/.test(name)),
      ...names('dev/dri').map((name) => `dri/${name}`),
    ],
    inventory,
  };
}

/** Memory that this process may use, MiB. */
function usableMemoryMb(): number {
  // 0 means that no cgroup limits this process.
  const cgroupBytes = process.constrainedMemory();
  const totalBytes = totalmem();
  return Math.floor((cgroupBytes > 0 ? Math.min(cgroupBytes, totalBytes) : totalBytes) / BYTES_PER_MB);
}

/** The trimmed text without the NUL that ends a device-tree string; null if it is empty or not readable. */
function readText(path: string): string | null {
  try {
    const text = readFileSync(path, 'utf8').slice(0, MAX_TEXT_CHARS).replace(/\0+$/, '').trim();
    return text === '' ? null : text;
  } catch {
    return null;
  }
}

function readNames(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
