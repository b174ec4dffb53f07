import type { Beach } from './beach.ts';
import type { Clock } from './clock.ts';
import type { Settings } from './config/schema.ts';
import type { Health } from './contract/health.ts';
import { Heartbeat } from './health/heartbeat.ts';
import { Liveness } from './health/liveness.ts';
import { Watchdog } from './health/watchdog.ts';
import type { Log } from './log.ts';
import type { Models } from './models.ts';
import type { Link } from './mqtt/types.ts';
import type { Serving } from './serving.ts';
import type { Store } from './store/store.ts';
import type { Timekeeper } from './timekeeper.ts';

const MAIN_LOOP_SILENCE_MS = 30_000;
/** Beside two whole deadlines: room for a restart with its backoff. */
const VISION_SILENCE_MS = 120_000;

export interface VitalsOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly bootId: string;
}

export interface VitalsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly serving: Serving;
  readonly models: Models;
  readonly beach: Beach;
  readonly link: Link;
  readonly store: Store;
  readonly time: Timekeeper;
  /** Takes each heartbeat. */
  readonly sink: (health: Health) => void;
}

/** Whether the agent is well: the heartbeat that says how, and the watchdogs that act when it is not. */
export class Vitals {
  readonly heartbeat: Heartbeat;
  readonly #liveness: Liveness;
  readonly #clock: Clock;
  #watchdog: Watchdog | null = null;

  constructor({ settings, version, bootId }: VitalsOptions, deps: VitalsDeps) {
    const { clock, serving, models, beach, link, store, time } = deps;
    this.#clock = clock;
    const vision = {
      name: 'vision',
      maxSilenceMs: VISION_SILENCE_MS + settings.inference.timeoutS * 2_000,
      lastProgressMonoMs: () => serving.lastProgressMonoMs,
    };
    this.#liveness = new Liveness({ maxSilenceMs: MAIN_LOOP_SILENCE_MS }, { clock, parts: [vision] });
    this.heartbeat = new Heartbeat(
      {
        intervalS: settings.heartbeat.intervalS,
        stateDir: settings.stateDir,
        agentVersion: version,
        bootId,
      },
      {
        clock,
        log: deps.log,
        sources: {
          cameras: () => beach.list().map((station) => station.healthLine()),
          link: () => link.stats(),
          vision: () => ({
            stats: serving.stats(),
            provider: serving.report?.provider ?? null,
            pid: serving.pid,
          }),
          outbox: () => store.outbox.stats(),
          model: () => ({
            name: serving.model?.name ?? null,
            version: serving.model?.version ?? null,
            digest: serving.model?.digest ?? null,
            phase: models.state().phase,
            trusted: serving.trusted,
          }),
          clock: () => time.state(),
          store: () => store.failure(),
        },
        sink: deps.sink,
      },
    );
  }

  /** Begins to watch, with the first heartbeat: `health` has an answer from then on, and the birth a state. */
  async start(signal: AbortSignal): Promise<void> {
    this.#liveness.start(signal);
    await this.heartbeat.beat();
  }

  /** The agent serves: a service manager that asked for it is told, and from then on that it is alive. */
  async tellServiceManager(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> {
    this.#watchdog = await Watchdog.open(env, { clock: this.#clock, isAlive: () => this.alive() });
    this.#watchdog?.start(signal);
  }

  /** The end that comes is followed by a new start. */
  startsAnew(): void {
    this.#watchdog?.startsAnew();
  }

  /** The newest heartbeat. Not before `start`. */
  health(): Health {
    const health = this.heartbeat.latest;
    if (!health) throw new Error('no heartbeat was taken yet');
    return health;
  }

  /** The main loop and the vision process made progress lately. */
  alive(): boolean {
    return this.#liveness.report().alive;
  }
}
