import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { PacketReader } from './mqtt-packets.ts';
import { pause } from './wait.ts';

export interface WitnessOptions {
  readonly host: string;
  readonly brokerPort: number;
  /** Resolves with false when the broker lost what it had not saved; null: acknowledgements pass at once. */
  readonly save: (() => Promise<boolean>) | null;
}

/** Everything that has passed between the devices and the broker, by the `id` of the message. */
export interface Ledger {
  /** The broker said that it has it. */
  readonly acked: Set<string>;
  publishes: number;
  pubacks: number;
  /** Answers above 127: the broker refused. */
  refusals: number;
  /** Messages that a device sent behind a later one of the same topic, on one connection. */
  readonly overtaken: { readonly device: string; readonly key: string }[];
}

/**
 * Stands between the devices and the broker, and writes down what the broker acknowledged before the device can know.
 * It delays, and it can hold each acknowledgement back until the broker has saved the message: with that a broker that
 * is killed keeps what it promised, which mosquitto by itself does not.
 */
export class Witness {
  readonly ledger: Ledger = { acked: new Set(), publishes: 0, pubacks: 0, refusals: 0, overtaken: [] };
  /** Added to each way, at random up to this. */
  delayMs = 0;
  /** Nothing passes, in either direction, and no connection is refused: a partition where there is no namespace. */
  cut = false;
  connections = 0;
  readonly #options: WitnessOptions;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #held: (() => void)[] = [];
  #saving = false;

  static async open(options: WitnessOptions): Promise<Witness> {
    const witness = new Witness(options);
    witness.#server.listen(0, options.host);
    await once(witness.#server, 'listening');
    return witness;
  }

  private constructor(options: WitnessOptions) {
    this.#options = options;
    this.#server = createServer((near) => {
      this.connections += 1;
      const pair = new Pair(near, connect(options.brokerPort, '127.0.0.1'), this);
      this.#pairs.add(pair);
      void pair.over.then(() => this.#pairs.delete(pair));
    });
  }

  /** host:port, as the devices reach it. */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return `${this.#options.host}:${address.port}`;
  }

  /** Runs `release` once the broker has on file what it just acknowledged; not at all when it went down before. */
  afterSave(release: () => void): void {
    if (this.#options.save === null) {
      release();
      return;
    }
    this.#held.push(release);
    void this.#save(this.#options.save);
  }

  async #save(save: () => Promise<boolean>): Promise<void> {
    if (this.#saving) return;
    this.#saving = true;
    try {
      while (this.#held.length > 0) {
        const group = this.#held.splice(0);
        if (await save()) for (const release of group) release();
      }
    } finally {
      this.#saving = false;
    }
  }

  close(): void {
    this.#server.close();
    for (const pair of this.#pairs) pair.end();
  }
}

/** One connection of a device, and its other half to the broker. */
class Pair {
  readonly over: Promise<void>;
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #witness: Witness;
  /** Packet id to the `id` of the message; null for one that does not come from the outbox. */
  readonly #sent = new Map<number, string | null>();
  /** The highest number sent so far, by topic; the events share one. */
  readonly #newest = new Map<string, number>();
  readonly #fromDevice = new PacketReader();
  readonly #fromBroker = new PacketReader();
  readonly #up: Lane;
  readonly #down: Lane;

  constructor(near: Socket, far: Socket, witness: Witness) {
    this.#near = near;
    this.#far = far;
    this.#witness = witness;
    this.#up = new Lane(far, witness);
    this.#down = new Lane(near, witness);
    near.setNoDelay();
    far.setNoDelay();
    near.on('data', (bytes) => this.#guarded(() => this.#toBroker(bytes)));
    far.on('data', (bytes) => this.#guarded(() => this.#toDevice(bytes)));
    for (const socket of [near, far]) socket.on('error', () => undefined);
    this.over = new Promise((resolve) => {
      near.once('close', () => {
        far.destroy();
        resolve();
      });
      far.once('close', () => near.destroy());
    });
  }

  end(): void {
    this.#near.destroy();
    this.#far.destroy();
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch {
      this.end();
    }
  }

  #toBroker(bytes: Buffer): void {
    for (const { packet, raw } of this.#fromDevice.read(bytes)) {
      if (packet.kind === 'connect') this.#fromBroker.version = packet.version;
      if (packet.kind === 'publish') {
        this.#witness.ledger.publishes += 1;
        this.#sent.set(packet.packetId, this.#queued(packet.topic, packet.payload));
      }
      this.#up.put(raw);
    }
  }

  /** The `id` of an observation or event, whose number is held against the one before; null for anything else. */
  #queued(topic: string, payload: string): string | null {
    const found = /([^/]+)\/(?:(camera\/[^/]+\/(?:observation|backfill))|event\/[^/]+)$/.exec(topic);
    if (!found) return null;
    const [, device = '', camera] = found;
    const { id, seq } = JSON.parse(payload) as { id: string; seq: number };
    const lane = `${device} ${camera ?? 'events'}`;
    const newest = this.#newest.get(lane) ?? 0;
    if (seq <= newest)
      this.#witness.ledger.overtaken.push({ device, key: `${camera ?? 'events'} ${seq} after ${newest}` });
    this.#newest.set(lane, Math.max(newest, seq));
    return id;
  }

  #toDevice(bytes: Buffer): void {
    for (const { packet, raw } of this.#fromBroker.read(bytes)) {
      if (packet.kind !== 'puback') {
        this.#down.put(raw);
        continue;
      }
      const { packetId, reason } = packet;
      this.#witness.afterSave(() => {
        this.#note(packetId, reason);
        this.#down.put(raw);
      });
    }
  }

  #note(packetId: number, reason: number): void {
    const { ledger } = this.#witness;
    const id = this.#sent.get(packetId) ?? null;
    this.#sent.delete(packetId);
    ledger.pubacks += 1;
    if (reason >= 128) ledger.refusals += 1;
    else if (id !== null) ledger.acked.add(id);
  }
}

/** One direction: bytes come out in order, each after its delay. */
class Lane {
  readonly #to: Socket;
  readonly #witness: Witness;
  #tail: Promise<void> | null = null;

  constructor(to: Socket, witness: Witness) {
    this.#to = to;
    this.#witness = witness;
  }

  put(bytes: Buffer): void {
    const { delayMs, cut } = this.#witness;
    if (this.#tail === null && delayMs === 0 && !cut) {
      this.#write(bytes);
      return;
    }
    const dueMs = performance.now() + Math.random() * delayMs;
    const turn = (this.#tail ?? Promise.resolve()).then(async () => {
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await pause(waitMs);
      while (this.#witness.cut && !this.#to.destroyed) await pause(20);
      this.#write(bytes);
      if (this.#tail === turn) this.#tail = null;
    });
    this.#tail = turn;
  }

  #write(bytes: Buffer): void {
    if (this.#to.writable) this.#to.write(bytes);
  }
}
