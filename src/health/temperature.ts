import { join } from 'node:path';
import { readNames, readNumber, readText } from '../base/read-file.ts';

/** Zone types that are the processor's, best first. `PMIC-Die` of a Jetson Nano always says 100 degrees: never take it. */
const CPU_ZONES: readonly RegExp[] = [
  /^cpu[-_]?(thermal|therm)/i,
  /^x86_pkg_temp$/i,
  /^tj[-_]therm/i,
  /^(soc|bigcore\d*|littlecore)[-_]?therm/i,
  /cpu/i,
  /^acpitz$/i,
];
/** Drivers of sensors inside the processor. */
const CPU_SENSORS = ['cpu_thermal', 'coretemp', 'k10temp', 'zenpower'];
const PLAUSIBLE_C = { from: -40, to: 150 };

/** Temperature of the processor, degrees Celsius, from /sys alone; null where none is readable. */
export async function readTemperatureC(root = '/'): Promise<number | null> {
  return (
    (await fromThermalZones(join(root, 'sys/class/thermal'))) ??
    (await fromSensors(join(root, 'sys/class/hwmon')))
  );
}

async function fromThermalZones(folder: string): Promise<number | null> {
  const names = (await readNames(folder)).filter((name) => /^thermal_zone\d+$/.test(name));
  const zones = await Promise.all(
    names.map(async (name) => ({ name, type: (await readText(join(folder, name, 'type'))) ?? '' })),
  );
  for (const pattern of CPU_ZONES) {
    for (const zone of zones.filter(({ type }) => pattern.test(type))) {
      // A zone of a switched-off block answers EAGAIN: the next one may do.
      const tempC = celsius(await readNumber(join(folder, zone.name, 'temp')));
      if (tempC !== null) return tempC;
    }
  }
  return null;
}

async function fromSensors(folder: string): Promise<number | null> {
  for (const name of await readNames(folder)) {
    const driver = await readText(join(folder, name, 'name'));
    if (driver === null || !CPU_SENSORS.includes(driver)) continue;
    const tempC = celsius(await readNumber(join(folder, name, 'temp1_input')));
    if (tempC !== null) return tempC;
  }
  return null;
}

function celsius(milli: number | null): number | null {
  if (milli === null) return null;
  const tempC = Math.round(milli / 100) / 10;
  return tempC >= PLAUSIBLE_C.from && tempC <= PLAUSIBLE_C.to ? tempC : null;
}
