import { join } from 'node:path';
import type { Clock } from '../../src/base/clock.ts';
import type { Log } from '../../src/base/log.ts';
import type { AgentApi } from '../../src/contract/api.ts';
import type { Health } from '../../src/contract/health.ts';
import type { InstalledVersion } from '../../src/contract/update-files.ts';
import { download } from '../../src/model/fetch/download.ts';
import { DEFAULT_FETCH_LIMITS, type FetchJob } from '../../src/model/fetch/job.ts';
import { verifyAgent } from '../../src/model/fetch/verify-agent.ts';
import type { FetchOptions } from '../../src/model/types.ts';
import { Commands } from '../../src/mqtt/commands/commands.ts';
import type { Topics } from '../../src/mqtt/topics.ts';
import type { CommandPacket, Link } from '../../src/mqtt/types.ts';
import type { Store } from '../../src/store/store.ts';
import type { ReleaseFetcher } from '../../src/update/types.ts';
import { UpdateFiles } from '../../src/update/update-files.ts';
import { Updates } from '../../src/update/updates.ts';
import { SimulatedService } from './service.ts';

export interface AgentsOptions {
  /** The repository of agents, and the root that the devices trust. */
  readonly repository: string;
  readonly trustRoot: string;
  /** The version before the first update. */
  readonly version: string;
  /** Versions that crash at each start on this device. */
  readonly crashing: ReadonlySet<string>;
}

export interface SimulatedAgentsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly link: Link;
  readonly topics: Topics;
  readonly health: () => Health;
  readonly observe: () => void;
}

const COMMANDS = new Set(['agent.install', 'agent.rollback', 'agent.list']);

/** One process of the agent: it ends when the version changes. */
interface AgentProcess {
  readonly updates: Updates;
  readonly commands: Commands;
  readonly stop: AbortController;
  readonly running: Promise<unknown>;
}

/**
 * The versions of the agent of a simulated device: the agent's own updates, commands and verification, and the real
 * updater. A restart replaces the objects of the agent, as a new process would.
 */
export class SimulatedAgents {
  readonly #options: AgentsOptions;
  readonly #deps: SimulatedAgentsDeps;
  readonly #files: UpdateFiles;
  readonly #service: SimulatedService;
  #process: AgentProcess | null = null;
  /** Versions that were started, in their order. */
  readonly started: string[] = [];

  constructor(options: AgentsOptions, stateDir: string, deps: SimulatedAgentsDeps) {
    this.#options = options;
    this.#deps = deps;
    const { crashing, version: factory, trustRoot: rootFile } = options;
    const requests = join(stateDir, 'update');
    this.#service = new SimulatedService(
      { dir: join(stateDir, 'device'), requests, rootFile, factory, crashing },
      {
        clock: deps.clock,
        startAgent: (version) => this.#start(version),
        stopAgent: () => this.#stop(),
      },
    );
    this.#files = new UpdateFiles({ stateDir, updaterDir: this.#service.paths.state });
  }

  /** True for a command that belongs to the agent's own updates. Without a process, nobody receives it. */
  receive(name: string, packet: CommandPacket): boolean {
    if (!COMMANDS.has(name)) return false;
    this.#process?.commands.receive(name, packet);
    return true;
  }

  noteObservation(): void {
    this.#process?.updates.noteObservation({ status: 'measured' });
  }

  /** Runs the device until the signal fires. */
  run(signal: AbortSignal): Promise<void> {
    return this.#service.run(signal);
  }

  #start(version: InstalledVersion): void {
    this.started.push(version.version);
    const stop = new AbortController();
    const updates = this.#createUpdates(version);
    const commands = this.#createCommands(updates);
    updates.resume(commands);
    const running = updates.run(stop.signal).catch(() => undefined);
    this.#process = { updates, commands, stop, running };
    this.#publish();
  }

  async #stop(): Promise<void> {
    const ending = this.#process;
    this.#process = null;
    const stopped = ending?.commands.stop();
    ending?.stop.abort();
    await Promise.all([stopped, ending?.running]);
  }

  #publish(): void {
    if (this.#process) this.#deps.link.setState('agent/state', this.#process.updates.state());
  }

  #createUpdates({ version, digest }: InstalledVersion): Updates {
    const { clock, log, store, link, health, observe } = this.#deps;
    const { repository, trustRoot } = this.#options;
    const window = { from: '00:00', to: '00:00' };
    const probation = { observations: 1, minutes: 0 };
    return new Updates(
      { running: { version, digestPrefix: digest.slice(0, 12) } },
      {
        clock,
        log,
        raise: store.raise,
        files: this.#files,
        fetcher: inProcessFetcher(this.#files.dir),
        settings: () => ({ repository, trustRoot, auto: false, window, probation }),
        syncedNowMs: () => clock.nowMs(),
        health: () => Promise.resolve(health()),
        isVisionReady: () => true,
        isStoreWritable: () => store.isWritable(),
        isConnected: () => link.connected,
        cameras: () => [
          {
            capture: () => {
              observe();
              return Promise.resolve();
            },
          },
        ],
        onChanged: () => this.#publish(),
        onProgress: (progress) =>
          void link
            .publish('agent/progress', JSON.stringify(progress), { qos: 0, retain: false })
            .catch(() => undefined),
      },
    );
  }

  #createCommands(updates: Updates): Commands {
    const { clock, log, store, link, topics } = this.#deps;
    const api: Pick<AgentApi, 'installAgent' | 'rollbackAgent' | 'listAgentVersions'> = {
      installAgent: (args, ids) => updates.install(args, ids),
      rollbackAgent: (ids) => updates.rollback(ids),
      listAgentVersions: () => updates.state(),
    };
    const { raise, commands: commandLog } = store;
    // Only these commands come here.
    return new Commands({}, { clock, log, raise, commandLog, topics, link, api: api as AgentApi });
  }
}

/** Downloads and verifies as the agent does, but without a process for each job: hundreds of devices share this one. */
function inProcessFetcher(dir: string): ReleaseFetcher {
  const jobOf = (kind: FetchJob['kind'], options: FetchOptions): FetchJob => ({
    kind,
    product: 'agent',
    dir,
    options,
    limits: DEFAULT_FETCH_LIMITS,
  });
  const onWait = (): void => undefined;
  return {
    download: (options, onProgress, signal) =>
      download(jobOf('download', options), { onProgress, onWait }, signal),
    verifyArchive: (options, signal) =>
      verifyAgent(jobOf('verify', options), { onProgress: () => undefined, onWait }, signal),
    newest: () => Promise.resolve(null),
    discard: () => Promise.resolve(),
  };
}
