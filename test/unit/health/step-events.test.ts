import { expect, it } from 'vitest';
import type { Clock } from '../../../src/base/clock.ts';
import { StepEvents } from '../../../src/health/step-events.ts';
import type { EventDraft } from '../../../src/contract/states.ts';

/** A clock whose sleeps end with `wake`. */
class Sleeper implements Clock {
  readonly #wakes: (() => void)[] = [];
  nowMs = (): number => 0;
  monoMs = (): number => 0;
  sleep = (): Promise<void> => new Promise((resolve) => this.#wakes.push(resolve));
  async wake(): Promise<void> {
    this.#wakes.shift()?.();
    await Promise.resolve();
    await Promise.resolve();
  }
}

it('raises an event for the first step, then one event in ten minutes, and none without steps', async () => {
  const events: EventDraft[] = [];
  const clock = new Sleeper();
  const steps = new StepEvents({
    clock,
    raise: (event) => events.push(event),
    state: () => ({ synced: false, offsetMs: null }),
  });
  const { signal } = new AbortController();
  steps.add(5_000, signal);
  expect(events.map(({ context }) => context)).toEqual([
    { delta_ms: 5_000, steps: 1, largest_ms: 5_000, synced: false, offset_ms: null },
  ]);
  for (let n = 0; n < 100; n += 1) steps.add(n % 2 === 0 ? 60_000 : -61_000, signal);
  expect(events).toHaveLength(1);
  await clock.wake();
  expect(events[1]?.context).toEqual({
    delta_ms: -50_000,
    steps: 100,
    largest_ms: -61_000,
    synced: false,
    offset_ms: null,
  });
  expect(events[1]?.message).toBe(
    'The wall clock was moved 100 times, by -50.0 s together, by -61.0 s at most.',
  );
  await clock.wake();
  expect(events).toHaveLength(2);
  steps.add(-2_000, signal);
  expect(events).toHaveLength(3);
});
