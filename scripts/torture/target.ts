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
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;

export interface TargetOptions {
  readonly name: string;
  readonly dir: string;
  /** The broker's address for the target: that of the proxy. */
  readonly url: string;
  /** Command prefix that runs the target in the impaired network. */
  readonly prefix: readonly string[];
}

/** A program under test, killed and started many times with the same state directory. */
export class Target {
  readonly name: string;
  /** `agent`: the complete program with its vision process; `device`: only its store, forwarder and link. */
  readonly kind: 'agent' | 'device';
  readonly plant: Plant | null;
  readonly database: string;
  kills = 0;
  /** Unexpected exits: each is a fault. */
  readonly crashes: string[] = [];
  readonly #prefix: readonly string[];
  readonly #log: string;
  readonly #command: (draining: boolean) => readonly string[];
  #child: ChildProcess | null = null;
  /** Size of the log at the last start. */
  #logStartBytes = 0;

  /** The device without cameras: many records, short timeouts. */
  static device(options: TargetOptions, making: { cameras: number; everyMs: number; plant?: Plant }): Target {
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
    return new Target('device', options, stateDir, plant, (draining) => [
      DEVICE,
      JSON.stringify({ ...device, everyMs: draining ? null : everyMs }),
    ]);
  }

  /** The complete program. `imageDirs`: the cameras use these directories in turn. */
  static agent(options: TargetOptions, making: { cameras: number; imageDirs: readonly string[] }): Target {
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
          path: making.imageDirs[n % making.imageDirs.length],
          // A day: one record at the start. After it, the agent only publishes its outbox.
          schedule: { everyS: mode === 'working' ? 1 : 86_400 },
          burst: { frames: 1 },
        })),
      };
      writeFileSync(file, JSON.stringify(settings));
    }
    return new Target('agent', options, stateDir, null, (draining) => [
      AGENT,
      'run',
      '--config',
      draining ? files.draining : files.working,
    ]);
  }

  private constructor(
    kind: Target['kind'],
    options: TargetOptions,
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

  /** `draining`: creates as few records as possible and publishes the outbox. */
  start(draining = false): void {
    const [program = '', ...args] = [...this.#prefix, process.execPath, ...this.#command(draining)];
    const log = openSync(this.#log, 'a');
    this.#logStartBytes = fstatSync(log).size;
    const child = spawn(program, args, { stdio: ['ignore', log, log], env: { PATH: process.env['PATH'] } });
    closeSync(log);
    this.#child = child;
    child.once('error', (error) => this.crashes.push(error.message));
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return;
      this.#child = null;
      this.crashes.push(`exited with ${code ?? String(signal)}: ${this.#readLog(0).slice(-600).trim()}`);
    });
  }

  /** Waits until the target logs its first record; the time depends on the machine. */
  async waitForRecord(signal: AbortSignal): Promise<void> {
    await until(
      () =>
        this.#child === null || signal.aborted || this.#readLog(this.#logStartBytes).includes('observation'),
      START_TIMEOUT_MS,
      50,
    );
  }

  /** Sends SIGKILL and waits for the exit. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
    this.kills += 1;
  }

  /** A clean stop. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Sends SIGKILL without waiting, for the clean-up. */
  killNow(): void {
    this.#child?.kill('SIGKILL');
  }

  #readLog(from: number): string {
    return readFileSync(this.#log).toString('utf8', from);
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => {
      this.crashes.push(`does not exit on ${signal}`);
      child.kill('SIGKILL');
    }, STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  }
}
