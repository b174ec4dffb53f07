import { describe, expect, it } from 'vitest';
import { SendWindow } from '../../../../src/mqtt/link/requests.ts';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('SendWindow', () => {
  it('admits at most its size, bulk messages last, and keeps the order of each kind', async () => {
    const window = new SendWindow(1);
    const admitted: string[] = [];
    const enter = (name: string, bulk: boolean): void => {
      void window.enter(bulk).then(() => admitted.push(name));
    };
    enter('first', true);
    enter('bulk 1', true);
    enter('bulk 2', true);
    enter('state 1', false);
    enter('state 2', false);
    const expected = ['first', 'state 1', 'state 2', 'bulk 1', 'bulk 2'];
    for (let n = 1; n <= expected.length; n += 1) {
      await settle();
      expect(admitted).toEqual(expected.slice(0, n));
      window.release();
    }
    await window.enter(false);
  });

  it('keeps the order when several answers arrive at once and a new sender comes between two slots', async () => {
    const window = new SendWindow(3);
    for (let n = 0; n < 3; n += 1) expect(window.tryEnter()).toBe(true);
    const admitted: string[] = [];
    const send = (name: string): void => {
      if (window.tryEnter()) admitted.push(name);
      else void window.enter(false).then(() => admitted.push(name));
    };
    send('first');
    send('second');
    window.release();
    // Runs after the slot of the first is assigned, before that of the second.
    queueMicrotask(() => send('third'));
    window.release();
    window.release();
    await settle();
    expect(admitted).toEqual(['first', 'second', 'third']);
    expect(window.tryEnter()).toBe(false);
    window.release();
    expect(window.tryEnter()).toBe(true);
  });

  it('rejects all senders when it is closed', async () => {
    const window = new SendWindow(1);
    await window.enter(false);
    const waiting = window.enter(true);
    window.close(new Error('over'));
    await expect(waiting).rejects.toThrow('over');
    await expect(window.enter(false)).rejects.toThrow('over');
  });
});
