import { mkdirSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { readBootId, readHardwareIds, readTemperature } from '../../../src/health/machine.ts';
import { boardTree, RECORDED_BOARDS } from '../../fixtures/boards/board-tree.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

function zone(index: number, type: string, milliC: string): void {
  tree.write(`sys/class/thermal/thermal_zone${index}/type`, `${type}\n`);
  tree.write(`sys/class/thermal/thermal_zone${index}/temp`, `${milliC}\n`);
}

const tempC = async (): Promise<number | undefined> => (await readTemperature(tree.path))?.tempC;

describe('readHardwareIds', () => {
  const address = (name: string, text: string, type = '0', isDevice = true): void => {
    tree.write(`sys/class/net/${name}/address`, `${text}\n`);
    tree.write(`sys/class/net/${name}/addr_assign_type`, `${type}\n`);
    if (isDevice) tree.write(`sys/class/net/${name}/device/vendor`, '');
  };

  it('reads the serial number of a board, and permanent addresses of devices', () => {
    tree.write('proc/device-tree/serial-number', '10000000abcdef01\0');
    address('eth0', 'dc:a6:32:01:02:03');
    address('veth1', 'dc:a6:32:01:02:04', '0', false);
    address('wlan0', 'dc:a6:32:01:02:05', '1');
    address('virt0', '52:54:00:01:02:03');
    expect(readHardwareIds(tree.path, tree.path)).toEqual({
      machine: ['10000000abcdef01', 'dc:a6:32:01:02:03'],
      disk: null,
    });
  });

  it('reads the id of the disk of a partition', () => {
    const { dev } = statSync(tree.path, { bigint: true });
    const number = `${(dev >> 8n) & 0xfffn}:${(dev & 0xffn) | ((dev >> 12n) & 0xfff00n)}`;
    tree.write('sys/block/mmcblk0/device/cid', '035344534331364780\n');
    tree.write('sys/block/mmcblk0/mmcblk0p2/partition', '2\n');
    mkdirSync(join(tree.path, 'sys/dev/block'), { recursive: true });
    symlinkSync('../../block/mmcblk0/mmcblk0p2', join(tree.path, 'sys/dev/block', number));
    expect(readHardwareIds(tree.path, tree.path).disk).toBe('035344534331364780');
  });

  it('ignores what many devices without an id of their own have', () => {
    tree.write('proc/device-tree/serial-number', '0000000000000000\0');
    address('eth0', '00:00:00:00:00:00');
    address('eth1', 'dc:a6:32:01:02:03');
    expect(readHardwareIds(tree.path, tree.path).machine).toEqual(['dc:a6:32:01:02:03']);
  });

  it('finds nothing where nothing is readable', () => {
    expect(readHardwareIds(tree.path, tree.path)).toEqual({ machine: [], disk: null });
    // Reading the list fails, as it does where a service manager or a container hides it.
    tree.write('sys/class/net', '');
    expect(readHardwareIds(tree.path, tree.path)).toEqual({ machine: [], disk: null });
  });
});

describe('readTemperature', () => {
  it.each([
    // The power chip of the Nano always reports 100 degrees.
    ['jetson-nano-jp4.6.1', 38.5],
    ['xavier-nx-jp5', 38.5],
    // The zones cv0 to cv2 fail with EAGAIN, as does the GPU of the Thor.
    ['orin-nx-jp6.2', 47.2],
    ['thor-jp7.0', 47.2],
    ['pi5', 47.2],
  ])('reads the processor zone of %s', async (name, expected) => {
    const board = RECORDED_BOARDS[name];
    if (board === undefined) throw new Error(`no board ${name}`);
    expect(await readTemperature(boardTree(board).path)).toEqual({ tempC: expected, hotC: 80 });
  });

  it('ignores a zone that cannot be read and one that is constant, also when there is no other', async () => {
    // Reading a directory fails, like the zone of a block without power.
    tree.write('sys/class/thermal/thermal_zone0/type', 'cpu-thermal\n');
    tree.write('sys/class/thermal/thermal_zone0/temp/unreadable', '');
    zone(1, 'PMIC-Die', '100000');
    zone(2, 'thermal-fan-est', '38000');
    expect(await readTemperature(tree.path)).toBeNull();
    zone(3, 'tj-thermal', '52000');
    expect(await tempC()).toBe(52);
  });

  it('reads the zone of a Pi, the package of a PC, and the SoC of a Rockchip board', async () => {
    zone(0, 'acpitz', '27800');
    zone(1, 'x86_pkg_temp', '51000');
    expect(await readTemperature(tree.path)).toEqual({ tempC: 51, hotC: 95 });
    zone(2, 'cpu-thermal', '47236');
    expect(await readTemperature(tree.path)).toEqual({ tempC: 47.2, hotC: 80 });
    tree.remove();
    zone(0, 'soc-thermal', '40000');
    expect(await tempC()).toBe(40);
  });

  it('ignores implausible zones and falls back to the sensors', async () => {
    zone(0, 'cpu-thermal', '-273000');
    zone(1, 'cpu1-thermal', 'garbage');
    tree.write('sys/class/hwmon/hwmon0/name', 'nvme');
    tree.write('sys/class/hwmon/hwmon0/temp1_input', '60000');
    expect(await readTemperature(tree.path)).toBeNull();
    tree.write('sys/class/hwmon/hwmon1/name', 'k10temp');
    tree.write('sys/class/hwmon/hwmon1/temp1_input', '55125');
    expect(await readTemperature(tree.path)).toEqual({ tempC: 55.1, hotC: 95 });
  });

  it('returns null without /sys', async () => {
    expect(await readTemperature(tree.path)).toBeNull();
  });
});

describe('readBootId', () => {
  it('returns the id of the kernel, else a new one', () => {
    tree.write('boot_id', '332225ae-a909-4b81-9e98-dae23b1d8b0b\n');
    expect(readBootId(join(tree.path, 'boot_id'))).toBe('332225ae-a909-4b81-9e98-dae23b1d8b0b');
    tree.write('boot_id', 'garbage');
    const made = readBootId(join(tree.path, 'boot_id'));
    expect(made).toMatch(/^[0-9a-f-]{36}$/);
    expect(readBootId(join(tree.path, 'gone'))).not.toBe(made);
  });
});
