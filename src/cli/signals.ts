import { constants } from 'node:os';
import { monotonicMs } from '../base/clock.ts';

export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

/** Signals within this time after the first one are the same request: a wrapper and the process group send it twice. */
export const REPEAT_MS = 2000;

/** What SIGHUP does to a process without a terminal, when the command sets it: reload. Otherwise SIGHUP stops. */
export class HangUp {
  reload: (() => void) | null = null;
}

export interface SignalOptions {
  readonly stop: AbortController;
  readonly hangUp: HangUp;
  /** With a terminal, SIGHUP means that the terminal is gone. */
  readonly hasTerminal: boolean;
  readonly nowMs?: () => number;
  readonly exit?: (code: number) => void;
}

/** Handles the signals that stop a command: the first one stops it, a later one after the grace period forces the exit. */
export function createSignalHandler(options: SignalOptions): (signal: StopSignal) => void {
  const {
    stop,
    hangUp,
    hasTerminal,
    nowMs = monotonicMs,
    exit = (code: number) => process.exit(code),
  } = options;
  let firstMs: number | null = null;
  return (signal) => {
    if (signal === 'SIGHUP' && !hasTerminal && hangUp.reload) {
      // During a stop, it must not count as the second signal.
      if (firstMs === null) hangUp.reload();
      return;
    }
    if (firstMs === null) {
      firstMs = nowMs();
      stop.abort();
    } else if (nowMs() - firstMs > REPEAT_MS) exit(128 + constants.signals[signal]);
  };
}

const PARENT_CHECK_MS = 500;

/**
 * Calls back once when the process that started this one has ended, if that was npm: neither npm nor its shell hands
 * SIGTERM on. bin/child.mjs does the same for a wrapper.
 */
export function onNpmEnd(env: NodeJS.ProcessEnv, callback: () => void): void {
  if (env['npm_execpath'] === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    callback();
  }, PARENT_CHECK_MS);
  timer.unref();
}
