import { fork } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, release } from 'node:os';
import { basename, extname, join } from 'node:path';
import { childEnvironment } from '../../base/child-environment.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import { readUsableMemoryMb } from '../../base/free-memory.ts';
import type { HardwareFacts, Inventory } from './facts.ts';
import { classifyHardware, type Hardware } from './hardware.ts';

/** nvidia-smi takes seconds on an idle card. The agent waits no longer than this: the inventory only adds names. */
const INVENTORY_TIMEOUT_MS = 8_000;
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
      env: childEnvironment(process.env, 'vision'),
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
 * another platform) is `null` or empty. `root` and `kernel` differ from the machine's only in tests.
 */
export function readFacts(inventory: Inventory | null, root = '/', kernel = release()): HardwareFacts {
  const text = (path: string): string | null => readText(join(root, path));
  const names = (path: string): readonly string[] => readNames(join(root, path));
  const pciDevices = names('sys/bus/pci/devices').map((device) => {
    const read = (file: string): string => text(`sys/bus/pci/devices/${device}/${file}`) ?? '';
    return { class: read('class'), vendor: read('vendor'), device: read('device') };
  });
  // PCI base class 03 is a display controller (VGA, XGA, 3D).
  const isDisplay = (device: { readonly class: string }): boolean => device.class.startsWith('0x03');
  return {
    platform: platform(),
    arch: arch(),
    kernel,
    cores: availableParallelism(),
    memoryMb: readUsableMemoryMb(root),
    pageSizeBytes: readPageSize(join(root, 'proc/self/auxv')),
    deviceTreeModel: text('proc/device-tree/model'),
    deviceTreeCompatible: (text('proc/device-tree/compatible') ?? '')
      .split('\0')
      .filter((name) => name !== ''),
    tegraRelease: text('etc/nv_tegra_release')?.split('\n')[0] ?? null,
    soc: {
      family: text('sys/devices/soc0/family'),
      machine: text('sys/devices/soc0/machine'),
      id: text('sys/devices/soc0/soc_id'),
    },
    cpuinfo: text('proc/cpuinfo') ?? '',
    cpuBrand: cpus()[0]?.model ?? '',
    nvidiaGpus: names('proc/driver/nvidia/gpus').flatMap((gpu) => {
      const model = /^Model:\s*(.+)$/m.exec(text(`proc/driver/nvidia/gpus/${gpu}/information`) ?? '')?.[1];
      return model === undefined ? [] : [model.trim()];
    }),
    displayVendors: pciDevices.filter(isDisplay).map(({ vendor }) => vendor),
    pciIds: pciDevices
      .filter((device) => !isDisplay(device))
      .map(({ vendor, device }) => `${withoutPrefix(vendor)}:${withoutPrefix(device)}`),
    usbIds: names('sys/bus/usb/devices').flatMap((device) => {
      const vendor = text(`sys/bus/usb/devices/${device}/idVendor`);
      const product = text(`sys/bus/usb/devices/${device}/idProduct`);
      return vendor === null || product === null ? [] : [`${vendor}:${product}`];
    }),
    gpuDrivers: readDrivers(join(root, 'sys/class/drm'), /^renderD\d+$/),
    accelDrivers: readDrivers(join(root, 'sys/class/accel'), /^accel\d+$/),
    devfreq: names('sys/class/devfreq'),
    devices: [
      ...names('dev').filter((name) => /^(nvidia\d+|nvhost-gpu|nvmap|hailo\d+|apex_\d+)$/.test(name)),
      ...names('dev/dri').map((name) => `dri/${name}`),
      ...names('dev/accel').map((name) => `accel/${name}`),
    ],
    inventory,
  };
}

const withoutPrefix = (hex: string): string => hex.replace(/^0x/, '');

/** The drivers of the devices of a class in /sys whose names match; the link `device/driver` names each. */
function readDrivers(directory: string, wanted: RegExp): readonly string[] {
  return readNames(directory)
    .filter((name) => wanted.test(name))
    .flatMap((name) => {
      try {
        return [basename(readlinkSync(join(directory, name, 'device/driver')))];
      } catch {
        return [];
      }
    });
}

/** Type of the entry of the auxiliary vector that holds the page size. Source: Linux include/uapi/linux/auxvec.h. */
const AT_PAGESZ = 6n;

/** The kernel's page size from the auxiliary vector of a 64-bit process: pairs of a type and a value. */
function readPageSize(path: string): number | null {
  try {
    const bytes = readFileSync(path);
    for (let at = 0; at + 16 <= bytes.length; at += 16)
      if (bytes.readBigUInt64LE(at) === AT_PAGESZ) return Number(bytes.readBigUInt64LE(at + 8));
  } catch {
    // Not Linux, or no /proc.
  }
  return null;
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
