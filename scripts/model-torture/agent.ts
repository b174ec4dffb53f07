import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelState } from '../../src/contract/states.ts';
import type { Observation } from '../../src/contract/observation.ts';
import { parseSlotsState } from '../../src/model/slots/slots-file.ts';
import type { SlotsState } from '../../src/model/types.ts';
import { freePort } from '../ports.ts';
import { makeMovingSea } from '../torture/images.ts';
import type { Repository } from './repository.ts';

/** Frequent frames, so that shadow and probation end between two kills, and kills come in each phase. */
const CAMERA = {
  id: 'sea',
  kind: 'directory',
  replay: 'loop',
  schedule: { everyS: 1 },
  burst: { frames: 5, intervalS: 0 },
};
const PROGRAM = join(import.meta.dirname, '../../bin/swellsight.mjs');

/** The real program, in its own process group, which starts repeatedly on one state directory. */
export class Agent {
  readonly #config: string;
  readonly #log: string;
  readonly #slots: string;
  readonly #port: number;
  #child: ChildProcess | null = null;

  private constructor(dir: string, port: number) {
    this.#config = join(dir, 'config.json');
    this.#log = join(dir, 'agent.log');
    this.#slots = join(dir, 'var', 'models', 'slots.json');
    this.#port = port;
  }

  static async prepare(dir: string, repository: Repository): Promise<Agent> {
    const agent = new Agent(dir, await freePort());
    const settings = {
      site: 'torture',
      device: 'model',
      stateDir: join(dir, 'var'),
      http: { port: agent.#port },
      mqtt: { embedded: { port: 0 } },
      inference: { providers: ['cpu'], threads: 1 },
      model: {
        repository: repository.url,
        trustRoot: repository.trustRoot,
        probation: { observations: 2, minutes: 0 },
      },
      cameras: [{ ...CAMERA, path: makeMovingSea(dir) }],
    };
    writeFileSync(agent.#config, JSON.stringify(settings));
    return agent;
  }

  start(): void {
    const log = openSync(this.#log, 'a');
    this.#child = spawn(process.execPath, [PROGRAM, 'run', '--config', this.#config], {
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
  }

  /** Kills the whole process group at once. Returns false when the agent had ended before. */
  async kill(): Promise<boolean> {
    const child = this.#child;
    if (child?.pid === undefined) return true;
    const isRunning = child.exitCode === null && child.signalCode === null;
    if (isRunning) {
      const ended = once(child, 'exit');
      process.kill(-child.pid, 'SIGKILL');
      await ended;
    }
    this.#child = null;
    return isRunning;
  }

  /** The last lines of its log. */
  tail(): string {
    if (!existsSync(this.#log)) return '';
    return readFileSync(this.#log, 'utf8').split('\n').slice(-15).join('\n');
  }

  /** The stored slots; null before the first install. Throws when they cannot be read. */
  slots(): SlotsState | null {
    if (!existsSync(this.#slots)) return null;
    const { check, ...value } = JSON.parse(readFileSync(this.#slots, 'utf8')) as Record<string, unknown>;
    const read = parseSlotsState(value);
    if ('fault' in read) throw new Error(`slots.json with checksum ${String(check)}: ${read.fault}`);
    return read.slots;
  }

  async modelState(): Promise<ModelState | null> {
    return this.#get<ModelState>('/api/v1/models/info');
  }

  /** An observation that was captured and analyzed after `sinceMs`; null when there is none yet. */
  async observationSince(sinceMs: number): Promise<Observation | null> {
    const page = await this.#get<{ observations: readonly Observation[] }>('/api/v1/observations?limit=3');
    const isAnalyzed = ({ captured_at, status, model }: Observation): boolean =>
      Date.parse(captured_at) > sinceMs && (status === 'measured' || status === 'rejected') && model !== null;
    return page?.observations.find(isAnalyzed) ?? null;
  }

  /** Requests an install. Returns the HTTP status; null without a response. */
  async install(model: { readonly name: string; readonly version: string }): Promise<number | null> {
    const body = JSON.stringify({ name: model.name, version: model.version, clear_failed: true });
    return this.#ask('/api/v1/models/install', { method: 'POST', body }).then(
      (response) => response.status,
      () => null,
    );
  }

  async #get<T>(path: string): Promise<T | null> {
    try {
      const response = await this.#ask(path, {});
      return response.ok ? ((await response.json()) as T) : null;
    } catch {
      return null;
    }
  }

  #ask(path: string, init: RequestInit): Promise<Response> {
    return fetch(`http://127.0.0.1:${String(this.#port)}${path}`, {
      ...init,
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(5000),
    });
  }
}
