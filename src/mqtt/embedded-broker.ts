import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Aedes, Client } from 'aedes';
import { closeQuietly } from '../base/closing.ts';
import { errorCode } from '../base/disk-errors.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import { PacketLimit } from './link/packet-limit.ts';
import './disable-packet-id-cache.ts';

export interface EmbeddedBrokerOptions {
  readonly host: string;
  /** 0 selects any free port. */
  readonly port: number;
}

export interface StartedBroker {
  readonly broker: EmbeddedBroker;
  /** Settings for a client of this broker. */
  readonly settings: Settings['mqtt'];
}

const MAX_CONNECTIONS = 64;
const MAX_PACKET_BYTES = 2 * 1_048_576;
/** The broker disconnects a subscriber that reads nothing for this time, because its messages wait in memory. */
const DRAIN_TIMEOUT_MS = 5000;
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_CLIENT_ID_CHARS = 128;
/** Publishers wait while the queue of aedes (the broker library) has this many messages. */
const MAX_QUEUED_MESSAGES = 100;
const ADMIT_INTERVAL_MS = 5;
const MAX_RETAINED_TOPICS = 1000;
const MAX_RETAINED_BYTES = 16 * 1_048_576;
const MAX_SUBSCRIPTIONS = 100;
/** Maximum number of unfinished QoS 2 messages of one client. The broker keeps them in memory. */
const MAX_INFLIGHT_QOS2 = 8;
const MAX_TOPIC_CHARS = 512;

/** Starts the embedded broker if no other broker is configured; otherwise returns null. Rejects as `start` does. */
export async function startEmbeddedBroker(
  mqtt: Settings['mqtt'],
  { log }: { readonly log: Log },
): Promise<StartedBroker | null> {
  if (mqtt.url.length > 0) return null;
  const broker = new EmbeddedBroker(mqtt.embedded, { log });
  const { port } = await broker.start();
  return { broker, settings: { ...mqtt, url: [`mqtt://${mqtt.embedded.host}:${port}`], protocolVersion: 4 } };
}

/**
 * A broker inside the agent, for devices without another one: MQTT 3.1.1, in memory, for the loopback interface. It
 * keeps no sessions of disconnected clients. Limits: packets of 2 MiB, 64 connections with 100 subscriptions each, 1000
 * retained topics with 16 MiB in total.
 */
export class EmbeddedBroker {
  readonly #options: EmbeddedBrokerOptions;
  readonly #log: Log;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Payload size by topic, the oldest message first. */
  readonly #retainedBytesByTopic = new Map<string, number>();
  #retainedBytes = 0;
  /** Callbacks of the publishers that wait until the queue of aedes has room. */
  readonly #waitingPublishers: ((error: null) => void)[] = [];
  #isAdmitting = false;
  #admitTimer: NodeJS.Timeout | null = null;
  readonly #subscriptions = new WeakMap<Client, Set<string>>();
  #aedes: Aedes | null = null;

