import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock } from '../../src/base/clock.ts';
import type { InstalledVersion, PreflightReport, Release } from '../../src/contract/update-files.ts';
import { versionPath, type UpdaterPaths } from '../../src/updater/paths.ts';
import { thisMachine } from '../../src/updater/platform.ts';
import type { ProgramResult, ServiceControl } from '../../src/updater/service-control.ts';
import { Updater } from '../../src/updater/updater.ts';
import { Versions } from '../../src/updater/versions.ts';

export interface SimulatedServiceOptions {
  /** Directory for the versions and the updater of this device. */
  readonly dir: string;
  /** Directory of the requests of the agent. */
  readonly requests: string;
  /** The root of trust of the updater. */
  readonly rootFile: string;
  /** The version before the first update. */
  readonly factory: string;
  /** Versions that crash at each start on this device. */
  readonly crashing: ReadonlySet<string>;
}

export interface SimulatedServiceDeps {
  readonly clock: Clock;
  readonly startAgent: (version: InstalledVersion) => void;
  readonly stopAgent: () => Promise<void>;
}

const COUNT_START = join(import.meta.dirname, '../../systemd/count-start');
const POLL_MS = 100;
/** The trial timer runs the updater again this often. */
const TIMER_MS = 5000;
const CRASH_MS = 50;
const PREFLIGHT_OK: PreflightReport = { format: 1, ok: true, reason: null };

/**
 * The service manager of a simulated device, with the real updater and the real `count-start` on a directory of its own.
 * Nothing of a version runs: its preflight succeeds, and whether it crashes is an option.
 */
export class SimulatedService implements ServiceControl {
  readonly paths: UpdaterPaths;
  readonly #options: SimulatedServiceOptions;
  readonly #deps: SimulatedServiceDeps;
  readonly #updater: Updater;
  readonly #versions: Versions;
  #isRestartWanted = true;
  #hasTimer = false;

  constructor(options: SimulatedServiceOptions, deps: SimulatedServiceDeps) {
    const { dir, requests, rootFile } = options;
    this.#options = options;
    this.#deps = deps;
    const [root, state, run] = [join(dir, 'opt'), join(dir, 'updater'), join(dir, 'run')];
    this.paths = { root, state, run, requests, rootFile, config: join(dir, 'swellsight.yaml') };
    for (const path of [state, run, requests]) mkdirSync(path, { recursive: true });
    installFactory(root, options.factory);
    this.#versions = new Versions(root);
    this.#updater = new Updater(
      { paths: this.paths, updaterVersion: options.factory },
      {
        control: this,
        machine: { ...thisMachine, syncedNowMs: () => Promise.resolve(deps.clock.nowMs()) },
        log: () => undefined,
      },
    );
  }

  /** Starts the agent, and runs the updater when its path unit or its timer would. Resolves when the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, stopAgent } = this.#deps;
    let seen = '';
    let lastRunMonoMs = clock.monoMs();
    try {
      await this.#updater.run(signal);
      for (;;) {
        if (this.#isRestartWanted) await this.#start(signal);
        await clock.sleep(POLL_MS, signal);
        const files = ['request.json', 'confirm.json'].map((name) => this.#changedAt(name)).join();
        const isTimerDue = this.#hasTimer && clock.monoMs() - lastRunMonoMs > TIMER_MS;
        if (files === seen && !isTimerDue) continue;
        seen = files;
        lastRunMonoMs = clock.monoMs();
        await this.#updater.run(signal);
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      await stopAgent();
    }
  }

  restart(): Promise<void> {
    this.#isRestartWanted = true;
    return Promise.resolve();
  }

  startTrialTimer(): Promise<void> {
    this.#hasTimer = true;
    return Promise.resolve();
  }

  stopTrialTimer(): Promise<void> {
    this.#hasTimer = false;
    return Promise.resolve();
  }

  owner(): Promise<{ readonly uid: number; readonly gid: number }> {
    return Promise.resolve({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });
  }

  stopLimited(): Promise<void> {
    return Promise.resolve();
  }

  runLimited(): Promise<ProgramResult> {
    return Promise.resolve({ exitCode: 0, stdout: JSON.stringify(PREFLIGHT_OK), stderr: '' });
  }

  /** As the unit: `count-start` comes before each start, and a version that crashed is started again. */
  async #start(signal: AbortSignal): Promise<void> {
    const { clock, startAgent, stopAgent } = this.#deps;
    await stopAgent();
    for (;;) {
      this.#isRestartWanted = false;
      await promisify(execFile)(COUNT_START, {
        env: {
          PATH: '/usr/bin:/bin',
          SWELLSIGHT_ROOT: this.paths.root,
          SWELLSIGHT_UPDATER_STATE: this.paths.state,
        },
      });
      const version = await this.#versions.current();
      if (version === null) throw new Error('no version of the agent is installed');
      if (!this.#options.crashing.has(version.version)) {
        startAgent(version);
        break;
      }
      await clock.sleep(CRASH_MS, signal);
    }
    // count-start asks systemd for this after it has returned to the former version.
    await this.#updater.run(signal);
  }

  #changedAt(name: string): number {
    return statSync(join(this.paths.requests, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }
}

/** Installs a version with one small file. */
function installFactory(root: string, version: string): void {
  const digest = createHash('sha256').update(version).digest('hex');
  const dir = join(root, versionPath({ version, digest }));
  const program = 'node/bin/node';
  const text = '#!/bin/sh\n';
  mkdirSync(dirname(join(dir, program)), { recursive: true });
  writeFileSync(join(dir, program), text);
  chmodSync(join(dir, program), 0o755);
  const sha256 = createHash('sha256').update(text).digest('hex');
  const release: Release = {
    format: 1,
    name: 'swellsight-edge',
    version,
    commit: '0'.repeat(40),
    arch: process.arch === 'arm64' ? 'arm64' : 'amd64',
    glibc: '2.17',
    schema: 5,
    node: process.versions.node,
    files: { [program]: { sha256, size: text.length, mode: 0o755 } },
  };
  writeFileSync(join(dir, 'release.json'), JSON.stringify(release));
  writeFileSync(join(dir, 'archive.sha256'), `${digest}\n`);
  symlinkSync(versionPath({ version, digest }), join(root, 'current'));
}
