import { readdirSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { HardwareFacts, Inventory } from './hardware.ts';

const BYTES_PER_MB = 2 ** 20;
/** A hostile or broken /proc must not fill the memory. */
const MAX_TEXT = 256 * 1024;

/**
 * Reads what is cheap to read: a few small files, no programs. Never throws: what is hidden (a container without
 * /sys, a foreign platform) is `null` or empty. `root` is `/` but for tests.
 */
export function readFacts(inventory: Inventory | null, root = '/'): HardwareFacts {
  const text = (path: string): string | null => readText(join(root, path));
  const names = (path: string): readonly string[] => readNames(join(root, path));
  return {
    platform: platform(),
    arch: arch(),
    kernel: release(),
    cores: availableParallelism(),
    memoryMb: memoryMb(),
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

function memoryMb(): number {
  // 0 means that no cgroup limits this process.
  const constrained = process.constrainedMemory();
  const total = totalmem();
  return Math.floor((constrained > 0 ? Math.min(constrained, total) : total) / BYTES_PER_MB);
}

/** Trimmed of the NUL that ends device-tree strings; null when empty or not readable. */
function readText(path: string): string | null {
  try {
    const text = readFileSync(path, 'utf8').slice(0, MAX_TEXT).replace(/\0+$/, '').trim();
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
