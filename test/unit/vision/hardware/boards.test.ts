import { describe, expect, it } from 'vitest';
import { classifyHardware, type Hardware } from '../../../../src/vision/hardware/hardware.ts';
import { boardFacts, RECORDED_BOARDS, type RecordedBoard } from '../../../fixtures/boards/board-tree.ts';

const recognise = (board: RecordedBoard, arch?: string): Hardware =>
  classifyHardware(boardFacts(board, arch));

const pi = (id: string, cpu?: string) => ({
  kind: 'raspberry_pi',
  board: { id: `raspberry_pi_${id}`, l4t: null },
  ...(cpu === undefined ? {} : { cpu }),
});
const jetson = (
  id: string,
  board: Partial<Hardware['board']> & Pick<Hardware['board'], 'l4t' | 'jetpack' | 'computeCapability'>,
) => ({ kind: 'jetson', board: { id: `jetson_${id}`, ...board } });

/** What each recorded board is. */
const EXPECTED: Readonly<Record<string, object>> = {
  'pi3b+': pi('3', '4x Cortex-A53'),
  pi4: pi('4', '4x Cortex-A72'),
  pi5: pi('5', '4x Cortex-A76'),
  // The source shows the kernel alone.
  'pi5-ubuntu': { kind: 'raspberry_pi', board: { id: 'raspberry_pi' }, model: 'Raspberry Pi' },
  zero2w: pi('zero_2_w', '4x Cortex-A53'),
  cm4: { ...pi('cm4'), model: 'Raspberry Pi Compute Module 4' },
  cm5: { ...pi('cm5'), model: 'Raspberry Pi Compute Module 5' },
  'jetson-nano-jp4.6.1': jetson('nano', {
    l4t: '32.7.1',
    jetpack: '4.6.1',
    computeCapability: '5.3',
    module: 'p3448-0000 Jetson Nano 4GB (developer kit)',
    soc: 'tegra210',
  }),
  'xavier-nx-jp5': jetson('xavier_nx', {
    l4t: '35.4.1',
    jetpack: '5.1.2',
    computeCapability: '7.2',
    module: 'p3668-0000 Jetson Xavier NX 8GB (developer kit)',
    soc: 'tegra194',
  }),
  'orin-nano-jp5': jetson('orin_nano', {
    l4t: '35.3.1',
    jetpack: '5.1.1',
    computeCapability: '8.7',
    module: 'p3767-0003 Jetson Orin Nano 8GB',
    soc: 'tegra234',
  }),
  'orin-nx-jp6.2': jetson('orin_nx', {
    l4t: '36.4.3',
    jetpack: '6.2',
    computeCapability: '8.7',
    module: 'Jetson Orin NX',
  }),
  'agx-orin-jp7.2': jetson('agx_orin', {
    l4t: '39.2.0',
    jetpack: '7.2',
    computeCapability: '8.7',
    module: 'p3701-0000 Jetson AGX Orin (developer kit)',
  }),
  'thor-jp7.0': {
    ...jetson('thor', {
      l4t: '38.2.0',
      jetpack: '7.0',
      computeCapability: '11.0',
      module: 'p3834-0008 Jetson AGX Thor (developer kit)',
      soc: 'tegra264',
    }),
    cpu: '14x Neoverse-V3AE',
  },
  rk3588: {
    kind: 'cpu',
    board: { id: 'rockchip_rk3588', soc: 'rk3588' },
    accelerators: ['rockchip: NPU (present, not used)'],
  },
};

