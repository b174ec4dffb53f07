import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readNames, readNumber, readText } from '../base/read-file.ts';
import type { HardwareIds } from '../store/types.ts';

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

/**
 * Names of the hardware that a copy of the disk does not have: the serial number of the board and the addresses of the
 * built-in network interfaces, and the id of the disk of a directory. Only what each user may read; a container without
 * a device of its own has none of them. Source: kernel documentation, ABI/testing/sysfs-class-net, sysfs-block.
 */
export function readHardwareIds(directory: string, root = '/'): HardwareIds {
  const serial = readSync(join(root, 'proc/device-tree/serial-number'));
  const machine = [...(serial === null ? [] : [serial]), ...readAddresses(join(root, 'sys/class/net'))];
  return { machine: machine.filter(isUnique), disk: readDiskId(directory, join(root, 'sys/dev/block')) };
}

/** Not zeros, `ff:ff:…` and the like: many devices without an id of their own have these. */
const isUnique = (id: string): boolean => !/^(.)\1*$/i.test(id.replace(/[:.-]/g, ''));

/**
 * The permanent addresses of interfaces that are devices. Not those that are locally administered: container and machine
 * emulators choose them at random. Source: IEEE 802, section 8.2.2 (the second bit of the first byte).
 */
function readAddresses(directory: string): string[] {
  return listNames(directory)
    .map((name) => join(directory, name))
    .filter((path) => existsSync(join(path, 'device')) && readSync(join(path, 'addr_assign_type')) === '0')
    .flatMap((path) => readSync(join(path, 'address')) ?? [])
    .filter((address) => (Number.parseInt(address.slice(0, 2), 16) & 2) === 0);
}

/** Empty when the directory is not there, or must not be read. */
function listNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** The id of an SD card or eMMC, an NVMe, SATA or SCSI disk. */
function readDiskId(directory: string, blockDevices: string): string | null {
  try {
    const { dev } = statSync(directory, { bigint: true });
    // Source: gnu_dev_major and gnu_dev_minor of glibc, sys/sysmacros.h.
    const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
    const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
    const found = realpathSync(join(blockDevices, `${major}:${minor}`));
    const disk = existsSync(join(found, 'partition')) ? dirname(found) : found;
    const ids = ['device/cid', 'wwid', 'device/wwid', 'serial'].map((file) => readSync(join(disk, file)));
    return ids.find((id) => id !== null && isUnique(id)) ?? null;
  } catch {
    // Not Linux, or not the file system of a block device.
    return null;
  }
}

/** The text of a small file without white space and zeros at its ends; null when it is empty or not readable. */
function readSync(path: string): string | null {
  try {
    return (
      readFileSync(path, 'latin1')
        .replace(/^[\s\0]+|[\s\0]+$/g, '')
        .slice(0, 128) || null
    );
  } catch {
    return null;
  }
}
