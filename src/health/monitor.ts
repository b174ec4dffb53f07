import type { CameraSet } from '../observation/cameras.ts';
import type { Clock } from '../base/clock.ts';
import type { Settings } from '../config/schema.ts';
import type { Health } from '../contract/health.ts';
import { Heartbeat } from './heartbeat.ts';
import { Liveness } from './liveness.ts';
import { Watchdog } from './watchdog.ts';
import type { Log } from '../base/log.ts';
import type { ModelLifecycle } from '../model/lifecycle.ts';
import type { Link } from '../mqtt/types.ts';
import type { ModelServer } from '../serving/model-server.ts';
import type { Store } from '../store/store.ts';
import type { TimeSync } from './time-sync.ts';

const MAIN_LOOP_SILENCE_MS = 30_000;
/** Beside two whole deadlines: room for a restart with its backoff. */
const VISION_SILENCE_MS = 120_000;

export interface HealthMonitorOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly bootId: string;
}

export interface HealthMonitorDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly serving: ModelServer;
  readonly models: ModelLifecycle;
  readonly cameraSet: CameraSet;
  readonly link: Link;
  readonly store: Store;
  readonly time: TimeSync;
  /** Takes each heartbeat. */
  readonly sink: (health: Health) => void;
}

/** Whether the agent is well: the heartbeat that says how, and the watchdogs that act when it is not. */
export class HealthMonitor {
  readonly heartbeat: Heartbeat;
  readonly #liveness: Liveness;
  readonly #clock: Clock;
  #watchdog: Watchdog | null = null;

  constructor({ settings, version, bootId }: HealthMonitorOptions, deps: HealthMonitorDeps) {
    const { clock, serving, models, cameraSet, link, store, time } = deps;
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
          cameras: () => cameraSet.list().map((runner) => runner.healthLine()),
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
          store: () => store.failureCode(),
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
