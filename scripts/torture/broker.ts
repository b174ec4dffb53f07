import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { canConnect, freePort } from '../ports.ts';
import { until } from './wait.ts';

const SAVE_WITHIN_MS = 10_000;
const ASK_AGAIN_MS = 25;

export interface BrokerOptions {
  readonly dir: string;
  /** Saves by itself after each change, but only when it has answered already. */
  readonly autosave: boolean;
}

/** A real mosquitto that keeps its state in a file, and may be killed at any moment. */
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
      // Without autosave it saves when it is told to, and when it ends in good order.
      ...(autosave ? ['autosave_interval 1', 'autosave_on_changes true'] : ['autosave_interval 3600']),
      // Nothing is dropped for its number, and nothing waits in memory alone while the subscriber is there.
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
      throw new Error('mosquitto does not listen');
    if (child.exitCode !== null) throw new Error(`mosquitto ended with ${child.exitCode}`);
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
    // Frozen or full of work it may be slow to go.
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await exited;
    clearTimeout(timer);
  }

  /**
   * Has everything that was handled so far written to the file. False when the broker went down meanwhile, or is stuck.
   * The file is renamed into place, and one thread handles packets and saves: a file that appears after an answer
   * was read holds what was answered.
   */
  async save(): Promise<boolean> {
    const child = this.#child;
    if (!child) return false;
    const before = this.#stamp();
    // A signal that comes while it is saving is forgotten: hence again and again.
    let askedMs = -Infinity;
    const saved = (): boolean => {
      if (this.#stamp() !== before || this.#child !== child) return true;
      if (performance.now() - askedMs > ASK_AGAIN_MS) {
        child.kill('SIGUSR1');
        askedMs = performance.now();
      }
      return false;
    };
    if (!(await until(saved, SAVE_WITHIN_MS, 2))) return false;
    this.saves += 1;
    return this.#child === child;
  }

  #stamp(): bigint {
    return statSync(this.#database, { bigint: true, throwIfNoEntry: false })?.ctimeNs ?? 0n;
  }
}
