import { connect, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import type { Observation } from '../../src/contract/observation.ts';
import type { Event, Status } from '../../src/contract/states.ts';
import { contractFault } from '../fixtures/contract.ts';
import { until } from '../fixtures/mosquitto.ts';

export const PREFIX = 'swellsight/v1/surf/dev-1/';

export interface Seen {
  /** Below the device's own topic. */
  readonly topic: string;
  readonly payload: Buffer;
  readonly packet: IPublishPacket;
  /** `performance.now()` of its arrival. */
  readonly atMs: number;
}

/** What one camera's stream came to. */
export interface Stream {
  readonly records: readonly Observation[];
  readonly unique: number;
  readonly highest: number;
  /** Numbers from 1 to the highest that never came. */
  readonly missing: readonly number[];
  /** Ids that came with two different records. */
  readonly changed: readonly string[];
}

/** A client that knows nothing of the agent but its topics: keeps everything that it sees, across lost connections. */
export class Observer {
  readonly seen: Seen[] = [];
  readonly client: MqttClient;

  /** Resolves when the subscription is granted; with an embedded broker that is when the agent is there. */
  static async open(urls: readonly string[], options: IClientOptions): Promise<Observer> {
    const observer = new Observer(urls, options);
    await new Promise<void>((resolve) => observer.client.once('connect', () => resolve()));
    await observer.client.subscribeAsync(`${PREFIX}#`, { qos: 1, rap: true });
    return observer;
  }

  private constructor(urls: readonly string[], options: IClientOptions) {
    this.client = connect({
      // One after another, at each attempt.
      servers: urls.map((url) => ({
        host: new URL(url).hostname,
        port: Number(new URL(url).port),
        protocol: 'mqtt' as const,
      })),
      reconnectPeriod: 200,
      reconnectOnConnackError: true,
      keepalive: 5,
      ...options,
    });
    this.client.on('error', () => undefined);
    this.client.on('message', (topic, payload, packet) =>
      this.seen.push({ topic: topic.slice(PREFIX.length), payload, packet, atMs: performance.now() }),
    );
  }

  /** Messages on topics that fit, from the `from`th on. */
  on(topic: RegExp, from = 0): readonly Seen[] {
    return this.seen.slice(from).filter((one) => topic.test(one.topic));
  }

  statuses(from = 0): readonly Status[] {
    return this.on(/^status$/, from).map(({ payload }) => json<Status>(payload));
  }

  events(from = 0): readonly Event[] {
    return this.on(/^event\//, from).map(({ payload }) => json<Event>(payload));
  }

  answers(id: string, from = 0): readonly (Record<string, unknown> & { readonly topic: string })[] {
    return this.on(/^cmdres\//, from)
      .map(({ topic, payload }) => ({ topic, ...json<Record<string, unknown>>(payload) }))
      .filter((answer) => 'id' in answer && answer.id === id);
  }

  /** Records of a camera in the order of their arrival; live, backfill, or both. */
  records(
    camera: string,
    kind: 'observation' | 'backfill' | 'observation|backfill',
    from = 0,
  ): Observation[] {
    return this.on(new RegExp(`^camera/${camera}/(${kind})$`), from).map(({ payload }) => json(payload));
  }

  stream(camera: string): Stream {
    const records = this.records(camera, 'observation|backfill');
    const bodies = new Map<string, Set<string>>();
    for (const record of records) {
      // All but what is filled in when it is sent.
      const body = JSON.stringify({ ...record, published_at: null, historical: null });
      bodies.set(record.id, (bodies.get(record.id) ?? new Set()).add(body));
    }
    const numbers = new Set(records.map(({ seq }) => seq));
    const highest = Math.max(0, ...numbers);
    const wanted = Array.from({ length: highest }, (_, index) => index + 1);
    return {
      records,
      unique: bodies.size,
      highest,
      missing: wanted.filter((seq) => !numbers.has(seq)),
      changed: [...bodies].filter(([, each]) => each.size > 1).map(([id]) => id),
    };
  }

  /** What does not keep to the contract's schemas. */
  faults(): readonly string[] {
    return this.seen
      .filter(({ topic, payload }) => !topic.startsWith('cmd/') && payload.length > 0)
      .map(({ topic, payload }) => contractFault(PREFIX + topic, payload))
      .filter((fault) => fault !== null);
  }

  command(
    name: string,
    message: unknown,
    options: Parameters<MqttClient['publishAsync']>[2] = {},
  ): Promise<unknown> {
    const payload = message instanceof Uint8Array ? Buffer.from(message) : JSON.stringify(message);
    return this.client.publishAsync(`${PREFIX}cmd/${name}`, payload, { qos: 1, ...options });
  }

  /** The final answer to a command: its receipt when that rejects it, its result otherwise. */
  result(id: string, from = 0): Promise<Record<string, unknown> & { readonly topic: string }> {
    return until(
      () => this.answers(id, from).find((answer) => answer['status'] !== 'accepted'),
      `the answer to ${id}`,
      60_000,
    );
  }

  close(): void {
    this.client.end(true);
  }
}

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller names what the schema check proves
export const json = <T>(payload: Buffer): T => JSON.parse(payload.toString('utf8')) as T;
