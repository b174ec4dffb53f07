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

/** Types of thermal zones of the processor, the most exact first. */
const CPU_ZONES: readonly RegExp[] = [
  /^cpu[-_]?(thermal|therm)/i,
  /^x86_pkg_temp$/i,
  /^tj[-_]therm/i,
  /^(soc|bigcore\d*|littlecore)\d*[-_]?therm/i,
  /cpu/i,
  /^acpitz$/i,
];
/** Zones without a measurement: the power chip of a Jetson Nano always reports 100 degrees, and the fan an estimate. */
const NOT_MEASURED = /^PMIC|fan-est/i;
/** Drivers of sensors in the processor. */
const CPU_SENSORS = ['cpu_thermal', 'coretemp', 'k10temp', 'zenpower'];
const PC_SENSOR = /^(x86_pkg_temp|acpitz|coretemp|k10temp|zenpower)$/;
const MIN_PLAUSIBLE_C = -40;
const MAX_PLAUSIBLE_C = 150;
/** Boards throttle from 80 to 85 degrees. The processors of PCs are made for up to 100 degrees. */
const HOT_C = { board: 80, pc: 95 };

export interface Temperature {
  readonly tempC: number;
  /** From this temperature on, the machine should work less. */
  readonly hotC: number;
}

/** Temperature of the processor from /sys, degrees Celsius; null when no sensor is readable. */
export async function readTemperature(root = '/'): Promise<Temperature | null> {
  return (
    (await fromThermalZones(join(root, 'sys/class/thermal'))) ??
    (await fromSensors(join(root, 'sys/class/hwmon')))
  );
}

async function fromThermalZones(directory: string): Promise<Temperature | null> {
  const names = (await readNames(directory)).filter((name) => /^thermal_zone\d+$/.test(name));
  const zones = await Promise.all(
    names.map(async (name) => ({ name, type: (await readText(join(directory, name, 'type'))) ?? '' })),
  );
  const measured = zones.filter(({ type }) => !NOT_MEASURED.test(type));
  for (const pattern of CPU_ZONES) {
    for (const { name, type } of measured.filter((zone) => pattern.test(zone.type))) {
      // The zone of a block without power fails with EAGAIN. Try the next one.
      const temperature = toTemperature(type, await readNumber(join(directory, name, 'temp')));
      if (temperature !== null) return temperature;
    }
  }
  return null;
}

async function fromSensors(directory: string): Promise<Temperature | null> {
  for (const name of await readNames(directory)) {
    const driver = await readText(join(directory, name, 'name'));
    if (driver === null || !CPU_SENSORS.includes(driver)) continue;
    const temperature = toTemperature(driver, await readNumber(join(directory, name, 'temp1_input')));
    if (temperature !== null) return temperature;
  }
  return null;
}

function toTemperature(sensor: string, milliC: number | null): Temperature | null {
  if (milliC === null) return null;
  const tempC = Math.round(milliC / 100) / 10;
  if (tempC < MIN_PLAUSIBLE_C || tempC > MAX_PLAUSIBLE_C) return null;
  return { tempC, hotC: PC_SENSOR.test(sensor) ? HOT_C.pc : HOT_C.board };
}
