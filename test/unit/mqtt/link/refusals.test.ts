import { describe, expect, it } from 'vitest';
import { Refusals } from '../../../../src/mqtt/link/refusals.ts';
import type { EventDraft } from '../../../../src/store/types.ts';
import { SteppedClock } from '../../../fixtures/commands.ts';
import { silentLog } from '../../../fixtures/store.ts';

function made() {
  const clock = new SteppedClock();
  const stop = new AbortController();
  const raised: EventDraft[] = [];
  const raise = (event: EventDraft): void => void raised.push(event);
  const refusals = new Refusals({ clock, log: silentLog, raise, signal: stop.signal });
  const counts = () => raised.map(({ code, context }) => [code, context['id'], context['count']]);
  return { clock, stop, refusals, counts, raised };
}

describe('Refusals', () => {
  it('tells of the first at once, and of the others by their number', async () => {
    const { clock, refusals, counts } = made();
    for (let n = 0; n < 1000; n += 1) refusals.note('command_retained', { id: n });
    refusals.note('command_expired', { id: 'e' });
    expect(counts()).toEqual([
      ['command_retained', 0, 1],
      ['command_expired', 'e', 1],
    ]);
    await clock.pass(60_000);
    expect(counts().slice(2)).toEqual([['command_retained', 999, 999]]);
    // Quiet since: the next one is told of at once again.
    await clock.pass(120_000);
    expect(clock.sleeping).toBe(0);
    refusals.note('command_retained', { id: 'new' });
    expect(counts().slice(3)).toEqual([['command_retained', 'new', 1]]);
    expect(clock.sleeping).toBe(1);
  });

  it('tells ever more rarely while they go on, and loses none', async () => {
    const { clock, refusals, counts } = made();
    const day = 86_400;
    for (let s = 0; s < day; s += 60) {
      refusals.note('command_expired', { id: s });
      await clock.pass(60_000);
    }
    refusals.flush();
    const told = counts();
    expect(told.length).toBeLessThan(35);
    expect(told.reduce((sum, [, , count]) => sum + Number(count), 0)).toBe(day / 60);
  });

  it('tells what is left at the end, and nothing after', async () => {
    const { clock, refusals, counts, stop } = made();
    refusals.note('command_unanswered', {});
    refusals.note('command_unanswered', {});
    refusals.flush();
    stop.abort();
    await clock.pass(3_600_000);
    expect(counts()).toEqual([
      ['command_unanswered', undefined, 1],
      ['command_unanswered', undefined, 1],
    ]);
  });
});
