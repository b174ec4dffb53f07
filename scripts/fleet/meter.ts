import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';

/** Latencies kept of each kind, newest last. */
const MAX_KEPT = 200_000;

interface Stream {
  highest: number;
  readonly seen: Set<number>;
}

export interface Figures {
  readonly messages: Readonly<Record<string, number>>;
  readonly bytes: number;
  /** From the moment that is written in the message to its arrival here, ms. */
  readonly latencyMs: Readonly<Record<'observation' | 'health', { p50: number; p99: number; max: number }>>;
  readonly observations: number;
  readonly duplicates: number;
  /** Numbers below the highest of each camera that did not come. */
  readonly missing: number;
  readonly online: number;
}

/** A subscriber to everything of a fleet that counts and times what comes. All clocks are this machine's. */
export class Meter {
  readonly #client: MqttClient;
  readonly #messages = new Map<string, number>();
  readonly #latencyMs = { observation: [] as number[], health: [] as number[] };
  readonly #streams = new Map<string, Stream>();
  readonly #online = new Set<string>();
  #bytes = 0;
  #duplicates = 0;

  static async open(url: string, filter: string, options: IClientOptions): Promise<Meter> {
    const client = await connectAsync(url, { ...options, protocolVersion: 5 });
    const meter = new Meter(client);
    await client.subscribeAsync(filter, { qos: 1 });
    return meter;
  }

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on('message', (topic, payload) => this.#take(topic, payload));
  }

  /** Forgets counts and times, not which numbers came. */
  restart(): void {
    this.#messages.clear();
    this.#latencyMs.observation = [];
    this.#latencyMs.health = [];
    this.#bytes = 0;
  }

  figures(): Figures {
    let missing = 0;
    let observations = 0;
    for (const { highest, seen } of this.#streams.values()) {
      observations += seen.size;
      missing += highest - seen.size;
    }
    return {
      messages: Object.fromEntries([...this.#messages].sort()),
      bytes: this.#bytes,
      latencyMs: {
        observation: spread(this.#latencyMs.observation),
        health: spread(this.#latencyMs.health),
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

  #take(topic: string, payload: Buffer): void {
    const levels = topic.split('/');
    const name = levels.at(-1) ?? '';
    // `{base}/{site}/{device}/camera/{id}/observation`: one stream of numbers for each camera.
    const camera = levels.slice(0, -1).join('/');
    this.#messages.set(name, (this.#messages.get(name) ?? 0) + 1);
    this.#bytes += payload.length;
    if (name === 'status') this.#noteStatus(topic, payload);
    else if (name === 'health') this.#time('health', payload, 'at');
    else if (name === 'observation' || name === 'backfill') this.#note(camera, name, payload);
  }

  #noteStatus(topic: string, payload: Buffer): void {
    const { state } = JSON.parse(payload.toString()) as { state: string };
    if (state === 'online') this.#online.add(topic);
    else this.#online.delete(topic);
  }

  #note(camera: string, name: 'observation' | 'backfill', payload: Buffer): void {
    const { seq } = JSON.parse(payload.toString()) as { seq: number };
    const stream = this.#streams.get(camera) ?? { highest: 0, seen: new Set() };
    this.#streams.set(camera, stream);
    if (stream.seen.has(seq)) this.#duplicates += 1;
    stream.seen.add(seq);
    stream.highest = Math.max(stream.highest, seq);
    if (name === 'observation') this.#time('observation', payload, 'published_at');
  }

  #time(kind: 'observation' | 'health', payload: Buffer, field: 'at' | 'published_at'): void {
    const message = JSON.parse(payload.toString()) as Record<string, string>;
    const list = this.#latencyMs[kind];
    if (list.length < MAX_KEPT) list.push(Date.now() - Date.parse(message[field] ?? ''));
  }
}

function spread(values: readonly number[]): { p50: number; p99: number; max: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