describe('classifyHardware on the files of real boards', () => {
  it.each(Object.entries(RECORDED_BOARDS))('recognises %s', (name, board) => {
    expect(recognise(board)).toMatchObject(EXPECTED[name] ?? {});
  });

  it('has an expectation for each recorded board', () => {
    expect(Object.keys(EXPECTED).sort()).toEqual(Object.keys(RECORDED_BOARDS).sort());
  });

  it.each([
    ['raspberrypi,3-model-b', '3'],
    ['raspberrypi,3-model-a-plus', '3'],
    ['raspberrypi,3-compute-module', 'cm3'],
    ['raspberrypi,400', '400'],
    ['raspberrypi,4-compute-module-s', 'cm4'],
    ['raspberrypi,500', '500'],
    ['raspberrypi,model-zero-2', 'zero_2_w'],
  ])('recognises the sibling %s', (compatible, id) => {
    const files = { 'proc/device-tree/compatible': `${compatible}\0brcm,bcm2837\0` };
    expect(recognise({ source: 'raspberrypi/linux dts', kernel: null, files })).toMatchObject(pi(id));
  });

  it.each([
    ['p3767-0000', 'orin_nx', 'p3767-0000 Jetson Orin NX 16GB'],
    ['p3767-0004', 'orin_nano', 'p3767-0004 Jetson Orin Nano 4GB'],
    ['p3767-0005-super', 'orin_nano', 'p3767-0005 Jetson Orin Nano 8GB (developer kit)'],
    ['p3701-0005', 'agx_orin', 'p3701-0005 Jetson AGX Orin 64GB'],
    ['p3668-0001', 'xavier_nx', 'p3668-0001 Jetson Xavier NX 8GB'],
    ['p2888-0004', 'agx_xavier', 'p2888-0004 Jetson AGX Xavier 32GB'],
    ['p9999-0000', 'orin', null],
  ])('recognises the module %s by its part number', (number, id, module) => {
    const files = { 'proc/device-tree/compatible': `nvidia,p3737-0000+${number}\0nvidia,tegra234\0` };
    expect(recognise({ source: 'NVIDIA device tree names', kernel: null, files })).toMatchObject({
      kind: 'jetson',
      board: { id: `jetson_${id}`, module },
    });
  });

  it.each(['7.0.0-1017-raspi', '6.8.0-1047-raspi', '6.6.63-v8-16k', '6.1.21-v8+', '6.12.25+rpt-rpi-v8'])(
    'recognises a Raspberry Pi by the kernel %s alone',
    (kernel) => {
      expect(recognise({ source: 'kernel names', kernel })).toMatchObject({
        kind: 'raspberry_pi',
        board: { id: 'raspberry_pi' },
      });
    },
  );

  it.each([
    ['pi4', 'raspberry_pi_4'],
    ['zero2w', 'raspberry_pi_zero_2_w'],
  ])('recognises %s in a container by the revision code of /proc/cpuinfo', (name, id) => {
    const board = RECORDED_BOARDS[name];
    const files = { 'proc/cpuinfo': board?.files?.['proc/cpuinfo'] ?? '' };
    expect(recognise({ source: '', kernel: '6.6.63-v8-16k', files }).board.id).toBe(id);
  });

  it.each([
    ['33', 'jetson_nano', 'tegra210', '5.3'],
    ['24', 'jetson_tx2', 'tegra186', '6.2'],
    ['25', 'jetson_xavier', 'tegra194', '7.2'],
    ['35', 'jetson_orin', 'tegra234', '8.7'],
    ['38', 'jetson_thor', 'tegra264', '11.0'],
  ])('recognises a Jetson in a container by the chip id %s', (socId, id, soc, computeCapability) => {
    const files = { 'sys/devices/soc0/family': 'Tegra\n', 'sys/devices/soc0/soc_id': `${socId}\n` };
    expect(recognise({ source: 'Linux fuse.h', kernel: '5.15.148', files })).toMatchObject({
      kind: 'jetson',
      board: { id, soc, computeCapability, l4t: null, jetpack: null },
    });
  });

  it('gives the version of Jetson Linux without JetPack if the table does not have it', () => {
    const release = (text: string) => ({
      source: '',
      kernel: null,
      files: { 'etc/nv_tegra_release': text },
    });
    expect(recognise(release('# R99 (release), REVISION: 1.2, GCID: 1')).board).toMatchObject({
      l4t: '99.1.2',
      jetpack: null,
    });
    expect(recognise(release('garbage')).board).toMatchObject({ l4t: null, jetpack: null });
    expect(recognise({ source: '', kernel: '4.9.337-l4t-r32.7.4+g0123456' })).toMatchObject({
      kind: 'jetson',
      board: { l4t: '32.7.4', jetpack: null },
    });
  });

  it('believes the compatible list more than other signs', () => {
    const files = {
      'proc/device-tree/compatible': 'radxa,rock-5b\0rockchip,rk3588\0',
      'proc/device-tree/model': 'Raspberry Pi compatible Jetson board',
      'etc/nv_tegra_release': '# R36 (release), REVISION: 4.3',
    };
    expect(recognise({ source: '', kernel: '6.6.63-v8-16k', files })).toMatchObject({
      kind: 'cpu',
      board: { id: 'rockchip_rk3588', l4t: null },
    });
  });
});

