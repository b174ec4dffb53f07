import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { canConnect, freePort } from '../ports.ts';
import { until } from './wait.ts';

const SAVE_TIMEOUT_MS = 10_000;
const SIGNAL_INTERVAL_MS = 25;

export interface BrokerOptions {
  readonly dir: string;
  /** Lets mosquitto save after each change, which it does after it has sent the acknowledgement. */
  readonly autosave: boolean;
}

/** A real mosquitto with persistence, which the test may kill at any moment. */
export class Broker {
  readonly port: number;
  kills = 0;
  stops = 0;
  saves = 0;
  readonly #config: string;
  readonly #database: string;
  #child: ChildProcess | null = null;

  static async open(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options, await freePort());
    await broker.up();
    return broker;
  }

  private constructor({ dir, autosave }: BrokerOptions, port: number) {
    this.port = port;
    const data = join(dir, 'mosquitto');
    mkdirSync(data);
    this.#database = join(data, 'mosquitto.db');
    this.#config = join(dir, 'mosquitto.conf');
    const lines = [
      ...(process.getuid?.() === 0 ? ['user root'] : []),
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'persistence true',
      `persistence_location ${data}/`,
      // Without autosave, it saves on SIGUSR1 and at a clean exit.
      ...(autosave ? ['autosave_interval 1', 'autosave_on_changes true'] : ['autosave_interval 3600']),
      // Never drop a message because of a limit on the queue.
      'max_queued_messages 0',
      'max_inflight_messages 0',
    ];
    writeFileSync(this.#config, lines.join('\n') + '\n');
  }

  get running(): boolean {
    return this.#child !== null;
  }

  async up(): Promise<void> {
    const child = spawn('mosquitto', ['-c', this.#config], { stdio: 'ignore' });
    child.once('error', () => undefined);
    if (!(await until(async () => child.exitCode !== null || (await canConnect(this.port)), 20_000)))
      throw new Error('mosquitto does not accept connections');
    if (child.exitCode !== null) throw new Error(`mosquitto exited with ${child.exitCode}`);
    this.#child = child;
  }

  async down(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    if (signal === 'SIGKILL') this.kills += 1;
    else this.stops += 1;
    const exited = once(child, 'exit');
    child.kill(signal);
    // A busy broker may take long to exit.
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await exited;
    clearTimeout(timer);
  }

  /**
   * Makes the broker write its state to the file. False when it exited meanwhile or does not respond. mosquitto handles
   * packets and saves in one thread, and renames the new file into place. So a file that appears after an acknowledgement
   * was read contains the acknowledged message.
   */
  async save(): Promise<boolean> {
    const child = this.#child;
    if (!child) return false;
    const before = this.#stamp();
    // mosquitto ignores a signal during a save, so repeat it.
    let signalledMs = -Infinity;
    const saved = (): boolean => {
      if (this.#stamp() !== before || this.#child !== child) return true;
      if (performance.now() - signalledMs > SIGNAL_INTERVAL_MS) {
        child.kill('SIGUSR1');
        signalledMs = performance.now();
      }
      return false;
    };
    if (!(await until(saved, SAVE_TIMEOUT_MS, 2))) return false;
    this.saves += 1;
    return this.#child === child;
  }

  #stamp(): bigint {
    return statSync(this.#database, { bigint: true, throwIfNoEntry: false })?.ctimeNs ?? 0n;
  }
}
