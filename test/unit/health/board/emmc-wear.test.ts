import { beforeEach, describe, expect, it } from 'vitest';
import { readEmmcWear } from '../../../../src/health/board/emmc-wear.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

let tree: ReturnType<typeof makeFileTree>;
beforeEach(() => {
  tree = makeFileTree();
});

/** The files of a card as Linux shows them: an SD card has neither life_time nor pre_eol_info. */
function card(name: string, type: 'MMC' | 'SD', lifeTime?: string, preEol?: string): void {
  tree.write(`sys/block/${name}/device/type`, `${type}\n`);
  if (lifeTime !== undefined) tree.write(`sys/block/${name}/device/life_time`, `${lifeTime}\n`);
  if (preEol !== undefined) tree.write(`sys/block/${name}/device/pre_eol_info`, `${preEol}\n`);
}

describe('readEmmcWear', () => {
  it.each([
    ['0x01 0x01', '0x01', { lifeUsedPct: 10, preEol: 'normal' }],
    ['0x02 0x09', '0x01', { lifeUsedPct: 90, preEol: 'normal' }],
    ['0x0a 0x0b', '0x02', { lifeUsedPct: 110, preEol: 'warning' }],
    ['0x00 0x00', '0x03', { lifeUsedPct: null, preEol: 'urgent' }],
    ['garbage', '0x77', { lifeUsedPct: null, preEol: null }],
  ])('reads life %s and end of life %s', async (lifeTime, preEol, expected) => {
    card('mmcblk0', 'MMC', lifeTime, preEol);
    expect(await readEmmcWear(tree.path)).toEqual(expected);
  });

  it('reports the most worn eMMC, and nothing for an SD card or without /sys', async () => {
    expect(await readEmmcWear(tree.path)).toEqual({ lifeUsedPct: null, preEol: null });
    card('mmcblk1', 'SD', '0x0b 0x0b', '0x03');
    card('mmcblk1p1', 'MMC', '0x0b 0x0b', '0x03');
    expect(await readEmmcWear(tree.path)).toEqual({ lifeUsedPct: null, preEol: null });
    card('mmcblk0', 'MMC', '0x01 0x02', '0x01');
    card('mmcblk2', 'MMC', '0x03 0x01', '0x01');
    expect(await readEmmcWear(tree.path)).toEqual({ lifeUsedPct: 30, preEol: 'normal' });
  });
});
