import { cpuinfoField, type HardwareFacts } from './facts.ts';
import type { BoardName } from './board.ts';

const board = (id: string, name: string): BoardName => ({ id: `raspberry_pi_${id}`, name });
const PI_3 = board('3', 'Raspberry Pi 3');
const CM3 = board('cm3', 'Raspberry Pi Compute Module 3');
const PI_4 = board('4', 'Raspberry Pi 4');
const PI_400 = board('400', 'Raspberry Pi 400');
const CM4 = board('cm4', 'Raspberry Pi Compute Module 4');
const PI_5 = board('5', 'Raspberry Pi 5');
const PI_500 = board('500', 'Raspberry Pi 500');
const CM5 = board('cm5', 'Raspberry Pi Compute Module 5');
const ZERO_2_W = board('zero_2_w', 'Raspberry Pi Zero 2 W');

/** Boards by the first name in `compatible`, without `raspberrypi,`. Source: raspberrypi/linux, arch/arm64/boot/dts/broadcom. */
const BY_COMPATIBLE: Readonly<Record<string, BoardName>> = {
  '3-model-b': PI_3,
  '3-model-b-plus': PI_3,
  '3-model-a-plus': PI_3,
  '3-compute-module': CM3,
  '3-plus-compute-module': CM3,
  '4-model-b': PI_4,
  '400': PI_400,
  '4-compute-module': CM4,
  '4-compute-module-s': CM4,
  '5-model-b': PI_5,
  '500': PI_500,
  '5-compute-module': CM5,
  'model-zero-2': ZERO_2_W,
  'model-zero-2-w': ZERO_2_W,
};

/**
 * Boards by the type in bits 4 to 11 of `Revision` in /proc/cpuinfo, which a container without the device tree still shows.
 * Source: Raspberry Pi documentation, "New-style revision codes".
 */
const BY_REVISION_TYPE: Readonly<Record<number, BoardName>> = {
  0x08: PI_3,
  0x0a: CM3,
  0x0d: PI_3,
  0x0e: PI_3,
  0x10: CM3,
  0x11: PI_4,
  0x12: ZERO_2_W,
  0x13: PI_400,
  0x14: CM4,
  0x15: CM4,
  0x17: PI_5,
  0x18: CM5,
  0x19: PI_500,
  0x1a: CM5,
};
const NEW_STYLE_REVISION = 0x80_00_00;

/**
 * Names of the kernels that Raspberry Pi OS (`+rpt-rpi-v8`, `-v8-16k`, `-v8+`) and Ubuntu (`-raspi`) build for these boards
 * alone. A container shows the kernel name even if it hides everything else.
 */
const PI_KERNEL = /[+-]rpi-|-rpi\d?$|-raspi$|-v8(-16k)?\+?$/;

const UNNAMED: BoardName = { id: 'raspberry_pi', name: 'Raspberry Pi' };

/** The board; null if this is no Raspberry Pi. */
export function findRaspberryPi(facts: HardwareFacts): BoardName | null {
  const own = facts.deviceTreeCompatible.find((name) => name.startsWith('raspberrypi,'));
  if (own !== undefined) return BY_COMPATIBLE[own.slice('raspberrypi,'.length)] ?? UNNAMED;
  // The compatible list decides where there is one: it names another board.
  if (facts.deviceTreeCompatible.length > 0) return null;
  const model = facts.deviceTreeModel ?? cpuinfoField(facts.cpuinfo, 'Model') ?? '';
  if (!/^raspberry pi\b/i.test(model) && !PI_KERNEL.test(facts.kernel)) return null;
  const revision = Number.parseInt(cpuinfoField(facts.cpuinfo, 'Revision') ?? '', 16);
  const type = (revision & NEW_STYLE_REVISION) === 0 ? undefined : (revision >> 4) & 0xff;
  return (type === undefined ? undefined : BY_REVISION_TYPE[type]) ?? UNNAMED;
}
