import { describe, expect, it } from 'vitest';
import { Refusals } from '../../../../src/mqtt/commands/refusals.ts';
import type { EventDraft } from '../../../../src/contract/states.ts';
import { ManualClock } from '../../../fixtures/manual-clock.ts';
import { silentLog } from '../../../fixtures/store.ts';

function setUp() {
  const clock = new ManualClock();
  const stop = new AbortController();
  const raised: EventDraft[] = [];
  const raise = (event: EventDraft): void => void raised.push(event);
  const refusals = new Refusals({ clock, log: silentLog, raise, signal: stop.signal });
  const counts = () => raised.map(({ code, context }) => [code, context['id'], context['count']]);
  return { clock, stop, refusals, counts, raised };
}

describe('Refusals', () => {
  it('raises an event for the first refusal at once, and one with the count for the others', async () => {
    const { clock, refusals, counts } = setUp();
    for (let n = 0; n < 1000; n += 1) refusals.add('command_retained', { id: n });
    refusals.add('command_expired', { id: 'e' });
    expect(counts()).toEqual([
      ['command_retained', 0, 1],
      ['command_expired', 'e', 1],
    ]);
    await clock.pass(60_000);
    expect(counts().slice(2)).toEqual([['command_retained', 999, 999]]);
    // No refusals since: the next one raises an event at once again.
    await clock.pass(120_000);
    expect(clock.sleepers).toBe(0);
    refusals.add('command_retained', { id: 'new' });
    expect(counts().slice(3)).toEqual([['command_retained', 'new', 1]]);
    expect(clock.sleepers).toBe(1);
  });

  it('raises events less and less often while refusals continue, and counts all of them', async () => {
    const { clock, refusals, counts } = setUp();
    const day = 86_400;
    for (let s = 0; s < day; s += 60) {
      refusals.add('command_expired', { id: s });
      await clock.pass(60_000);
    }
    refusals.flush();
    const raisedCounts = counts();
    expect(raisedCounts.length).toBeLessThan(35);
    expect(raisedCounts.reduce((sum, [, , count]) => sum + Number(count), 0)).toBe(day / 60);
  });

  it('raises the last counts on flush, and nothing after the abort', async () => {
    const { clock, refusals, counts, stop } = setUp();
    refusals.add('command_unanswered', {});
    refusals.add('command_unanswered', {});
    refusals.flush();
    stop.abort();
    await clock.pass(3_600_000);
    expect(counts()).toEqual([
      ['command_unanswered', undefined, 1],
      ['command_unanswered', undefined, 1],
    ]);
  });
});
