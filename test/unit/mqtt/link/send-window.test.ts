import { describe, expect, it } from 'vitest';
import { SendWindow } from '../../../../src/mqtt/link/send-window.ts';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('SendWindow', () => {
  it('lets in no more than its size, bulk after everything else, each kind in order', async () => {
    const window = new SendWindow(1);
    const turns: string[] = [];
    const enter = (name: string, bulk: boolean): void => {
      void window.enter(bulk).then(() => turns.push(name));
    };
    enter('first', true);
    enter('bulk 1', true);
    enter('bulk 2', true);
    enter('state 1', false);
    enter('state 2', false);
    const expected = ['first', 'state 1', 'state 2', 'bulk 1', 'bulk 2'];
    for (let n = 1; n <= expected.length; n += 1) {
      await settle();
      expect(turns).toEqual(expected.slice(0, n));
      window.release();
    }
    await window.enter(false);
  });

  it('keeps the order when answers come in a bunch and someone new comes between two turns', async () => {
    const window = new SendWindow(3);
    for (let n = 0; n < 3; n += 1) expect(window.tryEnter()).toBe(true);
    const turns: string[] = [];
    const send = (name: string): void => {
      if (window.tryEnter()) turns.push(name);
      else void window.enter(false).then(() => turns.push(name));
    };
    send('first');
    send('second');
    window.release();
    // Runs behind the turn of the first, before that of the second.
    queueMicrotask(() => send('third'));
    window.release();
    window.release();
    await settle();
    expect(turns).toEqual(['first', 'second', 'third']);
    expect(window.tryEnter()).toBe(false);
    window.release();
    expect(window.tryEnter()).toBe(true);
  });

  it('turns away everyone when it is closed', async () => {
    const window = new SendWindow(1);
    await window.enter(false);
    const waiting = window.enter(true);
    window.close(new Error('over'));
    await expect(waiting).rejects.toThrow('over');
    await expect(window.enter(false)).rejects.toThrow('over');
  });
});