describe('accelerators beside the CPU', () => {
  const pciDevice = (id: string, deviceClass: string) => {
    const [vendor, device] = id.split(':');
    const path = 'sys/bus/pci/devices/0001:01:00.0';
    return {
      [`${path}/class`]: `${deviceClass}\n`,
      [`${path}/vendor`]: `0x${vendor ?? ''}\n`,
      [`${path}/device`]: `0x${device ?? ''}\n`,
    };
  };
  const usbDevice = (vendor: string, product: string) => ({
    'sys/bus/usb/devices/2-1/idVendor': `${vendor}\n`,
    'sys/bus/usb/devices/2-1/idProduct': `${product}\n`,
  });
  const driver = (node: string, name: string) => ({
    [`sys/class/${node}/device/driver`]: `/sys/bus/x/drivers/${name}`,
  });

  it.each([
    ['v3d', 'broadcom: VideoCore v3d (present, not used)'],
    ['panthor', 'arm: Mali panthor (present, not used)'],
    ['i915', 'intel: GPU i915'],
    ['xe', 'intel: GPU xe'],
    ['amdgpu', 'amd: GPU amdgpu'],
    ['new_driver', 'gpu: new_driver'],
  ])('names the GPU of the driver %s', (name, expected) => {
    const links = driver('drm/renderD128', name);
    expect(recognise({ source: '', kernel: null, links }, 'x64').accelerators).toEqual([expected]);
  });

  it.each([
    ['Hailo-8', { files: pciDevice('1e60:2864', '0x0b4000') }, 'hailo: Hailo-8'],
    ['Hailo-10H', { files: pciDevice('1e60:45c4', '0x0b4000') }, 'hailo: Hailo-10H'],
    ['Hailo by its device', { files: { 'dev/hailo0': '' } }, 'hailo: NPU'],
    ['Coral before its firmware', { files: usbDevice('1a6e', '089a') }, 'coral: Edge TPU'],
    ['Coral after its firmware', { files: usbDevice('18d1', '9302') }, 'coral: Edge TPU'],
    ['Coral on PCI', { files: { 'dev/apex_0': '' } }, 'coral: Edge TPU'],
    ['Intel NPU', { links: driver('accel/accel0', 'intel_vpu') }, 'intel: NPU'],
    [
      'Intel NPU in a container',
      { files: { 'dev/accel/accel0': '', 'proc/cpuinfo': 'vendor_id\t: GenuineIntel\n' } },
      'intel: NPU',
    ],
    ['AMD NPU', { links: driver('accel/accel0', 'amdxdna') }, 'amd: NPU'],
    ['Rockchip NPU', { links: driver('drm/renderD129', 'RKNPU') }, 'rockchip: NPU'],
  ])('lists as present and not used: %s', (_, tree, expected) => {
    expect(recognise({ source: '', kernel: null, ...tree }).accelerators).toEqual([
      `${expected} (present, not used)`,
    ]);
  });

  it('recognises an arm64 server with an NVIDIA card, which is no Jetson', () => {
    const files = { 'proc/driver/nvidia/gpus/0000:01:00.0/information': 'Model: \t\t NVIDIA GH200 480GB\n' };
    expect(recognise({ source: '', kernel: '6.8.0-1019-nvidia-64k', files })).toMatchObject({
      kind: 'nvidia_arm64',
      board: { id: null, l4t: null },
      accelerators: ['nvidia: NVIDIA GH200 480GB'],
    });
    expect(
      recognise({ source: '', kernel: null, files: pciDevice('10de:2342', '0x030200') }, 'x64').kind,
    ).toBe('nvidia_x86');
  });
});
