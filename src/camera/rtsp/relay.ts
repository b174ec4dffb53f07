import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { asAgentError, type AgentError } from '../../base/errors.ts';
import type { FfmpegRelay } from '../ffmpeg/source.ts';
import { RtspSession, type RtspCamera } from './session.ts';
import type { RtspTransport } from './transport-choice.ts';

/** A client that does not show the token in this time is no ffmpeg of ours. */
const TOKEN_WAIT_MS = 10_000;
const MAX_CLIENTS = 4;

/**
 * Passes RTSP between one ffmpeg and the camera. ffmpeg sees neither the camera's TLS nor its challenges nor its redirects:
 * the relay verifies the certificate, answers challenges, and follows a redirect only where credentials may go.
 */
export class RtspRelay implements FfmpegRelay {
  readonly #camera: RtspCamera;
  /** Other users of the machine can connect to the relay. They cannot guess 128 bits. */
  readonly #token = randomBytes(16).toString('hex');
  readonly #closing = new AbortController();
  readonly #clients = new Set<Socket>();
  readonly #server = createServer((client) => void this.#serve(client));
  /** Why the connection to the camera failed; null while it has not. */
  failure: AgentError | null = null;
  isPlaying = false;
  /** The transport that the camera accepted; null before. */
  transport: RtspTransport | null = null;

  private constructor(camera: RtspCamera) {
    this.#camera = camera;
    this.#server.maxConnections = MAX_CLIENTS;
  }

  /** Listens on a free port of 127.0.0.1. It connects to the camera when ffmpeg connects to it. */
  static async start(camera: RtspCamera): Promise<RtspRelay> {
    const relay = new RtspRelay(camera);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  /** The address for ffmpeg. It contains the token: it must not appear in the process list. */
  get url(): string {
    const { pathname, search } = this.#camera.url;
    return `${this.#prefix}${pathname}${search}`;
  }

  /** Ends all connections. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const client of this.#clients) client.destroy();
    await closed;
  }

  /** What stands in the addresses of ffmpeg for scheme, host and port of the camera. */
  get #prefix(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `rtsp://127.0.0.1:${String(port)}/${this.#token}`;
  }

  async #serve(client: Socket): Promise<void> {
    this.#clients.add(client);
    client.once('close', () => this.#clients.delete(client));
    // A client that goes away is no failure.
    client.on('error', () => undefined);
    client.setTimeout(TOKEN_WAIT_MS, () => client.destroy());
    const session = new RtspSession(this.#camera, {
      client,
      prefix: this.#prefix,
      signal: this.#closing.signal,
      events: {
        refused: (failure) => (this.failure = failure),
        accepted: (transport) => {
          this.failure = null;
          this.transport = transport;
        },
        playing: () => (this.isPlaying = true),
      },
    });
    try {
      await session.run();
    } catch (failure) {
      if (!this.#closing.signal.aborted && session.isOurs) this.failure = asAgentError(failure);
    } finally {
      session.end();
    }
  }
}
