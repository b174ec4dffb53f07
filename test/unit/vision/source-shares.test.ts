import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/base/errors.ts';
import type { FramePriority } from '../../../src/vision/protocol.ts';
import { SourceShares } from '../../../src/vision/source-shares.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';

function makeShares() {
  const clock = new ManualClock();
  const shares = new SourceShares({ clock });
  const frame = async (
    name: string,
    tookMs: number,
    { priority = 'schedule', code = null }: { priority?: FramePriority; code?: ErrorCode | null } = {},
  ) => {
    shares.submitted(name, priority);
    const sentMs = clock.monoMs();
    await clock.pass(tookMs);
    return shares.ended(name, sentMs, code);
  };
  return { clock, shares, frame };
}

describe('SourceShares', () => {
  it('gives a source of slow frames a tenth of the time while others are active', async () => {
    const { clock, shares, frame } = makeShares();
    let slowMs = 0;
    for (const endMs = 300_000; clock.monoMs() < endMs;) {
      await frame('a', 100);
      await frame('b', 150);
      if (shares.restMs('slow') === 0) slowMs += await frame('slow', 2000);
      await clock.pass(500);
    }
    expect(slowMs / clock.monoMs()).toBeGreaterThan(0.05);
    expect(slowMs / clock.monoMs()).toBeLessThan(0.12);
    expect([shares.restMs('a'), shares.restMs('b')]).toEqual([0, 0]);
    expect([shares.mayGoAhead('a', 'b'), shares.mayGoAhead('slow', 'b')]).toEqual([true, false]);
    expect([shares.mayGoAhead('a', 'a'), shares.mayGoAhead('b', 'b')]).toEqual([false, false]);
    await clock.pass(10_001);
    expect(shares.mayGoAhead('a', 'a')).toBe(true);
  });

  it('lets no source rest that is alone, or whose others are as slow, or have not sent a frame for 10 s', async () => {
    const { clock, shares, frame } = makeShares();
    await frame('alone', 3000);
    await frame('alone', 3000);
    expect(shares.restMs('alone')).toBe(0);
    // A slow board.
    await frame('other', 2000);
    await frame('alone', 3000);
    expect(shares.restMs('alone')).toBe(0);
    await frame('quick', 100);
    await frame('quick', 100);
    shares.submitted('quick', 'schedule');
    await frame('large', 8000);
    expect(shares.restMs('large')).toBe(2000);
    await clock.pass(2000);
    expect(shares.restMs('large')).toBe(0);
  });

  it('does not let cameras rest for uploads', async () => {
    const { shares, frame } = makeShares();
    await frame('uploads', 100, { priority: 'upload' });
    await frame('camera', 2000);
    expect(shares.restMs('camera')).toBe(0);
    await frame('camera', 100);
    await frame('camera', 100);
    await frame('camera', 100);
    await frame('camera', 100);
    await frame('camera', 100);
    await frame('uploads', 9000, { priority: 'upload' });
    expect(shares.restMs('uploads')).toBeGreaterThan(0);
  });

  it('forgets the time that a source used', async () => {
    const { clock, shares, frame } = makeShares();
    await frame('a', 4000);
    expect(shares.usedMs('a')).toBe(4000);
    await clock.pass(120_000);
    expect(shares.usedMs('a')).toBe(1000);
  });

  it('refuses a camera whose frames ended the process twice, for ten minutes', async () => {
    const { clock, shares, frame } = makeShares();
    await frame('good', 100);
    await frame('bad', 10_000, { code: 'vision_timeout' });
    await frame('bad', 100);
    await frame('bad', 500, { code: 'vision_crashed' });
    expect(() => shares.submitted('bad', 'schedule')).toThrow('refused for ten minutes');
    await frame('good', 100);
    await clock.pass(600_000);
    await frame('bad', 100);
  });

  it('refuses no camera when the process also ends with frames of the others, or when there is no other', async () => {
    for (const others of [[], ['second'], ['second', 'third']]) {
      const { frame } = makeShares();
      for (const name of ['first', ...others]) {
        await frame(name, 100);
        await frame(name, 100, { code: 'vision_crashed' });
        await frame(name, 100, { code: 'vision_crashed' });
      }
      for (const name of ['first', ...others]) await frame(name, 100);
    }
  });

  it('does not count failures that are not the end of the process', async () => {
    const { frame } = makeShares();
    await frame('good', 100);
    for (let count = 0; count < 5; count += 1) await frame('bad', 100, { code: 'image_corrupt' });
  });

  it('keeps a limited number of sources', async () => {
    const { clock, shares, frame } = makeShares();
    for (let index = 0; index < 300; index += 1) await frame(`camera ${index}`, 10);
    expect(shares.usedMs('camera 0')).toBe(0);
    expect(shares.usedMs('camera 299')).toBeGreaterThan(0);
    expect(clock.monoMs()).toBe(3000);
  });
});
