import { describe, expect, it } from 'vitest';
import { Announcer } from '../../../src/mqtt/announce.ts';
import { settle, SteppedClock } from '../../fixtures/commands.ts';

describe('Announcer', () => {
  it('publishes at once, then at most once a second for all requests of that second', async () => {
    const clock = new SteppedClock();
    let published = 0;
    const announcer = new Announcer({
      clock,
      publish: () => {
        published += 1;
        return Promise.resolve();
      },
    });
    await announcer.announce();
    expect(published).toBe(1);
    let done = 0;
    for (let n = 0; n < 100; n += 1) void announcer.announce().then(() => (done += 1));
    await settle();
    expect([published, done]).toEqual([1, 0]);
    await clock.pass(1000);
    expect([published, done]).toEqual([2, 100]);
    await clock.pass(1000);
    await announcer.announce();
    expect(published).toBe(3);
  });

  it('rejects the requests that shared a failed publish, but not the next one', async () => {
    const clock = new SteppedClock();
    let fails = true;
    const announcer = new Announcer({
      clock,
      publish: () => (fails ? Promise.reject(new Error('lost')) : Promise.resolve()),
    });
    await expect(announcer.announce()).rejects.toThrow('lost');
    fails = false;
    const next = announcer.announce();
    await clock.pass(1000);
    await next;
  });
});
