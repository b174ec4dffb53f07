import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { classifyHardware } from '../../../../src/vision/hardware/hardware.ts';
import { readFacts } from '../../../../src/vision/hardware/probe.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'swellsight-facts-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

describe('readFacts', () => {
  it('reads device-tree strings without their NUL characters', () => {
    put('proc/device-tree/model', 'Raspberry Pi 5 Model B Rev 1.0\0');
    put('proc/device-tree/compatible', 'raspberrypi,5-model-b\0brcm,bcm2712\0');
    const facts = readFacts(null, root);
    expect(facts.deviceTreeModel).toBe('Raspberry Pi 5 Model B Rev 1.0');
    expect(facts.deviceTreeCompatible).toEqual(['raspberrypi,5-model-b', 'brcm,bcm2712']);
  });

  it('finds NVIDIA cards of the driver and display controllers on the PCI bus', () => {
    put(
      'proc/driver/nvidia/gpus/0000:01:00.0/information',
      'Model: \t\t NVIDIA GeForce RTX 3060\nIRQ:   \t\t 131\nGPU UUID: \t GPU-1\n',
    );
    put('sys/bus/pci/devices/0000:01:00.0/class', '0x030000\n');
    put('sys/bus/pci/devices/0000:01:00.0/vendor', '0x10de\n');
    put('sys/bus/pci/devices/0000:02:00.0/class', '0x020000\n');
    put('sys/bus/pci/devices/0000:02:00.0/vendor', '0x10de\n');
    put('dev/nvidia0', '');
    put('dev/nvidiactl', '');
    put('dev/dri/renderD128', '');
    const facts = readFacts(null, root);
    expect(facts.nvidiaGpus).toEqual(['NVIDIA GeForce RTX 3060']);
    expect(facts.displayVendors).toEqual(['0x10de']);
    expect(facts.devices).toEqual(['nvidia0', 'dri/renderD128']);
  });

  it('reads the first line of the Tegra release', () => {
    put('etc/nv_tegra_release', '# R36 (release), REVISION: 4.3, GCID: 1\n# KERNEL_VARIANT: oot\n');
    expect(readFacts(null, root).tegraRelease).toBe('# R36 (release), REVISION: 4.3, GCID: 1');
  });

  it('reads the page size of the kernel from the auxiliary vector', () => {
    // Pairs of a type and a value: AT_HWCAP, AT_PAGESZ, AT_NULL.
    const auxv = new BigUint64Array([16n, 0xfffn, 6n, 16_384n, 0n, 0n]);
    put('proc/self/auxv', '');
    writeFileSync(join(root, 'proc/self/auxv'), new Uint8Array(auxv.buffer));
    expect(readFacts(null, root).pageSizeBytes).toBe(16_384);
    writeFileSync(join(root, 'proc/self/auxv'), 'cut short');
    expect(readFacts(null, root).pageSizeBytes).toBeNull();
  });

  it('accepts a machine without facts and a machine with invalid facts', () => {
    expect(classifyHardware(readFacts(null, join(root, 'nowhere'))).cores).toBeGreaterThan(0);
    put('proc/cpuinfo', '\0'.repeat(1_000_000));
    mkdirSync(join(root, 'proc/device-tree/model'), { recursive: true });
    const facts = readFacts(null, root);
    expect(facts.deviceTreeModel).toBeNull();
    expect(facts.memoryMb).toBeGreaterThan(0);
  });
});
