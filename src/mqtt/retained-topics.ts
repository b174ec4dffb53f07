import { asAgentError, type AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { KeyValue } from '../store/types.ts';
import type { Topics } from './topics.ts';

export interface RetainedTopicsDeps {
  readonly topics: Topics;
  readonly log: Log;
  /** Without it, the topics are remembered until the end of the process. */
  readonly memory?: KeyValue;
  readonly store?: { readonly id: string };
}

/** What is stored. By broker (host:port) and by the prefix of the device there: topics relative to the prefix. */
interface Stored {
  readonly store_id: string | null;
  readonly brokers: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}

interface Place {
  readonly prefix: string;
  readonly topic: string;
}

const KEY = 'mqtt.retained';
/** More brokers than an agent has. Those that were used first are forgotten. */
const MAX_BROKERS = 8;
/** After this many lost connections while topics of a former name were cleared, the broker does not allow it. */
const MAX_LOSSES = 2;

/**
 * Remembers on which topics each broker retains a message of this device, also under its former names, and clears those
 * that are out of date: of removed cameras, and of a former site, device or base. Stored only when the set changes.
 *
 * Topics of former names are forgotten, not cleared, when the state directory is a copy: they belong to the device that
 * it was copied from.
 */
export class RetainedTopics {
  readonly #deps: RetainedTopicsDeps;
  readonly #prefix: string;
  readonly #brokers: Map<string, Map<string, Set<string>>>;
  #losses = 0;

  constructor(deps: RetainedTopicsDeps) {
    this.#deps = deps;
    this.#prefix = deps.topics.prefix;
    this.#brokers = this.#read();
  }

  /** Call it before these topics of the device are published. */
  add(broker: string, topics: readonly string[]): void {
    const prefixes = this.#brokers.get(broker) ?? this.#topicsOfAll();
    const known = prefixes.get(this.#prefix) ?? new Set<string>();
    const added = topics.filter((topic) => !known.has(topic));
    if (added.length === 0 && this.#brokers.has(broker)) return;
    this.#brokers.set(broker, prefixes.set(this.#prefix, new Set([...known, ...added])));
    for (const [first] of [...this.#brokers].slice(0, -MAX_BROKERS)) this.#brokers.delete(first);
    this.#save();
  }

  /** What a new broker may retain: it may be a former one under another address. */
  #topicsOfAll(): Map<string, Set<string>> {
    const all = new Map<string, Set<string>>();
    for (const prefixes of this.#brokers.values())
      for (const [prefix, topics] of prefixes)
        all.set(prefix, new Set([...(all.get(prefix) ?? []), ...topics]));
    return all;
  }

  /** Call it when the broker has acknowledged that it cleared a topic of the device. */
  remove(broker: string, topic: string): void {
    this.#forget(broker, [{ prefix: this.#prefix, topic }]);
  }

  /**
   * Clears the topics on this broker that are out of date, one after the other. `isCurrent`: the device publishes on this
   * topic now. `clear` gets absolute topics. Does not reject: what fails because of the connection is cleared after
   * a later connect.
   */
  async clearOutdated(
    broker: string,
    isCurrent: (topic: string) => boolean,
    clear: (topic: string) => Promise<void>,
  ): Promise<void> {
    const done: Place[] = [];
    const outdated = this.#outdated(broker, isCurrent);
    let failure: AgentError | null = null;
    for (const place of outdated) {
      // A camera may have been added again.
      if (place.prefix === this.#prefix && isCurrent(place.topic)) continue;
      try {
        await clear(place.prefix + place.topic);
      } catch (thrown) {
        failure = asAgentError(thrown);
        if (failure.retryable) break;
      }
      done.push(place);
    }
    const { log } = this.#deps;
    if (failure?.retryable === true && failure.code !== 'mqtt_busy') this.#losses += 1;
    const gaveUp = failure !== null && (!failure.retryable || this.#losses >= MAX_LOSSES);
    this.#forget(broker, gaveUp ? outdated : done);
    const fields = {
      broker,
      topics: outdated.length,
      prefixes: [...new Set(outdated.map(({ prefix }) => prefix))],
    };
    if (gaveUp)
      log.warn(
        { ...fields, code: failure?.code },
        'the broker does not let the device clear retained topics; clear them with `swellsight fleet forget`',
      );
    else if (done.length > 0) log.info(fields, 'cleared retained topics that are out of date');
  }

  /** The status comes last: another device that has this name now sees that, and publishes all of its states again. */
  #outdated(broker: string, isCurrent: (topic: string) => boolean): readonly Place[] {
    return [...(this.#brokers.get(broker) ?? [])].flatMap(([prefix, topics]) =>
      [...topics]
        .filter((topic) => prefix !== this.#prefix || !isCurrent(topic))
        .sort((a, b) => Number(a === 'status') - Number(b === 'status'))
        .map((topic) => ({ prefix, topic })),
    );
  }

  #forget(broker: string, places: readonly Place[]): void {
    const prefixes = this.#brokers.get(broker);
    const forgotten = places.filter(({ prefix, topic }) => prefixes?.get(prefix)?.delete(topic));
    if (!prefixes || forgotten.length === 0) return;
    for (const [prefix, topics] of prefixes) if (topics.size === 0) prefixes.delete(prefix);
    if (prefixes.size === 0) this.#brokers.delete(broker);
    this.#save();
  }

  #read(): Map<string, Map<string, Set<string>>> {
    const { memory, store, log } = this.#deps;
    try {
      const text = memory?.get(KEY) ?? null;
      if (text === null) return new Map();
      const { store_id, brokers } = JSON.parse(text) as Stored;
      const isCopy = store_id !== null && store_id !== (store?.id ?? null);
      return new Map(
        Object.entries(brokers).map(([broker, prefixes]) => [
          broker,
          new Map(
            Object.entries(prefixes)
              .filter(([prefix]) => !isCopy || prefix === this.#prefix)
              .map(([prefix, topics]) => [prefix, new Set(topics)]),
          ),
        ]),
      );
    } catch (thrown) {
      // Also when another version of the agent has written something else.
      log.warn({ code: asAgentError(thrown).code }, 'cannot read which topics are retained');
      return new Map();
    }
  }

  #save(): void {
    const brokers = [...this.#brokers].map(([broker, prefixes]) => [
      broker,
      Object.fromEntries([...prefixes].map(([prefix, topics]) => [prefix, [...topics]])),
    ]);
    const stored = {
      store_id: this.#deps.store?.id ?? null,
      brokers: Object.fromEntries(brokers) as Stored['brokers'],
    };
    try {
      this.#deps.memory?.set(KEY, JSON.stringify(stored));
    } catch (thrown) {
      this.#deps.log.warn({ code: asAgentError(thrown).code }, 'cannot store which topics are retained');
    }
  }
}
