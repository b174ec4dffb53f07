import { join } from 'node:path';
import { readNames, readNumber, readText } from '../base/read-file.ts';

/**
 * Bits of the firmware's answer that hold now: under-voltage, frequency capped, throttled, soft temperature limit.
 * The upper half is history since boot. Source: Raspberry Pi documentation, vcgencmd get_throttled.
 */
const PI_NOW = 0xf;

/**
 * Whether the board runs slower than it could, or on too little voltage, at this moment. `null` where the board does
 * not say: most computers, and a Raspberry Pi 5, which has neither file.
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
    if (Number.isFinite(flags)) return (flags & PI_NOW) !== 0;
  }
  return null;
}

/** The cooling devices `cpu-throttle-alert`, `gpu-throttle-alert`, … of a Jetson: state 1 and more is an alert. */
async function fromJetsonAlerts(root: string): Promise<boolean | null> {
  const folder = join(root, 'sys/class/thermal');
  let answer: boolean | null = null;
  for (const name of (await readNames(folder)).filter((entry) => entry.startsWith('cooling_device'))) {
    if ((await readText(join(folder, name, 'type')))?.endsWith('-throttle-alert') !== true) continue;
    const state = await readNumber(join(folder, name, 'cur_state'));
    if (state !== null) answer = answer === true || state > 0;
  }
  return answer;
}

/** The under-voltage alarm alone: what newer kernels still show of the firmware's flags. */
async function fromPiVoltage(root: string): Promise<boolean | null> {
  const folder = join(root, 'sys/class/hwmon');
  for (const name of await readNames(folder)) {
    if ((await readText(join(folder, name, 'name'))) !== 'rpi_volt') continue;
    const alarm = await readNumber(join(folder, name, 'in0_lcrit_alarm'));
    if (alarm !== null) return alarm !== 0;
  }
  return null;
}
