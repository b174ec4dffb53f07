import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { Aedes, type Client } from 'aedes';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { PacketLimit } from './link/packet-limit.ts';
import './disable-packet-id-cache.ts';

export interface EmbeddedBrokerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

const MAX_CONNECTIONS = 64;
const MAX_PACKET_BYTES = 2 * 1_048_576;
/** A subscriber that takes nothing for so long is cut off: what it does not take is held in memory. */
const DRAIN_TIMEOUT_MS = 5000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Messages that wait for a subscriber to take those before. */
const MAX_QUEUED = 100;
const ADMIT_EVERY_MS = 5;
const MAX_RETAINED = 1000;
const MAX_RETAINED_BYTES = 16 * 1_048_576;
const MAX_SUBSCRIPTIONS = 100;
/** Messages of QoS 2 that a client left half done: each is held in memory. */
const MAX_HALF_DONE = 8;
const MAX_TOPIC = 512;

/**
 * A broker inside the agent, for a device that has none: MQTT 3.1.1, in memory, meant for the loopback. It keeps nothing
 * for clients that are away, takes no packet above 2 MiB and at most 64 connections, 100 subscriptions of each, and 1000
 * retained topics of 16 MiB together.
 */
export class EmbeddedBroker {
  readonly #options: EmbeddedBrokerOptions;
  readonly #log: Log;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Bytes by topic, the one set longest ago first. */
  readonly #retained = new Map<string, number>();
  #retainedBytes = 0;
  /** Publishers that wait until there is room. */
  readonly #waiting: ((error: null) => void)[] = [];
  #draining = false;
  #admitting: NodeJS.Timeout | null = null;
  readonly #filters = new WeakMap<Client, Set<string>>();
  #aedes: Aedes | null = null;

  constructor(options: EmbeddedBrokerOptions, deps: { readonly log: Log }) {
    this.#options = options;
    this.#log = deps.log;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Throws `mqtt_port_taken`, or `mqtt_unreachable` when the address cannot be listened on. */
  async start(): Promise<{ readonly port: number }> {
    const { host, port } = this.#options;
    this.#aedes = await Aedes.createBroker({
      drainTimeout: DRAIN_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      maxClientsIdLength: 128,
      maxInflightInbound: MAX_HALF_DONE,
      preConnect: (_client, packet, done) => {
        // A session that outlives its connection would gather messages in memory.
        packet.clean = true;
        done(null, true);
      },
      authorizePublish: (_client, packet, done) => {
        const refused = this.#refused(packet);
        if (refused !== null) {
          done(new Error(refused));
          return;
        }
        if (packet.retain) this.#noteRetained(packet);
        this.#waiting.push(done);
        this.#admit();
      },
      authorizeSubscribe: (client, subscription, done) => {
        // Null is the refusal of this one subscription.
        done(null, this.#maySubscribe(client, subscription.topic) ? subscription : null);
      },
    });
    this.#aedes.on('unsubscribe', (filters, client) => {
      for (const filter of filters) this.#filters.get(client)?.delete(filter);
    });
    this.#aedes.on('clientError', (client, error) =>
      this.#log.debug({ client: client.id, reason: error.message }, 'client dropped'),
    );
    try {
      this.#server.listen(port, host);
      await once(this.#server, 'listening');
    } catch (cause) {
      await this.stop();
      const taken = cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
      const message = taken ? `${host}:${port} is in use` : `cannot listen on ${host}:${port}`;
      throw new AgentError(taken ? 'mqtt_port_taken' : 'mqtt_unreachable', message, { cause });
    }
    const address = this.#server.address();
    const bound = typeof address === 'object' && address !== null ? address.port : port;
    this.#log.info({ host, port: bound }, 'embedded broker listens');
    return { port: bound };
  }

  /** Drops every client. Idempotent. */
  async stop(): Promise<void> {
    const aedes = this.#aedes;
    this.#aedes = null;
    if (this.#admitting !== null) clearTimeout(this.#admitting);
    this.#admitting = null;
    this.#waiting.length = 0;
    for (const socket of this.#sockets) socket.destroy();
    const closed = this.#server.listening ? once(this.#server, 'close') : null;
    this.#server.close();
    await closed;
    if (aedes) await new Promise<void>((resolve) => aedes.close(resolve));
  }

  #accept(socket: Socket): void {
    const aedes = this.#aedes;
    if (!aedes) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    const limited = socket.pipe(new PacketLimit(MAX_PACKET_BYTES));
    limited.on('error', (error) => {
      this.#log.warn({ reason: error.message }, 'client dropped');
      socket.destroy();
    });
    socket.on('error', () => limited.destroy());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      limited.destroy();
    });
    const connection = Duplex.from({ readable: limited, writable: socket });
    connection.on('error', () => socket.destroy());
    aedes.handle(connection);
  }

  #refused({ topic }: { topic: string }): string | null {
    if (topic.startsWith('$')) return 'topics of the broker itself';
    return topic.length > MAX_TOPIC ? 'the topic is too long' : null;
  }

  /**
   * Lets publishers go on while there is room behind them. A subscriber that takes nothing holds everything up until it
   * is cut off, and what had gathered by then would go through aedes in one recursion: thousands are more than its stack.
   */
  #admit(): void {
    // Each may bring in the next before it returns: that one waits for its turn in this loop.
    if (this.#draining) return;
    this.#draining = true;
    while (this.#waiting.length > 0 && this.#queued() < MAX_QUEUED) this.#waiting.shift()?.(null);
    this.#draining = false;
    if (this.#waiting.length === 0 || this.#admitting !== null) return;
    this.#admitting = setTimeout(() => {
      this.#admitting = null;
      this.#admit();
    }, ADMIT_EVERY_MS);
  }

  #queued(): number {
    const queue: unknown = this.#aedes === null ? null : Reflect.get(this.#aedes, 'mq');
    if (typeof queue !== 'object' || queue === null || !('length' in queue)) return 0;
    return typeof queue.length === 'number' ? queue.length : 0;
  }

  #maySubscribe(client: Client, filter: string): boolean {
    const filters = this.#filters.get(client) ?? new Set();
    this.#filters.set(client, filters);
    const full = filters.size >= MAX_SUBSCRIPTIONS && !filters.has(filter);
    if (full || filter.length > MAX_TOPIC) return false;
    filters.add(filter);
    return true;
  }

  /** Keeps count of what is retained, and clears the topics that were set longest ago when it is too much. */
  #noteRetained({ topic, payload }: { topic: string; payload: string | Buffer }): void {
    this.#forgetRetained(topic);
    if (payload.length === 0) return;
    this.#retained.set(topic, payload.length);
    this.#retainedBytes += payload.length;
    for (const [oldest] of this.#retained) {
      if (this.#retained.size <= MAX_RETAINED && this.#retainedBytes <= MAX_RETAINED_BYTES) return;
      this.#forgetRetained(oldest);
      this.#aedes?.publish(
        { cmd: 'publish', topic: oldest, payload: '', qos: 0, retain: true, dup: false },
        () => undefined,
      );
    }
  }

  #forgetRetained(topic: string): void {
    this.#retainedBytes -= this.#retained.get(topic) ?? 0;
    this.#retained.delete(topic);
  }
}
