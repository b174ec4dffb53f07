import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { Aedes } from 'aedes';
import { AgentError } from '../errors.ts';
import type { Log } from '../log.ts';
import { PacketLimit } from './packet-limit.ts';

export interface EmbeddedBrokerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

const MOST_CONNECTIONS = 64;
const LARGEST_PACKET_BYTES = 2 * 1_048_576;
/** A subscriber that takes nothing for so long is cut off: what it does not take is held in memory. */
const DRAIN_TIMEOUT_MS = 5000;
const CONNECT_TIMEOUT_MS = 10_000;
const MOST_RETAINED = 1000;
const LONGEST_TOPIC = 512;

/**
 * A broker inside the agent, for a device that has none: MQTT 3.1.1, in memory, meant for the loopback. It keeps nothing
 * for clients that are away, takes no packet above 2 MiB and at most 64 connections and 1000 retained topics.
 */
export class EmbeddedBroker {
  readonly #options: EmbeddedBrokerOptions;
  readonly #log: Log;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #retained = new Set<string>();
  #aedes: Aedes | null = null;

  constructor(options: EmbeddedBrokerOptions, deps: { readonly log: Log }) {
    this.#options = options;
    this.#log = deps.log;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  /** Throws `mqtt_port_taken`, or `mqtt_unreachable` when the address cannot be listened on. */
  async start(): Promise<{ readonly port: number }> {
    const { host, port } = this.#options;
    this.#aedes = await Aedes.createBroker({
      drainTimeout: DRAIN_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      maxClientsIdLength: 128,
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
        done(null);
      },
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
    const limited = socket.pipe(new PacketLimit(LARGEST_PACKET_BYTES));
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
    return topic.length > LONGEST_TOPIC ? 'the topic is too long' : null;
  }

  /** Keeps count of what is retained, and clears the topic that was set longest ago when there are too many. */
  #noteRetained({ topic, payload }: { topic: string; payload: string | Buffer }): void {
    this.#retained.delete(topic);
    if (payload.length > 0) this.#retained.add(topic);
    const [oldest] = this.#retained;
    if (oldest === undefined || this.#retained.size <= MOST_RETAINED) return;
    this.#retained.delete(oldest);
    this.#aedes?.publish(
      { cmd: 'publish', topic: oldest, payload: '', qos: 0, retain: true, dup: false },
      () => undefined,
    );
  }
}
