import { describe, expect, it } from 'vitest';
import { DEFAULT_TUNING } from '../../../../src/mqtt/link/tuning.ts';
import { LinkWaits } from '../../../../src/mqtt/link/waits.ts';
import { ManualClock } from '../../../fixtures/store.ts';

const always = (random: number) => () => random;

describe('LinkWaits', () => {
  it('goes from 1 s to 60 s with full jitter, and never under half a second', () => {
    const clock = new ManualClock();
    const longest = new LinkWaits(DEFAULT_TUNING, { clock, random: always(1) });
    expect(Array.from({ length: 8 }, () => longest.nextMs('usual') / 1000)).toEqual([
      1, 2, 4, 8, 16, 32, 60, 60,
    ]);
    const shortest = new LinkWaits(DEFAULT_TUNING, { clock, random: always(0) });
    for (let n = 0; n < 8; n += 1) expect(shortest.nextMs('usual')).toBe(500);
  });

  it('begins anew after a link of 60 s, and not before', () => {
    const clock = new ManualClock();
    const waits = new LinkWaits(DEFAULT_TUNING, { clock, random: always(1) });
    for (let n = 0; n < 5; n += 1) waits.nextMs('usual');
    waits.connected();
    clock.advance(59_000);
    expect(waits.nextMs('usual')).toBe(32_000);
    waits.connected();
    clock.advance(60_000);
    expect(waits.nextMs('usual')).toBe(1000);
  });

  it.each([
    ['slowly', 60, 600],
    ['pressed', 10, 300],
    ['contested', 30, 600],
  ] as const)('%s: a series of its own, %d s to %d s', (pace, firstS, lastS) => {
    const waits = new LinkWaits(DEFAULT_TUNING, { clock: new ManualClock(), random: always(1) });
    waits.nextMs('usual');
    const series = Array.from({ length: 8 }, () => waits.nextMs(pace) / 1000);
    expect([series[0], series.at(-1)]).toEqual([firstS, lastS]);
    expect(waits.nextMs('usual')).toBe(2000);
  });

  it('does not wait where nothing has failed', () => {
    const waits = new LinkWaits(DEFAULT_TUNING, { clock: new ManualClock(), random: always(0.25) });
    expect(waits.nextMs('at_once')).toBe(0);
    expect(waits.renewalMs()).toBe(250);
  });
});
