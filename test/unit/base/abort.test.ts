import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { untilAborted, withAbort } from '../../../src/base/abort.ts';

const never = new Promise<never>(() => undefined);

describe('withAbort', () => {
  it('settles as the work does and removes its listener', async () => {
    const { signal } = new AbortController();
    expect(await withAbort(Promise.resolve(1), signal)).toBe(1);
    await expect(withAbort(Promise.reject(new Error('broken')), signal)).rejects.toThrow('broken');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it("rejects with the signal's reason, also when the signal fired before", async () => {
    const stop = new AbortController();
    const work = withAbort(never, stop.signal);
    stop.abort(new Error('stopped'));
    await expect(work).rejects.toThrow('stopped');
    await expect(withAbort(never, stop.signal)).rejects.toThrow('stopped');
  });
});

describe('untilAborted', () => {
  it('resolves when the signal fires, also when it fired before', async () => {
    const stop = new AbortController();
    let hasResolved = false;
    const waiting = untilAborted(stop.signal).then(() => (hasResolved = true));
    await Promise.resolve();
    expect(hasResolved).toBe(false);
    stop.abort();
    await waiting;
    await untilAborted(stop.signal);
  });
});
