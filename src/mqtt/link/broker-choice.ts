import type { ConnectFailure } from './connect-failure.ts';
import type { Goodbye } from './disconnect-reason.ts';

interface Broker {
  readonly url: string;
  version: 4 | 5;
  /** When the older version was taken, by the monotonic clock. */
  fellBackMonoMs: number;
  hangUps: number;
  standing: Standing;
}

/** What a broker last said: nothing, or why it does not want us. */
type Standing = 'fine' | 'refused' | 'pressed';

/** When to try again. */
export type Pace = 'at_once' | 'usual' | 'slowly' | 'pressed';

/** A broker may be renewed, and a network may have been at fault: the newer version is tried again so often. */
const RETRY_NEWER_MS = 3_600_000;
/** Silent ends in a row before the other version of MQTT is tried. */
const HANG_UPS_PER_VERSION = 2;

/** Which broker to try next, and in which version of MQTT. Each failure goes on to the next address in turn. */
export class BrokerChoice {
  readonly #brokers: readonly Broker[];
  readonly #mayFallBack: boolean;
  readonly #monoMs: () => number;
  #index = 0;

  constructor(urls: readonly string[], version: 4 | 5, monoMs: () => number = () => 0) {
    this.#brokers = urls.map((url) => ({ url, version, fellBackMonoMs: 0, hangUps: 0, standing: 'fine' }));
    this.#mayFallBack = version === 5;
    this.#monoMs = monoMs;
  }

  current(): { readonly url: string; readonly protocolVersion: 4 | 5 } {
    const broker = this.#current();
    return { url: broker.url, protocolVersion: broker.version };
  }

  /** The attempt failed. */
  failed(kind: ConnectFailure['kind']): Pace {
    const broker = this.#current();
    if (kind === 'version' && this.#mayFallBack && broker.version === 5) {
      this.#use(broker, 4);
      return 'at_once';
    }
    if (kind === 'hung_up' && this.#mayFallBack) {
      broker.hangUps += 1;
      if (broker.hangUps % HANG_UPS_PER_VERSION === 0) this.#use(broker, broker.version === 5 ? 4 : 5);
    }
    return this.#next(standingAfter(kind));
  }

  /** The broker took us. */
  succeeded(): void {
    const broker = this.#current();
    broker.hangUps = 0;
    broker.standing = 'fine';
  }

  /** The link is lost. After a stable one the first address comes first again, after another the next one in turn. */
  lost(stable: boolean, kind: Goodbye): Pace {
    const broker = this.#current();
    const fellBack = this.#mayFallBack && broker.version === 4;
    if (fellBack && this.#monoMs() - broker.fellBackMonoMs > RETRY_NEWER_MS) broker.version = 5;
    const pace = this.#next(standingAfter(kind));
    if (stable && broker.standing === 'fine') this.#index = 0;
    return pace;
  }

  #use(broker: Broker, version: 4 | 5): void {
    broker.version = version;
    broker.fellBackMonoMs = this.#monoMs();
  }

  #next(standing: Standing): Pace {
    this.#current().standing = standing;
    this.#index = (this.#index + 1) % this.#brokers.length;
    if (this.#brokers.some((broker) => broker.standing === 'fine')) return 'usual';
    return this.#brokers.every((broker) => broker.standing === 'refused') ? 'slowly' : 'pressed';
  }

  #current(): Broker {
    const broker = this.#brokers[this.#index];
    if (!broker) throw new RangeError('no broker is configured');
    return broker;
  }
}

const standingAfter = (kind: ConnectFailure['kind'] | Goodbye): Standing =>
  kind === 'refused' ? 'refused' : kind === 'pressed' || kind === 'moved' ? 'pressed' : 'fine';
