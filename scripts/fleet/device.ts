import { randomUUID } from 'node:crypto';
import { isoTime, type Clock } from '../../src/base/clock.ts';
import type { Health } from '../../src/contract/health.ts';
import type { Log } from '../../src/base/log.ts';
import { Forwarder } from '../../src/mqtt/forward/forwarder.ts';
import { MqttLink } from '../../src/mqtt/link/link.ts';
import type { LinkOptions } from '../../src/mqtt/link/options.ts';
import { Topics } from '../../src/mqtt/topics.ts';
import { Store } from '../../src/store/store.ts';
import { SimulatedAgents, type AgentsOptions } from './agents.ts';
import { SimulatedInstalls, type InstallsOptions } from './installs.ts';
import {
  makeCameraState,
  makeHealth,
  makeInfo,
  MODEL_STATE,
  SimulatedSea,
  type Identity,
} from './messages.ts';

export interface DeviceOptions {
  readonly mqtt: LinkOptions['mqtt'];
  readonly base: string;
  readonly site: string;
  readonly device: string;
  readonly stateDir: string;
  readonly everyS: number;
  readonly heartbeatS: number;
  readonly installs?: InstallsOptions;
  /** Without them, the device does not update its agent. */
  readonly agents?: AgentsOptions;
}

export interface DeviceDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

const DEFAULT_INSTALLS: InstallsOptions = { phaseMs: 2000, failsWith: null };
const NO_FEATURES = { embedding: null, embeddingDigest: null, view: null };

/**
 * One device of a simulated fleet. Store, outbox, forwarder and link are the agent's own; sea and machine are simulated.
 * It observes every `everyS`, with a random phase.
 */
export class SimulatedDevice {
  readonly #options: DeviceOptions;
  readonly #deps: DeviceDeps;
  readonly #identity: Identity;
  readonly #store: Store;
  readonly #sea: SimulatedSea;
  readonly #startedMonoMs: number;
  readonly #link: MqttLink;
  readonly #forwarder: Forwarder;
  readonly #linked = new AbortController();
  readonly installs: SimulatedInstalls;
  readonly agents: SimulatedAgents | null;
  #heartbeatCount = 0;

  constructor(options: DeviceOptions, deps: DeviceDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#identity = {
      site: options.site,
      device: options.device,
      camera: 'north',
      session: randomUUID(),
      bootId: randomUUID(),
    };
    this.#store = Store.open(
      {
        stateDir: options.stateDir,
        retentionDays: 7,
        maxMb: 64,
        outbox: { maxMessages: 10_000, maxAgeDays: 7 },
      },
      deps,
    );
    this.#sea = new SimulatedSea(deps.random);
    this.#startedMonoMs = deps.clock.monoMs();
    const topics = new Topics(options);
    const common = { ...deps, raise: this.#store.raise };
    this.#link = new MqttLink(
      { mqtt: options.mqtt, session: this.#identity.session },
      {
        ...common,
        topics,
        onConnected: () => this.#forwarder.linkUp(),
        onCommand: (name, packet) => {
          if (this.agents?.receive(name, packet) !== true)
            this.installs.receive(name, packet, this.#linked.signal);
        },
      },
    );
    this.installs = new SimulatedInstalls(options.installs ?? DEFAULT_INSTALLS, {
      ...deps,
      link: this.#link,
    });
    const { agents, stateDir } = options;
    this.agents = agents
      ? new SimulatedAgents(agents, stateDir, {
          ...deps,
          store: this.#store,
          link: this.#link,
          topics,
          health: () => this.#makeHealth(),
          observe: () => this.#observe(),
        })
      : null;
    this.#forwarder = new Forwarder({}, { ...common, outbox: this.#store.outbox, link: this.#link });
  }

  /** Records stored so far, sent or not. */
  storedCount = 0;

  get isConnected(): boolean {
    return this.#link.connected;
  }

  /** Sends records and heartbeats until the signal aborts; then publishes `stopped`. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyS, heartbeatS } = this.#options;
    this.#start();
    await Promise.all([
      this.agents?.run(signal),
      this.#every(everyS, () => this.#observe(), signal),
      this.#every(heartbeatS, () => this.#sendHeartbeat(), signal),
    ]);
    await this.#link.stop();
    this.#linked.abort();
    this.#store.close();
  }

  #start(): void {
    const { clock } = this.#deps;
    const link = this.#link;
    link.setState('info', makeInfo(this.#identity, this.#options.everyS, clock));
    link.setState('model/state', MODEL_STATE);
    link.setState(`camera/${this.#identity.camera}/state`, makeCameraState(this.#identity, clock.nowMs()));
    link.start(this.#linked.signal);
    this.#forwarder.start(this.#linked.signal);
    this.#sendHeartbeat();
  }

  async #every(seconds: number, work: () => void, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    const phaseMs = random() * seconds * 1000;
    try {
      for (let n = 0; ; n += 1) {
        const dueMs = this.#startedMonoMs + phaseMs + n * seconds * 1000;
        await clock.sleep(Math.max(0, dueMs - clock.monoMs()), signal);
        work();
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  }

  #observe(): void {
    const observation = this.#store.append(
      this.#sea.makeRecord(this.#identity, this.#deps.clock),
      NO_FEATURES,
    );
    this.storedCount += 1;
    this.agents?.noteObservation();
    const published_at = isoTime(this.#deps.clock.nowMs());
    this.#link.setState(`camera/${this.#identity.camera}/latest`, { ...observation, published_at });
  }

  #sendHeartbeat(): void {
    this.#heartbeatCount += 1;
    this.#link.setState('health', this.#makeHealth(), { expiryS: 3 * this.#options.heartbeatS });
  }

  #makeHealth(): Health {
    const { everyS } = this.#options;
    const state = {
      seq: Math.max(1, this.#heartbeatCount),
      startedMonoMs: this.#startedMonoMs,
      link: this.#link.stats(),
      outbox: this.#store.outbox.stats(),
      everyS,
    };
    return makeHealth(this.#identity, state, this.#deps.clock);
  }
}
