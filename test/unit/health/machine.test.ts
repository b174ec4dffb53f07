import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { readBootId, readTemperatureC, readThrottled } from '../../../src/health/machine.ts';
import { makeFileTree } from '../../fixtures/file-tree.ts';

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

function zone(index: number, type: string, milliC: string): void {
  tree.write(`sys/class/thermal/thermal_zone${index}/type`, `${type}\n`);
  tree.write(`sys/class/thermal/thermal_zone${index}/temp`, `${milliC}\n`);
}

describe('readTemperatureC', () => {
  it('reads the processor zone of a Jetson Nano, not the power chip that always reports 100 degrees', async () => {
    for (const [index, [type, milliC]] of [
      ['AO-therm', '43000'],
      ['CPU-therm', '38500'],
      ['GPU-therm', '37000'],
      ['PLL-therm', '36000'],
      ['PMIC-Die', '100000'],
      ['thermal-fan-est', '38000'],
    ].entries())
      zone(index, type ?? '', milliC ?? '');
    expect(await readTemperatureC(tree.path)).toBe(38.5);
  });

  it('reads the zone of a Pi, the package of a PC, and the SoC of a Rockchip board', async () => {
    zone(0, 'acpitz', '27800');
    zone(1, 'x86_pkg_temp', '51000');
    expect(await readTemperatureC(tree.path)).toBe(51);
    zone(2, 'cpu-thermal', '47236');
    expect(await readTemperatureC(tree.path)).toBe(47.2);
    tree.remove();
    zone(0, 'soc-thermal', '40000');
    expect(await readTemperatureC(tree.path)).toBe(40);
  });

  it('ignores implausible zones and falls back to the sensors', async () => {
    zone(0, 'cpu-thermal', '-273000');
    zone(1, 'cpu1-thermal', 'garbage');
    tree.write('sys/class/hwmon/hwmon0/name', 'nvme');
    tree.write('sys/class/hwmon/hwmon0/temp1_input', '60000');
    expect(await readTemperatureC(tree.path)).toBeNull();
    tree.write('sys/class/hwmon/hwmon1/name', 'k10temp');
    tree.write('sys/class/hwmon/hwmon1/temp1_input', '55125');
    expect(await readTemperatureC(tree.path)).toBe(55.1);
  });

  it('returns null without /sys', async () => {
    expect(await readTemperatureC(tree.path)).toBeNull();
  });
});

describe('readThrottled', () => {
  const flags = 'sys/devices/platform/soc/soc:firmware/get_throttled';

  it.each([
    ['0', false],
    ['50000', false],
    ['50005', true],
    ['1', true],
    ['0x80008', true],
  ])('reads the present flags of a Pi from %s and ignores the history', async (text, expected) => {
    tree.write(flags, `${text}\n`);
    expect(await readThrottled(tree.path)).toBe(expected);
  });

  it('reads the alerts of a Jetson', async () => {
    tree.write('sys/class/thermal/cooling_device0/type', 'pwm-fan');
    tree.write('sys/class/thermal/cooling_device0/cur_state', '3');
    expect(await readThrottled(tree.path)).toBeNull();
    tree.write('sys/class/thermal/cooling_device1/type', 'gpu-throttle-alert');
    tree.write('sys/class/thermal/cooling_device1/cur_state', '0');
    expect(await readThrottled(tree.path)).toBe(false);
    tree.write('sys/class/thermal/cooling_device2/type', 'cpu-throttle-alert');
    tree.write('sys/class/thermal/cooling_device2/cur_state', '1');
    expect(await readThrottled(tree.path)).toBe(true);
  });

  it('falls back to the under-voltage alarm, and returns null without any source', async () => {
    tree.write('sys/class/hwmon/hwmon3/name', 'rpi_volt');
    tree.write('sys/class/hwmon/hwmon3/in0_lcrit_alarm', '1');
    expect(await readThrottled(tree.path)).toBe(true);
    tree.remove();
    expect(await readThrottled(tree.path)).toBeNull();
    tree.write(flags, 'garbage');
    expect(await readThrottled(tree.path)).toBeNull();
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
