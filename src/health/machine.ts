import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readNames, readNumber, readText } from '../base/read-file.ts';

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

/** The kernel's id of this boot. Without one (macOS, Windows, a hidden /proc) each call returns a new id. */
export function readBootId(path = BOOT_ID_FILE): string {
  try {
    const id = readFileSync(path, 'utf8').trim();
    if (/^[0-9a-f-]{36}$/.test(id)) return id;
  } catch {
    // Not Linux, or no /proc.
  }
  return randomUUID();
}

/** Types of thermal zones of the processor, the most exact first. `PMIC-Die` of a Jetson Nano is not among them: it always reports 100 degrees. */
const CPU_ZONES: readonly RegExp[] = [
  /^cpu[-_]?(thermal|therm)/i,
  /^x86_pkg_temp$/i,
  /^tj[-_]therm/i,
  /^(soc|bigcore\d*|littlecore)[-_]?therm/i,
  /cpu/i,
  /^acpitz$/i,
];
/** Drivers of sensors in the processor. */
const CPU_SENSORS = ['cpu_thermal', 'coretemp', 'k10temp', 'zenpower'];
const MIN_PLAUSIBLE_C = -40;
const MAX_PLAUSIBLE_C = 150;

/** Temperature of the processor from /sys, degrees Celsius; null when no sensor is readable. */
export async function readTemperatureC(root = '/'): Promise<number | null> {
  return (
    (await fromThermalZones(join(root, 'sys/class/thermal'))) ??
    (await fromSensors(join(root, 'sys/class/hwmon')))
  );
}

async function fromThermalZones(directory: string): Promise<number | null> {
  const names = (await readNames(directory)).filter((name) => /^thermal_zone\d+$/.test(name));
  const zones = await Promise.all(
    names.map(async (name) => ({ name, type: (await readText(join(directory, name, 'type'))) ?? '' })),
  );
  for (const pattern of CPU_ZONES) {
    for (const zone of zones.filter(({ type }) => pattern.test(type))) {
      // The zone of a block without power fails with EAGAIN. Try the next one.
      const tempC = toCelsius(await readNumber(join(directory, zone.name, 'temp')));
      if (tempC !== null) return tempC;
    }
  }
  return null;
}

async function fromSensors(directory: string): Promise<number | null> {
  for (const name of await readNames(directory)) {
    const driver = await readText(join(directory, name, 'name'));
    if (driver === null || !CPU_SENSORS.includes(driver)) continue;
    const tempC = toCelsius(await readNumber(join(directory, name, 'temp1_input')));
    if (tempC !== null) return tempC;
  }
  return null;
}

function toCelsius(milliC: number | null): number | null {
  if (milliC === null) return null;
  const tempC = Math.round(milliC / 100) / 10;
  return tempC >= MIN_PLAUSIBLE_C && tempC <= MAX_PLAUSIBLE_C ? tempC : null;
}

/**
 * Bits of the firmware's flags for the present: under-voltage, frequency capped, throttled, soft temperature limit.
 * The upper half of the flags is the history since boot. Source: Raspberry Pi documentation, vcgencmd get_throttled.
 */
const PI_PRESENT_FLAGS = 0xf;

/**
 * True while the board throttles the processor or has too low a voltage. Null where the board does not report it: most
 * computers, and a Raspberry Pi 5, which has none of these files.
 */
export async function readThrottled(root = '/'): Promise<boolean | null> {
  return (await fromPiFirmware(root)) ?? (await fromJetsonAlerts(root)) ?? (await fromPiVoltage(root));
}

async function fromPiFirmware(root: string): Promise<boolean | null> {
  const platform = join(root, 'sys/devices/platform');
  for (const soc of (await readNames(platform)).filter((name) => name.startsWith('soc'))) {
    const text = await readText(join(platform, soc, `${soc}:firmware`, 'get_throttled'));
    if (text === null) continue;
    const flags = Number.parseInt(text, 16);
    if (Number.isFinite(flags)) return (flags & PI_PRESENT_FLAGS) !== 0;
  }
  return null;
}

/** Cooling devices `cpu-throttle-alert`, `gpu-throttle-alert`, … of a Jetson: a state above 0 is an alert. */
async function fromJetsonAlerts(root: string): Promise<boolean | null> {
  const directory = join(root, 'sys/class/thermal');
  let isThrottled: boolean | null = null;
  for (const name of (await readNames(directory)).filter((entry) => entry.startsWith('cooling_device'))) {
    if ((await readText(join(directory, name, 'type')))?.endsWith('-throttle-alert') !== true) continue;
    const state = await readNumber(join(directory, name, 'cur_state'));
    if (state !== null) isThrottled = isThrottled === true || state > 0;
  }
  return isThrottled;
}

/** The under-voltage alarm, the only firmware flag that newer kernels show. */
async function fromPiVoltage(root: string): Promise<boolean | null> {
  const directory = join(root, 'sys/class/hwmon');
  for (const name of await readNames(directory)) {
    if ((await readText(join(directory, name, 'name'))) !== 'rpi_volt') continue;
    const alarm = await readNumber(join(directory, name, 'in0_lcrit_alarm'));
    if (alarm !== null) return alarm !== 0;
  }
  return null;
}
