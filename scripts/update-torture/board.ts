import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { UpdaterState } from '../../src/contract/update-files.ts';
import type { UpdaterPaths } from '../../src/updater/paths.ts';
import type { ControlCall, UpdaterJob } from './updater-process.ts';

const UPDATER = join(import.meta.dirname, 'updater-process.ts');
const COUNT_START = join(import.meta.dirname, '../../systemd/count-start');
const POLL_MS = 20;
const TIMER_MS = 400;
const RESTART_DELAY_MS = 30;
/** Trials run in fast time: 180 s of the board take three seconds. */
const SPEED = 60;

export interface BoardOptions {
  readonly paths: UpdaterPaths;
  /** A directory that survives power cuts. */
  readonly scratchDir: string;
}

/** One start of the service. */
export interface ServiceStart {
  readonly version: string;
  readonly digest: string;
  /** The version was banned, as far as the updater had written it. */
  readonly isBanned: boolean;
}

/** What systemd does on a board: it starts the service again and again, and the updater for each new request. */
export class Board {
  readonly #options: BoardOptions;
  readonly #children = new Set<ChildProcess>();
  readonly #loops: Promise<void>[] = [];
  #power = new AbortController();
  #service: ChildProcess | null = null;
  #updaterWanted = false;
  #timerIsOn = false;
  /** Starts since the last boot. */
  starts: ServiceStart[] = [];
  readonly output: string[] = [];

  constructor(options: BoardOptions) {
    this.#options = options;
  }

  boot(): void {
    this.#power = new AbortController();
    this.starts = [];
    this.#timerIsOn = false;
    this.#updaterWanted = true;
    rmSync(this.#options.paths.run, { recursive: true, force: true });
    mkdirSync(this.#options.paths.run, { recursive: true });
    const job: UpdaterJob = {
      paths: this.#options.paths,
      bootId: randomUUID(),
      speed: SPEED,
      bootedAtMs: Date.now(),
    };
    writeFileSync(this.#jobFile, JSON.stringify(job));
    const { signal } = this.#power;
    this.#loops.push(this.#runService(signal), this.#runUpdater(signal), this.#watchFiles(signal));
  }

  /** All processes end at once. */
  async powerOff(): Promise<void> {
    this.#power.abort();
    for (const child of this.#children) kill(child);
    await Promise.all(this.#loops.splice(0));
  }

  state(): UpdaterState | null {
    try {
      return JSON.parse(readFileSync(join(this.#options.paths.state, 'state.json'), 'utf8')) as UpdaterState;
    } catch {
      return null;
    }
  }

  get #jobFile(): string {
    return join(this.#options.scratchDir, 'job.json');
  }

  async #runService(power: AbortSignal): Promise<void> {
    const { root, state, requests } = this.#options.paths;
    while (!power.aborted) {
      const environment = {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        SWELLSIGHT_ROOT: root,
        SWELLSIGHT_UPDATER_STATE: state,
        UPDATER_STATE: state,
        REQUESTS: requests,
        EVENTS: join(this.#options.scratchDir, 'events'),
      };
      await ended(this.#spawn(COUNT_START, [], environment));
      if (isOff(power)) return;
      const current = join(root, 'current');
      this.#recordStart();
      const service = this.#spawn(
        join(current, 'node/bin/node'),
        [join(current, 'dist/main.js'), 'run'],
        environment,
      );
      this.#service = service;
      await ended(service);
      await delay(RESTART_DELAY_MS);
    }
  }

  #recordStart(): void {
    const target = readlinkSync(join(this.#options.paths.root, 'current'));
    const [, version = '', digest = ''] = /^versions\/(.+)-([0-9a-f]{12})$/.exec(target) ?? [];
    const isBanned = this.state()?.banned.some((ban) => ban.digest.startsWith(digest)) ?? false;
    this.starts.push({ version, digest, isBanned });
  }

  async #runUpdater(power: AbortSignal): Promise<void> {
    while (!power.aborted) {
      await delay(POLL_MS);
      if (!this.#updaterWanted) continue;
      this.#updaterWanted = false;
      const updater = this.#spawn(
        process.execPath,
        ['--no-warnings', UPDATER, this.#jobFile],
        { ...process.env, NODE_COMPILE_CACHE: join(this.#options.scratchDir, 'compile-cache') },
        true,
      );
      updater.on('message', (call: ControlCall) => this.#onCall(call));
      await ended(updater);
    }
  }

  #onCall(call: ControlCall): void {
    if (call === 'restart') {
      if (this.#service) kill(this.#service);
    } else this.#timerIsOn = call === 'startTrialTimer';
  }

  /** The path unit and the timer. */
  async #watchFiles(power: AbortSignal): Promise<void> {
    const changes = (): string =>
      ['request.json', 'confirm.json']
        .map(
          (name) => statSync(join(this.#options.paths.requests, name), { throwIfNoEntry: false })?.ino ?? 0,
        )
        .join();
    let before = changes();
    let lastTickMs = performance.now();
    while (!power.aborted) {
      await delay(POLL_MS);
      const after = changes();
      const isDue = this.#timerIsOn && performance.now() - lastTickMs > TIMER_MS;
      if (after === before && !isDue) continue;
      before = after;
      lastTickMs = performance.now();
      this.#updaterWanted = true;
    }
  }

  #spawn(program: string, args: readonly string[], env: NodeJS.ProcessEnv, ipc = false): ChildProcess {
    // A process group of its own, so that its children end with it.
    const child = spawn(program, [...args], {
      detached: true,
      env,
      stdio: ipc ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    child.on('error', (error) => void this.output.push(`${program}: ${error.message}`));
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (text: Buffer) => {
        this.output.push(text.toString().trimEnd());
        this.output.splice(0, this.output.length - 200);
      });
    return child;
  }
}

/** A function, because the value changes while a caller waits. */
const isOff = (power: AbortSignal): boolean => power.aborted;

function kill(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return;
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
