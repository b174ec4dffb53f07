import { beforeEach, describe, expect, it } from 'vitest';
import { readPowerSignals } from '../../../../src/health/board/power-signals.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

const NOTHING = {
  underVoltage: null,
  throttled: null,
  tooHot: null,
  hotSurface: null,
  overCurrentEvents: null,
};
const PI_4_WORD = 'sys/devices/platform/soc/soc:firmware/get_throttled';
const PI_5_WORD = 'sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled';
const voltageAlarm = (value: string): void => {
  tree.write('sys/class/hwmon/hwmon3/name', 'rpi_volt\n');
  tree.write('sys/class/hwmon/hwmon3/in0_lcrit_alarm', `${value}\n`);
};
const coolingDevice = (index: number, type: string, state: string): void => {
  tree.write(`sys/class/thermal/cooling_device${index}/type`, `${type}\n`);
  tree.write(`sys/class/thermal/cooling_device${index}/cur_state`, `${state}\n`);
};

describe('readPowerSignals of a Raspberry Pi', () => {
  it.each([
    ['0', { underVoltage: false, throttled: false, tooHot: false }],
    // The upper half is the past.
    ['50000', { underVoltage: false, throttled: false, tooHot: false }],
    ['50005', { underVoltage: true, throttled: true, tooHot: false }],
    ['1', { underVoltage: true, throttled: false, tooHot: false }],
    ['2', { underVoltage: false, throttled: true, tooHot: true }],
    ['0x80008', { underVoltage: false, throttled: true, tooHot: true }],
    ['d', { underVoltage: true, throttled: true, tooHot: true }],
  ])('reads the word %s of the firmware', async (word, expected) => {
    for (const path of [PI_4_WORD, PI_5_WORD]) {
      tree.remove();
      tree.write(path, `${word}\n`);
      expect(await readPowerSignals(tree.path)).toEqual({ ...NOTHING, ...expected });
    }
  });

  it('believes the voltage sensor more than the word of the firmware', async () => {
    tree.write(PI_5_WORD, '0\n');
    voltageAlarm('1');
    expect(await readPowerSignals(tree.path)).toMatchObject({ underVoltage: true, throttled: false });
    tree.write(PI_5_WORD, '1\n');
    voltageAlarm('0');
    expect(await readPowerSignals(tree.path)).toMatchObject({ underVoltage: false });
  });

  it('reads the voltage sensor alone, as with the kernel of Ubuntu', async () => {
    voltageAlarm('1');
    expect(await readPowerSignals(tree.path)).toEqual({ ...NOTHING, underVoltage: true });
    voltageAlarm('garbage');
    expect(await readPowerSignals(tree.path)).toEqual(NOTHING);
    tree.write(PI_4_WORD, 'garbage');
    expect(await readPowerSignals(tree.path)).toEqual(NOTHING);
  });
});

describe('readPowerSignals of a Jetson', () => {
  it('reads the throttle alerts and the hot surface', async () => {
    coolingDevice(0, 'pwm-fan', '3');
    expect(await readPowerSignals(tree.path)).toEqual(NOTHING);
    coolingDevice(1, 'gpu-throttle-alert', '0');
    coolingDevice(2, 'hot-surface-alert', '0');
    expect(await readPowerSignals(tree.path)).toEqual({
      ...NOTHING,
      throttled: false,
      tooHot: false,
      hotSurface: false,
    });
    coolingDevice(3, 'soc012-throttle-alert', '1');
    coolingDevice(2, 'hot-surface-alert', '1');
    expect(await readPowerSignals(tree.path)).toMatchObject({
      throttled: true,
      tooHot: true,
      hotSurface: true,
    });
  });

  it('adds the counters of over-current events', async () => {
    tree.write('sys/class/hwmon/hwmon2/name', 'soctherm_oc\n');
    expect(await readPowerSignals(tree.path)).toEqual(NOTHING);
    for (const [name, count] of [
      ['oc1_event_cnt', '0'],
      ['oc2_event_cnt', '3'],
      ['oc3_event_cnt', '4'],
      ['oc3_throt_en', '1'],
    ])
      tree.write(`sys/class/hwmon/hwmon2/${name ?? ''}`, `${count ?? ''}\n`);
    expect(await readPowerSignals(tree.path)).toEqual({ ...NOTHING, overCurrentEvents: 7 });
  });
});
