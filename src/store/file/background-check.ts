import { fork, type ChildProcess } from 'node:child_process';
import { addAbortListener } from 'node:events';
import { statSync } from 'node:fs';
import { extname } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { CheckReport } from './check.ts';
import { clearUncheckedMark } from './quarantine.ts';

const ENTRY = new URL(`./check-process${extname(import.meta.url)}`, import.meta.url);
/** After the start, the model and the first observations have priority. */
const START_DELAY_MS = 30_000;
/** After a check that could not be completed. */
const RETRY_DELAY_MS = 600_000;
/** The check reads a table in one transaction. Until its end, SQLite cannot write to the start of the write-ahead log. */
const MAX_WAL_BYTES = 64 * 1_048_576;
const WAL_INTERVAL_MS = 2000;

export interface BackgroundCheckDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Called when the file is damaged. */
  readonly onDamage: (reason: string) => void;
}

/** Checks a large database in its own process, at low priority, while the agent uses it. */
export class BackgroundCheck {
  readonly #path: string;
  readonly #deps: BackgroundCheckDeps;
  #child: ChildProcess | null = null;

  constructor(path: string, deps: BackgroundCheckDeps) {
    this.#path = path;
    this.#deps = deps;
  }

  /**
   * Repeats the check until it is complete, and removes the mark of the file when it found nothing. When the promise
   * settles, the process has ended. Rejects with the reason of the signal.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, onDamage } = this.#deps;
    await clock.sleep(START_DELAY_MS, signal);
    for (;;) {
      const startedMonoMs = clock.monoMs();
      const fault = await this.#check(signal);
      signal.throwIfAborted();
      const seconds = Math.round((clock.monoMs() - startedMonoMs) / 1000);
      if (fault === undefined) {
        log.warn({ seconds }, 'the check of the database was not completed: it is repeated later');
        await clock.sleep(RETRY_DELAY_MS, signal);
        continue;
      }
      if (fault === null) {
        clearUncheckedMark(this.#path);
        log.info({ seconds }, 'checked the database after an unclean stop: no damage');
      } else onDamage(fault);
      return;
    }
  }

  /** Ends a running check, for example because the disk is full. It is repeated later. */
  interrupt(): void {
    this.#child?.kill('SIGKILL');
  }

  /** The fault; null when there is none; undefined when the check was not completed. The process has ended then. */
  async #check(signal: AbortSignal): Promise<string | null | undefined> {
    const child = fork(ENTRY, {
      execArgv: ['--max-old-space-size=16', '--max-semi-space-size=1', '--no-warnings'],
      env: { MALLOC_ARENA_MAX: '2' },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child = child;
    using _abort = addAbortListener(signal, () => this.interrupt());
    const timer = setInterval(() => {
      const wal = statSync(`${this.#path}-wal`, { throwIfNoEntry: false });
      if (wal && wal.size > MAX_WAL_BYTES) this.interrupt();
    }, WAL_INTERVAL_MS);
    using _timer = { [Symbol.dispose]: () => clearInterval(timer) };
    let fault: string | null | undefined;
    child.on('message', (report) => {
      ({ fault } = report as CheckReport);
    });
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      // It cannot be started, or was killed before it read the message.
      child.on('error', () => {
        if (child.pid === undefined) resolve();
      });
    });
    child.send(this.#path);
    await exited;
    this.#child = null;
    return fault;
  }
}
