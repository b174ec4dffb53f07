import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DeviceOptions } from './device-process.ts';
import type { Plant } from './planted.ts';
import { until } from './wait.ts';

const root = join(import.meta.dirname, '..', '..');
const DEVICE = join(import.meta.dirname, 'device-process.ts');
const AGENT = join(root, 'dist', 'main.js');
const SITE = 'torture';
const START_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 20_000;

export interface VictimOptions {
  readonly name: string;
  readonly dir: string;
  /** Where the broker seems to be. */
  readonly url: string;
  /** Words before the command that put it behind the bad network. */
  readonly prefix: readonly string[];
}

/** What is killed: a program with a state folder, started again and again on the same one. */
export class Victim {
  readonly name: string;
  /** `agent`: the whole program with its vision process; `device`: its store, forwarder and link alone. */
  readonly kind: 'agent' | 'device';
  readonly plant: Plant | null;
  readonly database: string;
  kills = 0;
  /** Ends that nobody asked for: each is a fault. */
  readonly crashes: string[] = [];
  readonly #prefix: readonly string[];
  readonly #log: string;
  readonly #command: (draining: boolean) => readonly string[];
  #child: ChildProcess | null = null;
  /** Length of the log when it was started. */
  #spokenBytes = 0;

  /** The lean device: many records, short times. */
  static device(options: VictimOptions, making: { cameras: number; everyMs: number; plant?: Plant }): Victim {
    const { cameras, everyMs, plant = null } = making;
    const stateDir = join(options.dir, options.name);
    const device: DeviceOptions = {
      stateDir,
      url: options.url,
      site: SITE,
      device: options.name,
      cameras: Array.from({ length: cameras }, (_, n) => `cam${n}`),
      everyMs,
      plant,
    };
    return new Victim('device', options, stateDir, plant, (draining) => [
      DEVICE,
      JSON.stringify({ ...device, everyMs: draining ? null : everyMs }),
    ]);
  }

  /** The real program. `pictures` are folders; camera after camera takes one of them. */
  static agent(options: VictimOptions, making: { cameras: number; pictures: readonly string[] }): Victim {
    const stateDir = join(options.dir, options.name);
    mkdirSync(stateDir);
    const files = { working: join(stateDir, 'working.json'), draining: join(stateDir, 'draining.json') };
    for (const [mode, file] of Object.entries(files)) {
      const settings = {
        site: SITE,
        device: options.name,
        stateDir,
        http: { port: 0 },
        mqtt: { url: [options.url] },
        inference: { providers: ['cpu'], threads: 1 },
        cameras: Array.from({ length: making.cameras }, (_, n) => ({
          id: `cam${n}`,
          kind: 'directory',
          replay: 'loop',
          path: making.pictures[n % making.pictures.length],
          // A day: one record at the start, and then only what waits.
          schedule: { everyS: mode === 'working' ? 1 : 86_400 },
          burst: { frames: 1 },
        })),
      };
      writeFileSync(file, JSON.stringify(settings));
    }
    return new Victim('agent', options, stateDir, null, (draining) => [
      AGENT,
      'run',
      '--config',
      draining ? files.draining : files.working,
    ]);
  }

  private constructor(
    kind: Victim['kind'],
    options: VictimOptions,
    stateDir: string,
    plant: Plant | null,
    command: (draining: boolean) => readonly string[],
  ) {
    this.name = options.name;
    this.kind = kind;
    this.plant = plant;
    this.database = join(stateDir, 'swellsight.db');
    this.#prefix = options.prefix;
    this.#log = join(options.dir, `${options.name}.log`);
    this.#command = command;
  }

  /** `draining`: makes as few records as it can, and sends what waits. */
  start(draining = false): void {
    const [program = '', ...args] = [...this.#prefix, process.execPath, ...this.#command(draining)];
    const log = openSync(this.#log, 'a');
    this.#spokenBytes = fstatSync(log).size;
    const child = spawn(program, args, { stdio: ['ignore', log, log], env: { PATH: process.env['PATH'] } });
    closeSync(log);
    this.#child = child;
    child.once('error', (error) => this.crashes.push(error.message));
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return;
      this.#child = null;
      this.crashes.push(`ended with ${code ?? String(signal)}: ${this.lastWords()}`);
    });
  }

  /** Waits until it tells of its first record: how long that takes depends on the machine. */
  async working(signal: AbortSignal): Promise<void> {
    await until(
      () => this.#child === null || signal.aborted || this.#words(this.#spokenBytes).includes('observation'),
      START_WITHIN_MS,
      50,
    );
  }

  /** SIGKILL, at this moment. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
    this.kills += 1;
  }

  /** A clean stop. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** For the end of the run, whatever happened. */
  killNow(): void {
    this.#child?.kill('SIGKILL');
  }

  lastWords(): string {
    return this.#words(0).slice(-600).trim();
  }

  #words(from: number): string {
    return readFileSync(this.#log).toString('utf8', from);
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => {
      this.crashes.push(`does not end on ${signal}`);
      child.kill('SIGKILL');
    }, STOP_WITHIN_MS);
    await exited;
    clearTimeout(timer);
  }
}
