import type { Clock } from '../../base/clock.ts';
import { Backoff } from '../../base/retry.ts';
import { BrokerFeatures, type OmittedFeatures, type SessionLoss } from './broker-features.ts';
import type { ConnectFailure, DisconnectReason } from './failures.ts';
import type { LinkTuning } from './options.ts';

interface Broker {
  readonly url: string;
  version: 4 | 5;
  /** Monotonic time of the last change of the version. */
  versionChangedMonoMs: number;
  readonly features: BrokerFeatures;
  /** Monotonic time of the last change of the omitted features; Infinity when none is omitted. */
  omittedMonoMs: number;
  lastAnswer: LastAnswer;
}

export interface BrokerAddress {
  readonly url: string;
  readonly protocolVersion: 4 | 5;
  /** What the link does without, because the broker does not support it. */
  readonly omitted: OmittedFeatures;
}

/** The last answer of a broker. `accepted` is also the value before the first answer, and when it was unreachable. */
type LastAnswer = 'accepted' | 'refused' | 'busy';

/** Which series of delays applies before the next connection attempt; `immediate`: no delay. */
export type RetryPace = 'immediate' | 'normal' | 'refused' | 'busy' | 'conflict';

/**
 * After a fallback to MQTT 3.1.1, or without a feature, the link tries everything again when this time has passed: the
 * cause may have been the network, or the broker may have been updated.
 */
const RETRY_NEWER_MS = 3_600_000;

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
      features: new BrokerFeatures(),
      omittedMonoMs: Infinity,
      lastAnswer: 'accepted',
    }));
    this.#mayFallBack = version === 5;
    this.#monoMs = monoMs;
  }

  current(): BrokerAddress {
    const broker = this.#current();
    return { url: broker.url, protocolVersion: broker.version, omitted: broker.features.omitted };
  }

  /** Call after a failed connection attempt. */
  failed(kind: ConnectFailure['kind'], reasonCode: number | null = null): RetryPace {
    const broker = this.#current();
    if (reasonCode !== null && broker.features.refused(reasonCode)) return this.#omitted(broker);
    if (kind === 'version' && this.#mayFallBack && broker.version === 5) {
      this.#setVersion(broker, 4);
      return 'immediate';
    }
    if (kind === 'hung_up') {
      const version = broker.features.hungUp(this.#mayFallBack ? null : 4);
      if (version !== broker.version) this.#setVersion(broker, version);
      broker.omittedMonoMs = this.#monoMs();
    }
    return this.#next(lastAnswerOf(kind));
  }

  /** Call after CONNACK. */
  succeeded(): void {
    const broker = this.#current();
    broker.features.connected();
    broker.lastAnswer = 'accepted';
  }

  /**
   * Call at the end of a session, before `lost`. Returns a pace when the broker does not support something that the next
   * attempt omits; otherwise null.
   */
  learn(loss: SessionLoss): RetryPace | null {
    const broker = this.#current();
    if (this.#monoMs() - broker.omittedMonoMs > RETRY_NEWER_MS) {
      broker.features.reset();
      broker.omittedMonoMs = Infinity;
    }
    return broker.features.lost(loss) ? this.#omitted(broker) : null;
  }

  #omitted(broker: Broker): RetryPace {
    broker.omittedMonoMs = this.#monoMs();
    return 'immediate';
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
