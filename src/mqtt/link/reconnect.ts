import type { Clock } from '../../base/clock.ts';
import { Backoff } from '../../base/retry.ts';
import type { ConnectFailure, DisconnectReason } from './failures.ts';
import type { LinkTuning } from './options.ts';

interface Broker {
  readonly url: string;
  version: 4 | 5;
  /** Monotonic time of the last change of the version. */
  versionChangedMonoMs: number;
  hangUps: number;
  lastAnswer: LastAnswer;
}

export interface BrokerAddress {
  readonly url: string;
  readonly protocolVersion: 4 | 5;
}

/** The last answer of a broker. `accepted` is also the value before the first answer, and when it was unreachable. */
type LastAnswer = 'accepted' | 'refused' | 'busy';

/** Which series of delays applies before the next connection attempt; `immediate`: no delay. */
export type RetryPace = 'immediate' | 'normal' | 'refused' | 'busy' | 'conflict';

/**
 * After a fallback to MQTT 3.1.1, the link tries MQTT 5 again when this time has passed: the cause may have been the
 * network, or the broker may have been updated.
 */
const RETRY_NEWER_MS = 3_600_000;
/** After this many connections in a row that the broker closed before CONNACK, the other version of MQTT is tried. */
const HANG_UPS_PER_VERSION = 2;

/** Chooses the broker and the version of MQTT for the next attempt. After each failure, it chooses the next address. */
export class BrokerChoice {
  readonly #brokers: readonly Broker[];
  readonly #mayFallBack: boolean;
  readonly #monoMs: () => number;
  #index = 0;

  constructor(urls: readonly string[], version: 4 | 5, monoMs: () => number = () => 0) {
    this.#brokers = urls.map((url) => ({
      url,
      version,
      versionChangedMonoMs: 0,
      hangUps: 0,
      lastAnswer: 'accepted',
    }));
    this.#mayFallBack = version === 5;
    this.#monoMs = monoMs;
  }

  current(): BrokerAddress {
    const broker = this.#current();
    return { url: broker.url, protocolVersion: broker.version };
  }

  /** Call after a failed connection attempt. */
  failed(kind: ConnectFailure['kind']): RetryPace {
    const broker = this.#current();
    if (kind === 'version' && this.#mayFallBack && broker.version === 5) {
      this.#setVersion(broker, 4);
      return 'immediate';
    }
    if (kind === 'hung_up' && this.#mayFallBack) {
      broker.hangUps += 1;
      if (broker.hangUps % HANG_UPS_PER_VERSION === 0) this.#setVersion(broker, broker.version === 5 ? 4 : 5);
    }
    return this.#next(lastAnswerOf(kind));
  }

  /** Call after CONNACK. */
  succeeded(): void {
    const broker = this.#current();
    broker.hangUps = 0;
    broker.lastAnswer = 'accepted';
  }

  /**
   * Call after the loss of a connection. After a stable connection, chooses the first address; otherwise the next one.
   */
  lost(isStable: boolean, reason: DisconnectReason): RetryPace {
    const broker = this.#current();
    const fellBack = this.#mayFallBack && broker.version === 4;
    if (fellBack && this.#monoMs() - broker.versionChangedMonoMs > RETRY_NEWER_MS) broker.version = 5;
    const pace = this.#next(lastAnswerOf(reason));
    if (isStable && broker.lastAnswer === 'accepted') this.#index = 0;
    return pace;
  }

  #setVersion(broker: Broker, version: 4 | 5): void {
    broker.version = version;
    broker.versionChangedMonoMs = this.#monoMs();
  }

  #next(lastAnswer: LastAnswer): RetryPace {
    this.#current().lastAnswer = lastAnswer;
    this.#index = (this.#index + 1) % this.#brokers.length;
    if (this.#brokers.some((broker) => broker.lastAnswer === 'accepted')) return 'normal';
    return this.#brokers.every((broker) => broker.lastAnswer === 'refused') ? 'refused' : 'busy';
  }

  #current(): Broker {
    const broker = this.#brokers[this.#index];
    if (!broker) throw new RangeError('no broker is configured');
    return broker;
  }
}

function lastAnswerOf(kind: ConnectFailure['kind'] | DisconnectReason): LastAnswer {
  if (kind === 'refused') return 'refused';
  return kind === 'busy' || kind === 'moved' ? 'busy' : 'accepted';
}

const HOUR_MS = 3_600_000;

/**
 * Counts the connections, and chooses the delay before the next connection. Each pace has its own series of growing
 * random delays; a stable connection resets all series.
 */
export class Reconnects {
  readonly #series: Readonly<Record<Exclude<RetryPace, 'immediate'>, Backoff>>;
  readonly #maxRenewalDelayMs: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  #connections = 0;
  #reconnectsMonoMs: readonly number[] = [];

  constructor(tuning: LinkTuning, deps: { readonly clock: Clock; readonly random?: () => number }) {
    const { clock, random = Math.random } = deps;
    this.#series = {
      normal: new Backoff(tuning.backoff, { clock, random }),
      refused: new Backoff(tuning.refusedBackoff, { clock, random }),
      busy: new Backoff(tuning.busyBackoff, { clock, random }),
      conflict: new Backoff(tuning.conflictBackoff, { clock, random }),
    };
    this.#maxRenewalDelayMs = tuning.backoff.minMs;
    this.#clock = clock;
    this.#random = random;
  }

  /** Call at the start of each connection. */
  connected(): void {
    for (const series of Object.values(this.#series)) series.started();
    if (this.#connections > 0) this.#reconnectsMonoMs = [...this.#ofLastHour(), this.#clock.monoMs()];
    this.#connections += 1;
  }

  get connections(): number {
    return this.#connections;
  }

  get countOfLastHour(): number {
    return this.#ofLastHour().length;
  }

  nextDelayMs(pace: RetryPace): number {
    return pace === 'immediate' ? 0 : this.#series[pace].nextMs();
  }

  /** The delay after the link closed its own connection to renew the certificate. */
  renewalDelayMs(): number {
    return this.#random() * this.#maxRenewalDelayMs;
  }

  #ofLastHour(): readonly number[] {
    const nowMs = this.#clock.monoMs();
    return this.#reconnectsMonoMs.filter((ms) => nowMs - ms < HOUR_MS);
  }
}
