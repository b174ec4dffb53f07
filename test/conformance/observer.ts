import { connect, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import type { Observation } from '../../src/contract/observation.ts';
import type { Event, Status } from '../../src/contract/states.ts';
import { contractFault } from '../fixtures/contract.ts';
import { until } from '../fixtures/mosquitto.ts';

export const PREFIX = 'swellsight/v1/surf/dev-1/';

export interface ReceivedMessage {
  /** Without the device's prefix. */
  readonly topic: string;
  readonly payload: Buffer;
  readonly packet: IPublishPacket;
  /** `performance.now()` of its arrival. */
  readonly atMs: number;
}

/** The received records of one camera. */
export interface Stream {
  readonly records: readonly Observation[];
  readonly uniqueCount: number;
  readonly highest: number;
  /** Sequence numbers from 1 to the highest that did not arrive. */
  readonly missing: readonly number[];
  /** Ids that arrived with two different records. */
  readonly changedIds: readonly string[];
}

/** A client that knows only the agent's topics. It keeps every message, across lost connections. */
export class Observer {
  readonly messages: ReceivedMessage[] = [];
  readonly client: MqttClient;

  /** Resolves when the subscription is granted; an embedded broker must have started first. */
  static async open(urls: readonly string[], options: IClientOptions): Promise<Observer> {
    const observer = new Observer(urls, options);
    await new Promise<void>((resolve) => observer.client.once('connect', () => resolve()));
    await observer.client.subscribeAsync(`${PREFIX}#`, { qos: 1, rap: true });
    return observer;
  }

  private constructor(urls: readonly string[], options: IClientOptions) {
    this.client = connect({
      // Tried one after another at each attempt.
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
      this.messages.push({ topic: topic.slice(PREFIX.length), payload, packet, atMs: performance.now() }),
    );
  }

  /** Messages on matching topics, from index `from`. */
  on(topic: RegExp, from = 0): readonly ReceivedMessage[] {
    return this.messages.slice(from).filter((one) => topic.test(one.topic));
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

  /** Records of a camera in order of arrival: live, backfill, or both. */
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
      // Without the fields that the agent sets when it sends the record.
      const body = JSON.stringify({ ...record, published_at: null, historical: null });
      bodies.set(record.id, (bodies.get(record.id) ?? new Set()).add(body));
    }
    const numbers = new Set(records.map(({ seq }) => seq));
    const highest = Math.max(0, ...numbers);
    const expected = Array.from({ length: highest }, (_, index) => index + 1);
    return {
      records,
      uniqueCount: bodies.size,
      highest,
      missing: expected.filter((seq) => !numbers.has(seq)),
      changedIds: [...bodies].filter(([, forms]) => forms.size > 1).map(([id]) => id),
    };
  }

  /** Messages that do not match the contract's schemas. */
  contractFaults(): readonly string[] {
    return this.messages
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

  /** The final answer to a command: the receipt when it rejects the command, else the result. */
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
