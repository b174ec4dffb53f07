import { describe, expect, it } from 'vitest';
import { UNKNOWN_BOARD } from '../../../../src/vision/hardware/board.ts';
import type { HardwareFacts } from '../../../../src/vision/hardware/facts.ts';
import { classifyHardware } from '../../../../src/vision/hardware/hardware.ts';

const UNKNOWN: HardwareFacts = {
  platform: 'linux',
  arch: 'arm64',
  kernel: '6.1.0-18-arm64',
  cores: 4,
  memoryMb: 4096,
  pageSizeBytes: 4096,
  deviceTreeModel: null,
  deviceTreeCompatible: [],
  tegraRelease: null,
  soc: { family: null, machine: null, id: null },
  cpuinfo: '',
  cpuBrand: '',
  nvidiaGpus: [],
  displayVendors: [],
  pciIds: [],
  usbIds: [],
  gpuDrivers: [],
  accelDrivers: [],
  devfreq: [],
  devices: [],
  inventory: null,
};

/** cpuinfo of an ARM kernel: one block for each core. */
const armCpuinfo = (parts: readonly string[], tail = ''): string =>
  parts
    .map(
      (part, core) =>
        `processor\t: ${core}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n` +
        `CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: ${part}\nCPU revision\t: 3\n`,
    )
    .join('\n') + tail;

// Output of real boards. Sources: forum posts and issue threads that show these files.
const PI_4: HardwareFacts = {
  ...UNKNOWN,
  kernel: '6.6.20+rpt-rpi-v8',
  deviceTreeModel: 'Raspberry Pi 4 Model B Rev 1.4',
  deviceTreeCompatible: ['raspberrypi,4-model-b', 'brcm,bcm2711'],
  cpuinfo: armCpuinfo(
    ['0xd08', '0xd08', '0xd08', '0xd08'],
    '\nRevision\t: c03114\nSerial\t\t: 10000000b1c2d3e4\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n',
  ),
  devices: ['dri/card0', 'dri/card1', 'dri/renderD128'],
  inventory: { cpu: 'ARM Cortex-A72', model: 'Raspberry Pi 4', os: 'Debian GNU/Linux 12', gpus: [] },
};
const PI_5: HardwareFacts = {
  ...UNKNOWN,
  kernel: '6.6.31+rpt-rpi-2712',
  deviceTreeModel: 'Raspberry Pi 5 Model B Rev 1.0',
  deviceTreeCompatible: ['raspberrypi,5-model-b', 'brcm,bcm2712'],
  cpuinfo: armCpuinfo(['0xd0b', '0xd0b', '0xd0b', '0xd0b']),
};
const ORIN_NANO: HardwareFacts = {
  ...UNKNOWN,
  kernel: '5.15.148-tegra',
  cores: 6,
  deviceTreeModel: 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super',
  deviceTreeCompatible: ['nvidia,p3768-0000+p3767-0005-super', 'nvidia,p3767-0005', 'nvidia,tegra234'],
  tegraRelease:
    '# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025',
  soc: {
    family: 'Tegra',
    machine: 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super',
    id: '35',
  },
  cpuinfo: armCpuinfo(['0xd42', '0xd42', '0xd42', '0xd42', '0xd42', '0xd42']),
  devices: ['nvmap', 'nvhost-gpu'],
};
const NANO: HardwareFacts = {
  ...UNKNOWN,
  kernel: '4.9.253-tegra',
  deviceTreeModel: 'NVIDIA Jetson Nano Developer Kit',
  deviceTreeCompatible: ['nvidia,p3450-0000', 'nvidia,jetson-nano', 'nvidia,tegra210'],
  tegraRelease:
    '# R32 (release), REVISION: 6.1, GCID: 27863751, BOARD: t210ref, EABI: aarch64, DATE: Mon Jul 26 19:20:30 UTC 2021',
  cpuinfo: armCpuinfo(['0xd07', '0xd07', '0xd07', '0xd07']),
};
const X86: HardwareFacts = {
  ...UNKNOWN,
  arch: 'x64',
  kernel: '6.1.0-18-amd64',
  cores: 12,
  cpuinfo: 'processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: 12th Gen Intel(R) Core(TM) i5-12400\n',
};

