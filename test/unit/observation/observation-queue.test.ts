import { beforeEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { ObservationQueue } from '../../../src/observation/observation-queue.ts';
import { ManualClock } from '../../fixtures/store.ts';

const PERIOD_MS = 60_000;
const SLOT = { skipped: null };

describe('ObservationQueue', () => {
  let clock: ManualClock;
  let started: string[];
  let ends: Map<string, () => void>;
  let queue: ObservationQueue;
  let failure: AgentError | null;

  /** The schedule has a slot at the start of each minute. */
  const nextRunAtMs = (): number => Math.ceil(clock.nowMs() / PERIOD_MS) * PERIOD_MS;

  const open = (
    after: Promise<unknown> = Promise.resolve(),
    next: () => number | null = nextRunAtMs,
  ): ObservationQueue =>
    new ObservationQueue({ after }, { clock, schedule: { nextRunAtMs: next }, failure: () => failure });

  beforeEach(() => {
    clock = new ManualClock(0);
    started = [];
    ends = new Map();
    failure = null;
    queue = open();
  });

  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const work = (name: string) => (): Promise<string> => {
    started.push(name);
    return new Promise((resolve) => ends.set(name, () => resolve(name)));
  };
  const request = (name: string, signal = new AbortController().signal): Promise<string> => {
    const outcome = queue.runRequest(work(name), signal).catch((error: unknown) => {
      const { code = 'unknown' } = error as { code?: string };
      return `${name} ${code}`;
    });
    return outcome;
  };
  const slot = (name: string, status = 'measured'): Promise<string> =>
    queue.runSlot(SLOT, () => work(name)().then(() => ({ status }))).then(() => name);
  /** Ends the running observation after `ms`. */
  const end = async (name: string, ms: number): Promise<void> => {
    await settle();
    clock.advance(ms);
    ends.get(name)?.();
    await settle();
  };

  it('runs a slot before the requests that wait, in the order of their arrival', async () => {
    const all = [request('r1'), request('r2'), request('r3'), slot('slot')];
    for (const name of ['r1', 'slot', 'r2', 'r3']) await end(name, 10);
    expect(started).toEqual(['r1', 'slot', 'r2', 'r3']);
    expect(await Promise.all(all)).toEqual(['r1', 'r2', 'r3', 'slot']);
  });

  it('refuses the fifth waiting request, with the time until it may be sent again', async () => {
    void slot('slow');
    await end('slow', 20_000);
    const running = request('r0');
    const waiting = ['r1', 'r2', 'r3', 'r4'].map((name) => request(name));
    expect(queue.hasRoomForRequest).toBe(false);
    await expect(queue.runRequest(work('r5'), new AbortController().signal)).rejects.toMatchObject({
      code: 'capture_busy',
      message: expect.stringContaining('try again in 100 s') as string,
      context: { retryAfterS: 100 },
    });
    for (const name of ['r0', 'r1', 'r2', 'r3', 'r4']) await end(name, 10);
    expect(await Promise.all([running, ...waiting])).toEqual(['r0', 'r1', 'r2', 'r3', 'r4']);
    expect(queue.hasRoomForRequest).toBe(true);
  });

  it.each<[string, AgentError, string]>([
    [
      'usual',
      new AgentError('camera_timeout', 'no image within 8 s'),
      'increase timeoutS of the camera; check the network and the load of the camera',
    ],
    ['own', new AgentError('camera_auth', 'refused (401)', { hint: 'set username' }), 'set username'],
    [
      'command',
      new AgentError('camera_command', 'the command ended with 1'),
      'run the capture command by hand and read its output',
    ],
  ])('names the failure of the camera and its %s remedy in a refusal', async (_kind, thrown, hint) => {
    failure = thrown;
    void slot('s1', 'failed');
    const waiting = ['r1', 'r2', 'r3', 'r4'].map((name) => request(name));
    await expect(queue.runRequest(work('r5'), new AbortController().signal)).rejects.toMatchObject({
      code: 'capture_busy',
      message: expect.stringContaining(`the newest burst failed: ${thrown.message}`) as string,
      hint,
      context: { retryAfterS: 1, failure: thrown.code },
    });
    for (const name of ['s1', 'r1', 'r2', 'r3', 'r4']) await end(name, 10);
    await Promise.all(waiting);
  });

  it('frees the place of a request whose client leaves', async () => {
    const gone = new AbortController();
    void request('r0');
    const waiting = [1, 2, 3, 4].map((n) => request(`r${n}`, gone.signal));
    gone.abort(new DOMException('the client left', 'AbortError'));
    await Promise.all(waiting);
    expect(queue.hasRoomForRequest).toBe(true);
    await end('r0', 10);
    expect(started).toEqual(['r0']);
    await expect(queue.runRequest(work('late'), gone.signal)).rejects.toThrow('the client left');
  });

  it('goes on after work that rejects, in slots and in requests', async () => {
    const fail = (): Promise<never> => Promise.reject(new Error('store_full'));
    await expect(queue.runSlot(SLOT, fail)).rejects.toThrow('store_full');
    await expect(queue.runRequest(fail, new AbortController().signal)).rejects.toThrow('store_full');
    const last = request('r1');
    await end('r1', 10);
    expect(await last).toBe('r1');
  });

  it('keeps a request for the time after the next slot when it would delay that slot', async () => {
    void slot('s1');
    await end('s1', 25_000);
    void request('r1');
    await end('r1', 25_000);
    const waiting = request('r2');
    await settle();
    // Ten seconds before the slot, an observation of 25 s does not fit.
    expect(started).toEqual(['s1', 'r1']);
    clock.advance(10_000);
    void slot('s2');
    await end('s2', 25_000);
    expect(started).toEqual(['s1', 'r1', 's2', 'r2']);
    await end('r2', 1000);
    expect(await waiting).toBe('r2');
  });

  it('tells a running slot that a request waits, also when it waited before', async () => {
    let waits: AbortSignal | null = null;
    const runSlot = (name: string) =>
      queue.runSlot(SLOT, (requestWaits) => {
        waits = requestWaits;
        return work(name)().then(() => ({ status: 'failed' }));
      });
    const isWaiting = (): boolean | undefined => waits?.aborted;
    void runSlot('s1');
    await settle();
    expect(isWaiting()).toBe(false);
    void request('r1');
    expect(isWaiting()).toBe(true);
    void request('r2');
    await end('s1', 10);
    void runSlot('s2');
    await end('r1', 10);
    expect([started, isWaiting()]).toEqual([['s1', 'r1', 's2'], true]);
  });

  it('does not take a slot that failed after retries for the duration of a request', async () => {
    void slot('s1', 'failed');
    await end('s1', 45_000);
    void request('r1');
    await settle();
    expect(started).toEqual(['s1', 'r1']);
  });

  it('costs at most one slot in ten when observations are longer than half of the interval', async () => {
    const outcomes: Promise<string>[] = [];
    let lateSlots = 0;
    for (let n = 0; n < 30; n += 1) {
      const dueAtMs = n * PERIOD_MS;
      if (clock.nowMs() > dueAtMs) lateSlots += 1;
      else clock.advance(dueAtMs - clock.nowMs());
      void slot(`s${n}`);
      outcomes.push(request(`r${n}`));
      await end(`s${n}`, 40_000);
      if (started.includes(`r${n}`)) await end(`r${n}`, 40_000);
    }
    expect(lateSlots).toBeLessThanOrEqual(3);
    const results = await Promise.all(outcomes);
    expect(results.filter((result) => result.endsWith('capture_busy')).length).toBeGreaterThanOrEqual(27);
    expect(results.filter((result) => !result.includes(' ')).length).toBeGreaterThanOrEqual(2);
  });

  it('starts nothing before the camera is free, and empties the queue at the end of the schedule', async () => {
    const { promise: free, resolve } = Promise.withResolvers<unknown>();
    queue = open(free);
    const first = request('r1');
    await settle();
    expect(started).toEqual([]);
    resolve(null);
    await end('r1', 50_000);
    expect(await first).toBe('r1');
    const second = request('r2');
    const drained = queue.drain();
    await end('r2', 50_000);
    expect(await second).toBe('r2');
    await drained;
    await queue.drain();
  });
});
