import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { deadlineSignal, settleWithin, withDeadline } from '../../../src/base/deadline.ts';
import { AgentError } from '../../../src/base/errors.ts';

const never = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });

describe('withDeadline', () => {
  const limit = (ms: number, signal = new AbortController().signal) => ({
    clock: systemClock,
    ms,
    signal,
    onTimeout: () => new AgentError('command_timeout', 'too late'),
  });

  it('resolves with the result of work that ends in time', async () => {
    await expect(withDeadline(limit(1000), () => Promise.resolve(7))).resolves.toBe(7);
  });

  it('rejects with the timeout error when the time is over', async () => {
    await expect(withDeadline(limit(5), never)).rejects.toMatchObject({ code: 'command_timeout' });
  });

  it('keeps what the work knew when the time was over as the cause', async () => {
    const known = new AgentError('camera_unreachable', 'no route');
    const retry = (signal: AbortSignal): Promise<never> =>
      never(signal).catch(() => {
        throw known;
      });
    await expect(withDeadline(limit(5), retry)).rejects.toMatchObject({
      code: 'command_timeout',
      cause: known,
    });
  });

  it('adds no circle of causes for a wait that was aborted', async () => {
    const wait = (signal: AbortSignal): Promise<void> => systemClock.sleep(60_000, signal);
    const failure = await withDeadline(limit(5), wait).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'command_timeout' });
    expect((failure as Error).cause).toBeUndefined();
  });

  it('rejects with the reason of the parent signal when that fires first', async () => {
    const parent = new AbortController();
    const work = withDeadline(limit(10_000, parent.signal), never);
    parent.abort(new Error('stopped'));
    await expect(work).rejects.toThrow('stopped');
  });

  it('does not start work for a signal that has fired', async () => {
    let isStarted = false;
    const work = withDeadline(limit(10, AbortSignal.abort(new Error('stopped'))), () => {
      isStarted = true;
      return Promise.resolve();
    });
    await expect(work).rejects.toThrow('stopped');
    expect(isStarted).toBe(false);
  });

  it('passes on a failure of the work itself', async () => {
    await expect(withDeadline(limit(1000), () => Promise.reject(new Error('broken')))).rejects.toThrow(
      'broken',
    );
  });
});

describe('settleWithin', () => {
  it('returns when the time is over, though the work goes on', async () => {
    await settleWithin(5, systemClock, new Promise(() => undefined));
  });

  it('rejects when the work rejects in time', async () => {
    await expect(settleWithin(1000, systemClock, Promise.reject(new Error('broken')))).rejects.toThrow(
      'broken',
    );
  });
});

describe('deadlineSignal', () => {
  it('fires with its parent', () => {
    const parent = new AbortController();
    const signal = deadlineSignal(60_000, parent.signal);
    parent.abort();
    expect(signal.aborted).toBe(true);
  });
});