describe('classifyHardware', () => {
  it('recognises a Raspberry Pi 4 and 5 by the device tree', () => {
    expect(classifyHardware(PI_4)).toMatchObject({
      kind: 'raspberry_pi',
      model: 'Raspberry Pi 4 Model B Rev 1.4',
      cpu: '4x Cortex-A72',
      accelerators: ['gpu: unnamed'],
      os: 'Debian GNU/Linux 12',
    });
    expect(classifyHardware(PI_5)).toMatchObject({
      kind: 'raspberry_pi',
      cpu: '4x Cortex-A76',
      accelerators: [],
    });
  });

  it('recognises a Raspberry Pi in a container that hides the device tree', () => {
    const hidden = { ...PI_4, deviceTreeModel: null, deviceTreeCompatible: [], devices: [] };
    expect(classifyHardware(hidden)).toMatchObject({
      kind: 'raspberry_pi',
      model: 'Raspberry Pi 4 Model B Rev 1.4',
    });
    // The cpuinfo of a Pi 5 may lack the model too; then only the kernel name shows it.
    expect(classifyHardware({ ...PI_5, deviceTreeModel: null, deviceTreeCompatible: [] }).kind).toBe(
      'raspberry_pi',
    );
    expect(classifyHardware({ ...UNKNOWN, kernel: '6.12.25+rpt-rpi-v8' }).kind).toBe('raspberry_pi');
  });

  it('does not classify another ARM board as a Raspberry Pi', () => {
    const rock = {
      ...UNKNOWN,
      kernel: '6.1.43-15-rk2312',
      deviceTreeModel: 'Radxa ROCK 5B',
      deviceTreeCompatible: ['radxa,rock-5b', 'rockchip,rk3588'],
      cpuinfo: armCpuinfo([...Array<string>(4).fill('0xd05'), ...Array<string>(4).fill('0xd0b')]),
    };
    expect(classifyHardware(rock)).toMatchObject({
      kind: 'cpu',
      model: 'Radxa ROCK 5B',
      cpu: '4x Cortex-A55 + 4x Cortex-A76',
    });
  });

  it('recognises old and new Jetsons, and names their GPU', () => {
    expect(classifyHardware(ORIN_NANO)).toMatchObject({
      kind: 'jetson',
      model: 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super',
      cpu: '6x Cortex-A78AE',
      accelerators: ['nvidia: Ampere (Orin)'],
    });
    expect(classifyHardware(NANO)).toMatchObject({
      kind: 'jetson',
      accelerators: ['nvidia: Maxwell (Tegra X1)'],
    });
  });

  it('recognises a Jetson in a container by a single sign', () => {
    const hidden = { ...UNKNOWN, kernel: '6.1.0' };
    expect(classifyHardware({ ...hidden, kernel: '5.15.148-tegra' }).kind).toBe('jetson');
    expect(classifyHardware({ ...hidden, tegraRelease: '# R35 (release), REVISION: 4.1' }).kind).toBe(
      'jetson',
    );
    expect(classifyHardware({ ...hidden, soc: { family: 'Tegra', machine: null, id: null } }).kind).toBe(
      'jetson',
    );
    expect(classifyHardware(hidden).kind).toBe('cpu');
  });

  it('recognises an NVIDIA card in a PC by the driver, the PCI bus or the device', () => {
    const driver = classifyHardware({
      ...X86,
      nvidiaGpus: ['NVIDIA GeForce RTX 3060'],
      displayVendors: ['0x10de'],
    });
    expect(driver).toMatchObject({
      kind: 'nvidia_x86',
      cpu: '12th Gen Intel(R) Core(TM) i5-12400',
      accelerators: ['nvidia: NVIDIA GeForce RTX 3060'],
    });
    expect(classifyHardware({ ...X86, displayVendors: ['0x8086', '0x10de'] })).toMatchObject({
      kind: 'nvidia_x86',
      accelerators: ['nvidia: unnamed'],
    });
    expect(classifyHardware({ ...X86, devices: ['nvidia0'] }).kind).toBe('nvidia_x86');
  });

  it('lists a card once if both driver and inventory name it', () => {
    const both = {
      ...X86,
      nvidiaGpus: ['NVIDIA GeForce RTX 3060'],
      inventory: {
        cpu: null,
        model: null,
        os: null,
        gpus: ['NVIDIA GA106 [GeForce RTX 3060]', 'Intel UHD 730'],
      },
    };
    expect(classifyHardware(both).accelerators).toEqual([
      'nvidia: NVIDIA GeForce RTX 3060',
      'gpu: Intel UHD 730',
    ]);
  });

  it('classifies Apple and Windows by their platform', () => {
    expect(classifyHardware({ ...UNKNOWN, platform: 'darwin', kernel: '23.5.0' }).kind).toBe('apple');
    expect(classifyHardware({ ...X86, platform: 'win32', nvidiaGpus: ['NVIDIA T400'] }).kind).toBe('windows');
  });

  it('classifies a PC with an Intel GPU and an unknown machine as cpu', () => {
    expect(classifyHardware({ ...X86, displayVendors: ['0x8086'] })).toMatchObject({
      kind: 'cpu',
      accelerators: [],
    });
    expect(classifyHardware({ ...UNKNOWN, platform: 'freebsd', kernel: '' })).toEqual({
      kind: 'cpu',
      arch: 'arm64',
      model: null,
      cpu: null,
      cores: 4,
      memoryMb: 4096,
      board: UNKNOWN_BOARD,
      pageSizeBytes: 4096,
      accelerators: [],
      os: null,
      fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
    });
  });

  it('lists neural processors that onnxruntime does not support', () => {
    expect(classifyHardware({ ...PI_5, devices: ['hailo0', 'apex_0'] }).accelerators).toEqual([
      'hailo: NPU (present, not used)',
      'coral: Edge TPU (present, not used)',
    ]);
  });
});

describe('the fingerprint', () => {
  const facts = { ...X86, nvidiaGpus: ['A', 'B'] };
  const { fingerprint } = classifyHardware(facts);

  it('does not depend on memory, order or the inventory', () => {
    const inventory = { cpu: 'i5', model: 'NUC', os: 'Debian', gpus: ['Intel UHD'] };
    expect(classifyHardware({ ...facts, memoryMb: 1, nvidiaGpus: ['B', 'A'], inventory }).fingerprint).toBe(
      fingerprint,
    );
  });

  it('changes with the hardware that computes', () => {
    expect(classifyHardware({ ...facts, cores: 2 }).fingerprint).not.toBe(fingerprint);
    expect(classifyHardware({ ...facts, nvidiaGpus: ['A'] }).fingerprint).not.toBe(fingerprint);
    expect(classifyHardware({ ...facts, cpuinfo: 'model name\t: another\n' }).fingerprint).not.toBe(
      fingerprint,
    );
  });
});
