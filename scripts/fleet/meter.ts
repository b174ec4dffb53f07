import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { percentiles } from '../percentiles.ts';

/** Of each kind of message; later ones are not measured. */
const MAX_LATENCIES = 200_000;

/** Sequence numbers of one camera. */
interface Stream {
  highestSeq: number;
  readonly seqs: Set<number>;
}

export interface FleetStats {
  /** Count by the last level of the topic. */
  readonly messages: Readonly<Record<string, number>>;
  readonly bytes: number;
  /** From the time in the message to its arrival, ms. */
  readonly latencyMs: Readonly<Record<'observation' | 'health', { p50: number; p99: number; max: number }>>;
  readonly observations: number;
  readonly duplicates: number;
  /** Sequence numbers below the highest of each camera that did not arrive. */
  readonly missing: number;
  readonly online: number;
}

/** Subscribes to all topics of a fleet; counts the messages and measures their latency. One clock for all. */
export class FleetMeter {
  readonly #client: MqttClient;
  readonly #messages = new Map<string, number>();
  readonly #latencyMs = { observation: [] as number[], health: [] as number[] };
  readonly #streams = new Map<string, Stream>();
  readonly #online = new Set<string>();
  #bytes = 0;
  #duplicates = 0;

  static async open(url: string, filter: string, options: IClientOptions): Promise<FleetMeter> {
    const client = await connectAsync(url, { ...options, protocolVersion: 5 });
    const meter = new FleetMeter(client);
    await client.subscribeAsync(filter, { qos: 1 });
    return meter;
  }

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on('message', (topic, payload) => this.#receive(topic, payload));
  }

  /** Resets counts and latencies, but keeps the sequence numbers. */
  restart(): void {
    this.#messages.clear();
    this.#latencyMs.observation = [];
    this.#latencyMs.health = [];
    this.#bytes = 0;
  }

  stats(): FleetStats {
    let missing = 0;
    let observations = 0;
    for (const { highestSeq, seqs } of this.#streams.values()) {
      observations += seqs.size;
      missing += highestSeq - seqs.size;
    }
    return {
      messages: Object.fromEntries([...this.#messages].sort()),
      bytes: this.#bytes,
      latencyMs: {
        observation: percentiles(this.#latencyMs.observation),
        health: percentiles(this.#latencyMs.health),
      },
      observations,
      duplicates: this.#duplicates,
      missing,
      online: this.#online.size,
    };
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true);
  }

  #receive(topic: string, payload: Buffer): void {
    const levels = topic.split('/');
    const name = levels.at(-1) ?? '';
    // `{base}/{site}/{device}/camera/{id}/observation`: sequence numbers are per camera.
    const camera = levels.slice(0, -1).join('/');
    this.#messages.set(name, (this.#messages.get(name) ?? 0) + 1);
    this.#bytes += payload.length;
    if (name === 'status') this.#receiveStatus(topic, payload);
    else if (name === 'health') this.#measureLatency('health', payload, 'at');
    else if (name === 'observation' || name === 'backfill') this.#receiveRecord(camera, name, payload);
  }

  #receiveStatus(topic: string, payload: Buffer): void {
    const { state } = JSON.parse(payload.toString()) as { state: string };
    if (state === 'online') this.#online.add(topic);
    else this.#online.delete(topic);
  }

  #receiveRecord(camera: string, name: 'observation' | 'backfill', payload: Buffer): void {
    const { seq } = JSON.parse(payload.toString()) as { seq: number };
    const stream = this.#streams.get(camera) ?? { highestSeq: 0, seqs: new Set() };
    this.#streams.set(camera, stream);
    if (stream.seqs.has(seq)) this.#duplicates += 1;
    stream.seqs.add(seq);
    stream.highestSeq = Math.max(stream.highestSeq, seq);
    if (name === 'observation') this.#measureLatency('observation', payload, 'published_at');
  }

  #measureLatency(kind: 'observation' | 'health', payload: Buffer, field: 'at' | 'published_at'): void {
    const message = JSON.parse(payload.toString()) as Record<string, string>;
    const list = this.#latencyMs[kind];
    if (list.length < MAX_LATENCIES) list.push(Date.now() - Date.parse(message[field] ?? ''));
  }
}
