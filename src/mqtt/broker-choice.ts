import type { ConnectFailure } from './connect-failure.ts';

interface Broker {
  readonly url: string;
  version: 4 | 5;
  hangUps: number;
  refused: boolean;
}

/** Silent ends in a row before the other version of MQTT is tried. */
const HANG_UPS_PER_VERSION = 2;

/** Which broker to try next, and in which version of MQTT. Each failure goes on to the next address in turn. */
export class BrokerChoice {
  readonly #brokers: readonly Broker[];
  readonly #mayFallBack: boolean;
  #index = 0;
  #told = false;

  constructor(urls: readonly string[], version: 4 | 5) {
    this.#brokers = urls.map((url) => ({ url, version, hangUps: 0, refused: false }));
    this.#mayFallBack = version === 5;
  }

  current(): { readonly url: string; readonly protocolVersion: 4 | 5 } {
    const broker = this.#current();
    return { url: broker.url, protocolVersion: broker.version };
  }

  /** When to try again: at once in the older version, after the usual delay, or slowly when every broker refuses. */
  failed(kind: ConnectFailure['kind']): 'at_once' | 'usual' | 'slowly' {
    const broker = this.#current();
    broker.refused = kind === 'refused';
    if (kind === 'version' && this.#mayFallBack && broker.version === 5) {
      broker.version = 4;
      return 'at_once';
    }
    if (kind === 'hung_up' && this.#mayFallBack) {
      broker.hangUps += 1;
      if (broker.hangUps % HANG_UPS_PER_VERSION === 0) broker.version = broker.version === 5 ? 4 : 5;
    }
    this.#index = (this.#index + 1) % this.#brokers.length;
    return this.#brokers.every(({ refused }) => refused) ? 'slowly' : 'usual';
  }

  /** True once per series of failures: the refusal is worth an event. */
  firstRefusal(): boolean {
    const first = !this.#told;
    this.#told = true;
    return first;
  }

  /** Connected: what failed before is forgotten, and after a loss the first address comes first again. */
  succeeded(): void {
    const broker = this.#current();
    broker.hangUps = 0;
    broker.refused = false;
    this.#told = false;
    this.#index = 0;
  }

  #current(): Broker {
    const broker = this.#brokers[this.#index];
    if (!broker) throw new RangeError('no broker is configured');
    return broker;
  }
}
