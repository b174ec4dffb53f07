import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { PacketReader } from './mqtt-packets.ts';
import { pause } from './wait.ts';

export interface ProxyOptions {
  readonly host: string;
  readonly brokerPort: number;
  /** Saves the state of the broker; false when it failed. null: forward acknowledgements at once. */
  readonly save: (() => Promise<boolean>) | null;
}

/** What the proxy recorded. */
export interface Ledger {
  /** Ids of the messages that the broker acknowledged. */
  readonly acked: Set<string>;
  publishes: number;
  pubacks: number;
  /** PUBACKs with a reason code of 128 or more. */
  refusals: number;
  /** Messages that a device sent after a later one of the same topic, on one connection. */
  readonly reordered: { readonly device: string; readonly key: string }[];
}

/**
 * A TCP proxy between the devices and the broker. Records each acknowledgement before it forwards it to the device. Adds
 * delays, and can hold each acknowledgement until the broker has saved the message: then a killed broker keeps every
 * acknowledged message, which mosquitto alone does not guarantee.
 */
export class RecordingProxy {
  readonly ledger: Ledger = { acked: new Set(), publishes: 0, pubacks: 0, refusals: 0, reordered: [] };
  /** Maximum of a random delay, in each direction. */
  delayMs = 0;
  /** Holds all bytes in both directions and refuses no connection: a partition on systems without namespaces. */
  cut = false;
  connections = 0;
  readonly #options: ProxyOptions;
  readonly #server: Server;
  readonly #connections = new Set<ProxiedConnection>();
  #held: (() => void)[] = [];
  #saving = false;

  static async open(options: ProxyOptions): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(options);
    proxy.#server.listen(0, options.host);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor(options: ProxyOptions) {
    this.#options = options;
    this.#server = createServer((device) => {
      this.connections += 1;
      const connection = new ProxiedConnection(device, connect(options.brokerPort, '127.0.0.1'), this);
      this.#connections.add(connection);
      void connection.closed.then(() => this.#connections.delete(connection));
    });
  }

  /** host:port, for the devices. */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy is not listening');
    return `${this.#options.host}:${address.port}`;
  }

  /** Calls `release` after the broker has saved its state; never when it exited before. */
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
    for (const connection of this.#connections) connection.destroy();
  }
}

/** One connection of a device and its connection to the broker. */
class ProxiedConnection {
  readonly closed: Promise<void>;
  readonly #device: Socket;
  readonly #broker: Socket;
  readonly #proxy: RecordingProxy;
  /** By packet id: the `id` of the message; null for a message that is not from the outbox. */
  readonly #sent = new Map<number, string | null>();
  /** The highest number sent so far, by topic; all events share one entry. */
  readonly #newest = new Map<string, number>();
  readonly #fromDevice = new PacketReader();
  readonly #fromBroker = new PacketReader();
  readonly #toBrokerLine: DelayLine;
  readonly #toDeviceLine: DelayLine;

  constructor(device: Socket, broker: Socket, proxy: RecordingProxy) {
    this.#device = device;
    this.#broker = broker;
    this.#proxy = proxy;
    this.#toBrokerLine = new DelayLine(broker, proxy);
    this.#toDeviceLine = new DelayLine(device, proxy);
    device.setNoDelay();
    broker.setNoDelay();
    device.on('data', (bytes) => this.#destroyOnError(() => this.#toBroker(bytes)));
    broker.on('data', (bytes) => this.#destroyOnError(() => this.#toDevice(bytes)));
    for (const socket of [device, broker]) socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      device.once('close', () => {
        broker.destroy();
        resolve();
      });
      broker.once('close', () => device.destroy());
    });
  }

  destroy(): void {
    this.#device.destroy();
    this.#broker.destroy();
  }

  #destroyOnError(work: () => void): void {
    try {
      work();
    } catch {
      this.destroy();
    }
  }

  #toBroker(bytes: Buffer): void {
    for (const { packet, raw } of this.#fromDevice.read(bytes)) {
      if (packet.kind === 'connect') this.#fromBroker.version = packet.version;
      if (packet.kind === 'publish') {
        this.#proxy.ledger.publishes += 1;
        this.#sent.set(packet.packetId, this.#recordPublish(packet.topic, packet.payload));
      }
      this.#toBrokerLine.put(raw);
    }
  }

  /** Returns the `id` of an observation or event and checks its order; null for any other message. */
  #recordPublish(topic: string, payload: string): string | null {
    const found = /([^/]+)\/(?:(camera\/[^/]+\/(?:observation|backfill))|event\/[^/]+)$/.exec(topic);
    if (!found) return null;
    const [, device = '', camera] = found;
    const { id, seq } = JSON.parse(payload) as { id: string; seq: number };
    const stream = `${device} ${camera ?? 'events'}`;
    const newest = this.#newest.get(stream) ?? 0;
    if (seq <= newest)
      this.#proxy.ledger.reordered.push({ device, key: `${camera ?? 'events'} ${seq} after ${newest}` });
    this.#newest.set(stream, Math.max(newest, seq));
    return id;
  }

  #toDevice(bytes: Buffer): void {
    for (const { packet, raw } of this.#fromBroker.read(bytes)) {
      if (packet.kind !== 'puback') {
        this.#toDeviceLine.put(raw);
        continue;
      }
      const { packetId, reason } = packet;
      this.#proxy.afterSave(() => {
        this.#recordAck(packetId, reason);
        this.#toDeviceLine.put(raw);
      });
    }
  }

  #recordAck(packetId: number, reason: number): void {
    const { ledger } = this.#proxy;
    const id = this.#sent.get(packetId) ?? null;
    this.#sent.delete(packetId);
    ledger.pubacks += 1;
    if (reason >= 128) ledger.refusals += 1;
    else if (id !== null) ledger.acked.add(id);
  }
}

/** Forwards the bytes of one direction in order, each chunk after its delay. */
class DelayLine {
  readonly #to: Socket;
  readonly #proxy: RecordingProxy;
  #tail: Promise<void> | null = null;

  constructor(to: Socket, proxy: RecordingProxy) {
    this.#to = to;
    this.#proxy = proxy;
  }

  put(bytes: Buffer): void {
    const { delayMs, cut } = this.#proxy;
    if (this.#tail === null && delayMs === 0 && !cut) {
      this.#write(bytes);
      return;
    }
    const dueMs = performance.now() + Math.random() * delayMs;
    const last = (this.#tail ?? Promise.resolve()).then(async () => {
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await pause(waitMs);
      while (this.#proxy.cut && !this.#to.destroyed) await pause(20);
      this.#write(bytes);
      if (this.#tail === last) this.#tail = null;
    });
    this.#tail = last;
  }

  #write(bytes: Buffer): void {
    if (this.#to.writable) this.#to.write(bytes);
  }
}
