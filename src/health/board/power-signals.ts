import { join } from 'node:path';
import { readNames, readNumber, readText } from '../../base/read-file.ts';

/** What the board reports of its power supply and its own protection at this moment. Null: the board does not report it. */
export interface PowerSignals {
  /** The supply voltage is too low. May chatter near the limit. */
  readonly underVoltage: boolean | null;
  /** The board lowers the frequency of a processor. */
  readonly throttled: boolean | null;
  /** The board protects itself against heat. */
  readonly tooHot: boolean | null;
  /** Jetson: the case is too hot to touch. */
  readonly hotSurface: boolean | null;
  /** Jetson: over-current events since the boot of the machine. */
  readonly overCurrentEvents: number | null;
}

/** Reads small files in /sys. Never rejects. `root` differs from `/` only in tests. */
export async function readPowerSignals(root = '/'): Promise<PowerSignals> {
  const [firmware, voltageAlarm, jetson, overCurrentEvents] = await Promise.all([
    readPiFirmware(root),
    readVoltageAlarm(root),
    readJetsonAlerts(root),
    readOverCurrentEvents(root),
  ]);
  return {
    // The firmware's word in sysfs is a copy that may be 0 while the driver of the sensor has seen an alarm.
    underVoltage: voltageAlarm ?? firmware?.underVoltage ?? null,
    throttled: firmware?.throttled ?? jetson.throttled,
    tooHot: firmware?.tooHot ?? jetson.throttled,
    hotSurface: jetson.hotSurface,
    overCurrentEvents,
  };
}

/**
 * Bits of the firmware's word for the present. The upper half of the word is not the history since boot: the driver
 * raspberrypi-hwmon clears it every two seconds. Sources: Raspberry Pi documentation, vcgencmd get_throttled;
 * Linux drivers/firmware/raspberrypi.c, drivers/hwmon/raspberrypi-hwmon.c.
 */
const PI_FLAGS = { underVoltage: 0x1, frequencyCapped: 0x2, throttled: 0x4, softTemperatureLimit: 0x8 };

async function readPiFirmware(
  root: string,
): Promise<Pick<PowerSignals, 'underVoltage' | 'throttled' | 'tooHot'> | null> {
  const platform = join(root, 'sys/devices/platform');
  for (const soc of (await readNames(platform)).filter((name) => name.startsWith('soc'))) {
    const text = await readText(join(platform, soc, `${soc}:firmware`, 'get_throttled'));
    const flags = Number.parseInt(text ?? '', 16);
    if (!Number.isFinite(flags)) continue;
    const has = (mask: number): boolean => (flags & mask) !== 0;
    const underVoltage = has(PI_FLAGS.underVoltage);
    const throttled = has(PI_FLAGS.frequencyCapped | PI_FLAGS.throttled | PI_FLAGS.softTemperatureLimit);
    // Low voltage also caps the frequency. Without it, only heat does.
    const tooHot = has(PI_FLAGS.softTemperatureLimit) || (throttled && !underVoltage);
    return { underVoltage, throttled, tooHot };
  }
  return null;
}

/** The alarm of the hwmon driver `rpi_volt`. Kernels of Ubuntu have it without the firmware's word. */
async function readVoltageAlarm(root: string): Promise<boolean | null> {
  const directory = await findSensor(root, 'rpi_volt');
  const alarm = directory === null ? null : await readNumber(join(directory, 'in0_lcrit_alarm'));
  return alarm === null ? null : alarm !== 0;
}

/** Cooling devices `cpu-throttle-alert`, `hot-surface-alert`, … of a Jetson: a state above 0 is an alert. */
async function readJetsonAlerts(root: string): Promise<Pick<PowerSignals, 'throttled' | 'hotSurface'>> {
  const directory = join(root, 'sys/class/thermal');
  let throttled: boolean | null = null;
  let hotSurface: boolean | null = null;
  for (const name of (await readNames(directory)).filter((entry) => entry.startsWith('cooling_device'))) {
    const type = await readText(join(directory, name, 'type'));
    if (type?.endsWith('-alert') !== true) continue;
    const state = await readNumber(join(directory, name, 'cur_state'));
    if (state === null) continue;
    if (type === 'hot-surface-alert') hotSurface = state > 0;
    else if (type.endsWith('-throttle-alert')) throttled = throttled === true || state > 0;
  }
  return { throttled, hotSurface };
}

/** Sum of the counters `oc1_event_cnt`, … of the hwmon driver `soctherm_oc`. */
async function readOverCurrentEvents(root: string): Promise<number | null> {
  const directory = await findSensor(root, 'soctherm_oc');
  if (directory === null) return null;
  const names = (await readNames(directory)).filter((name) => /^oc\d+_event_cnt$/.test(name));
  const counts = await Promise.all(names.map((name) => readNumber(join(directory, name))));
  const known = counts.filter((count) => count !== null);
  return known.length === 0 ? null : known.reduce((sum, count) => sum + count, 0);
}

async function findSensor(root: string, driver: string): Promise<string | null> {
  const sensors = join(root, 'sys/class/hwmon');
  for (const name of await readNames(sensors))
    if ((await readText(join(sensors, name, 'name'))) === driver) return join(sensors, name);
  return null;
}
