import { describe, expect, it } from 'vitest';
import { createSignalHandler, HangUp, type StopSignal } from '../../../src/cli/signals.ts';

function handler({ hasTerminal = false } = {}) {
  const stop = new AbortController();
  const hangUp = new HangUp();
  const exits: number[] = [];
  let nowMs = 0;
  const send = createSignalHandler({
    stop,
    hangUp,
    hasTerminal,
    nowMs: () => nowMs,
    exit: (code) => exits.push(code),
  });
  return {
    hangUp,
    exits,
    isStopped: () => stop.signal.aborted,
    send: (signal: StopSignal, atMs: number) => {
      nowMs = atMs;
      send(signal);
    },
  };
}

describe('signals that stop a command', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('stop it at the first %s', (signal) => {
    const { send, isStopped, exits } = handler();
    send(signal, 0);
    expect([isStopped(), exits]).toEqual([true, []]);
  });

  it('count as one within two seconds', () => {
    const { send, exits } = handler();
    send('SIGTERM', 0);
    send('SIGTERM', 1);
    send('SIGINT', 500);
    send('SIGHUP', 2000);
    expect(exits).toEqual([]);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('force the exit when %s comes later', (signal, code) => {
    const { send, exits } = handler();
    send('SIGTERM', 0);
    send(signal, 2001);
    expect(exits).toEqual([code]);
  });

  it('reload at SIGHUP without a terminal, when the command can', () => {
    const { send, hangUp, isStopped } = handler();
    let count = 0;
    hangUp.reload = () => (count += 1);
    send('SIGHUP', 0);
    send('SIGHUP', 5000);
    expect([count, isStopped()]).toEqual([2, false]);
  });

  it('ignore SIGHUP during a stop, when the command can reload', () => {
    const { send, hangUp, exits } = handler();
    let count = 0;
    hangUp.reload = () => (count += 1);
    send('SIGTERM', 0);
    send('SIGHUP', 5000);
    expect([count, exits]).toEqual([0, []]);
  });

  it('stop at SIGHUP with a terminal, which is gone', () => {
    const { send, hangUp, isStopped } = handler({ hasTerminal: true });
    hangUp.reload = () => undefined;
    send('SIGHUP', 0);
    expect(isStopped()).toBe(true);
  });
});
