import { join } from 'node:path';
import { readNames, readText } from '../../base/read-file.ts';

/** Wear that an eMMC reports of itself. SD cards and USB disks report none. */
export interface EmmcWear {
  /** Used part of the expected life, percent: 10, 20, … 100, and 110 when it is exceeded. */
  readonly lifeUsedPct: number | null;
  readonly preEol: 'normal' | 'warning' | 'urgent' | null;
}

const NO_WEAR: EmmcWear = { lifeUsedPct: null, preEol: null };
const PRE_EOL = [null, 'normal', 'warning', 'urgent'] as const;

/**
 * The wear of the most worn eMMC of the board; all values are null without one. Source: JEDEC JESD84-B51,
 * DEVICE_LIFE_TIME_EST_TYP_A and _B (0x01: up to 10 %, … 0x0B: exceeded), PRE_EOL_INFO.
 */
export async function readEmmcWear(root = '/'): Promise<EmmcWear> {
  const blocks = join(root, 'sys/block');
  const names = (await readNames(blocks)).filter((name) => /^mmcblk\d+$/.test(name));
  const wears = await Promise.all(names.map((name) => readWear(join(blocks, name, 'device'))));
  return wears.reduce((worst, wear) => (wearOrder(wear) > wearOrder(worst) ? wear : worst), NO_WEAR);
}

async function readWear(device: string): Promise<EmmcWear> {
  if ((await readText(join(device, 'type'))) !== 'MMC') return NO_WEAR;
  const lives = ((await readText(join(device, 'life_time'))) ?? '')
    .split(/\s+/)
    .map(Number)
    // 0 is "not defined".
    .filter((life) => life >= 1 && life <= 11);
  const preEol = Number((await readText(join(device, 'pre_eol_info'))) ?? 0);
  return {
    lifeUsedPct: lives.length === 0 ? null : 10 * Math.max(...lives),
    preEol: PRE_EOL[preEol] ?? null,
  };
}

const wearOrder = ({ lifeUsedPct, preEol }: EmmcWear): number =>
  1000 * (preEol === null ? 0 : PRE_EOL.indexOf(preEol)) + (lifeUsedPct ?? 0);