  constructor(options: EmbeddedBrokerOptions, deps: { readonly log: Log }) {
    this.#options = options;
    this.#log = deps.log;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Throws `mqtt_port_taken`, or `mqtt_unreachable` for another failure to listen. */
  async start(): Promise<{ readonly port: number }> {
    const { host, port } = this.#options;
    // Import aedes only when the embedded broker is used, because the library needs memory.
    const { Aedes } = await import('aedes');
    this.#aedes = await Aedes.createBroker({
      drainTimeout: DRAIN_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      maxClientsIdLength: MAX_CLIENT_ID_CHARS,
      maxInflightInbound: MAX_INFLIGHT_QOS2,
      preConnect: (_client, packet, done) => {
        // Messages for the session of a disconnected client would accumulate in memory.
        packet.clean = true;
        done(null, true);
      },
      authorizePublish: (_client, packet, done) => {
        const fault = findTopicFault(packet.topic);
        if (fault !== null) {
          done(new Error(fault));
          return;
        }
        if (packet.retain) this.#limitRetained(packet);
        this.#waitingPublishers.push(done);
        this.#admitPublishers();
      },
      authorizeSubscribe: (client, subscription, done) => {
        // With null, aedes rejects only this subscription and keeps the client.
        done(null, this.#addSubscription(client, subscription.topic) ? subscription : null);
      },
    });
    this.#aedes.on('unsubscribe', (filters, client) => {
      for (const filter of filters) this.#subscriptions.get(client)?.delete(filter);
    });
    this.#aedes.on('clientError', (client, error) =>
      this.#log.debug({ client: client.id, reason: error.message }, 'disconnected a client after an error'),
    );
    try {
      this.#server.listen(port, host);
      await once(this.#server, 'listening');
    } catch (cause) {
      await closeQuietly(() => this.stop());
      const isTaken = errorCode(cause) === 'EADDRINUSE';
      const message = isTaken ? `${host}:${port} is in use` : `cannot listen on ${host}:${port}`;
      throw new AgentError(isTaken ? 'mqtt_port_taken' : 'mqtt_unreachable', message, { cause });
    }
    const address = this.#server.address();
    const boundPort = typeof address === 'object' && address !== null ? address.port : port;
    this.#log.info({ host, port: boundPort }, 'embedded broker accepts connections');
    return { port: boundPort };
  }

  /** Disconnects every client. Idempotent. */
  async stop(): Promise<void> {
    const aedes = this.#aedes;
    this.#aedes = null;
    if (this.#admitTimer !== null) clearTimeout(this.#admitTimer);
    this.#admitTimer = null;
    this.#waitingPublishers.length = 0;
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
      // An abort is no fault of the client: the broker has ended the connection.
      if (error.name !== 'AbortError')
        this.#log.warn(
          { reason: error.message },
          'disconnected a client that sent an invalid or too large packet',
        );
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

  /**
   * Lets waiting publishers continue while the queue of aedes has room. A subscriber that reads nothing fills the queue
   * until it is disconnected. aedes then processes the queue recursively: thousands of messages would overflow the
   * stack.
   */
  #admitPublishers(): void {
    // A callback may cause the next call before it returns. The loop of the outer call handles that publisher.
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    while (this.#waitingPublishers.length > 0 && this.#countQueued() < MAX_QUEUED_MESSAGES)
      this.#waitingPublishers.shift()?.(null);
    this.#isAdmitting = false;
    if (this.#waitingPublishers.length === 0 || this.#admitTimer !== null) return;
    this.#admitTimer = setTimeout(() => {
      this.#admitTimer = null;
      this.#admitPublishers();
    }, ADMIT_INTERVAL_MS);
  }

  /** Length of the queue of aedes, which is not part of its public API. */
  #countQueued(): number {
    const queue: unknown = this.#aedes === null ? null : Reflect.get(this.#aedes, 'mq');
    if (typeof queue !== 'object' || queue === null || !('length' in queue)) return 0;
    return typeof queue.length === 'number' ? queue.length : 0;
  }

  /** Returns false when the client has too many subscriptions, or the filter is too long. */
  #addSubscription(client: Client, filter: string): boolean {
    const filters = this.#subscriptions.get(client) ?? new Set();
    this.#subscriptions.set(client, filters);
    const isFull = filters.size >= MAX_SUBSCRIPTIONS && !filters.has(filter);
    if (isFull || filter.length > MAX_TOPIC_CHARS) return false;
    filters.add(filter);
    return true;
  }

  /** Counts a retained message, and clears the oldest retained topics above the limits. */
  #limitRetained({ topic, payload }: { topic: string; payload: string | Buffer }): void {
    this.#uncountRetained(topic);
    if (payload.length === 0) return;
    this.#retainedBytesByTopic.set(topic, payload.length);
    this.#retainedBytes += payload.length;
    for (const [oldest] of this.#retainedBytesByTopic) {
      const hasRoom = this.#retainedBytesByTopic.size <= MAX_RETAINED_TOPICS;
      if (hasRoom && this.#retainedBytes <= MAX_RETAINED_BYTES) return;
      this.#uncountRetained(oldest);
      this.#aedes?.publish(
        { cmd: 'publish', topic: oldest, payload: '', qos: 0, retain: true, dup: false },
        () => undefined,
      );
    }
  }

  #uncountRetained(topic: string): void {
    this.#retainedBytes -= this.#retainedBytesByTopic.get(topic) ?? 0;
    this.#retainedBytesByTopic.delete(topic);
  }
}

function findTopicFault(topic: string): string | null {
  if (topic.startsWith('$')) return 'topics with $ are reserved for the broker';
  return topic.length > MAX_TOPIC_CHARS ? 'the topic is too long' : null;
}
