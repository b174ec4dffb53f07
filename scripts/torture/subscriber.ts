import { fork, type ChildProcess } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './wait.ts';

const PROGRAM = join(import.meta.dirname, 'subscriber-process.ts');
const FILTERS = ['camera/+/observation', 'camera/+/backfill', 'event/+'];

/** A subscriber with a persistent session, in a separate process. Must receive every message. */
export class Subscriber {
  /** One line for each message: topic, tab, payload. */
  readonly file: string;
  connected = false;
  connections = 0;
  sessionsForgotten = 0;
  readonly #child: ChildProcess;

  static async open(port: number, file: string): Promise<Subscriber> {
    const subscriber = new Subscriber(port, file);
    if (!(await until(() => subscriber.connected, 20_000))) throw new Error('the subscriber cannot connect');
    return subscriber;
  }

  private constructor(port: number, file: string) {
    this.file = file;
    this.#child = fork(PROGRAM, [
      String(port),
      file,
      ...FILTERS.map((filter) => `swellsight/v1/+/+/${filter}`),
    ]);
    this.#child.on('message', (message) => {
      if (message === 'session forgotten') this.sessionsForgotten += 1;
      else this.connected = message === 'connected';
      if (this.connected) this.connections += 1;
    });
  }

  get bytes(): number {
    return statSync(this.file, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Resolves when nothing was received for `forMs`, or after the deadline. */
  async waitForQuiet(forMs: number, withinMs: number): Promise<void> {
    let [bytes, sinceMs] = [this.bytes, performance.now()];
    await until(() => {
      if (this.bytes !== bytes) [bytes, sinceMs] = [this.bytes, performance.now()];
      return performance.now() - sinceMs > forMs;
    }, withinMs);
  }

  killNow(): void {
    this.#child.kill('SIGKILL');
  }
}
