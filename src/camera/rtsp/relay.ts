import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { asAgentError, type AgentError } from '../../base/errors.ts';
import type { FfmpegRelay } from '../ffmpeg/source.ts';
import { RtspSession, type RtspCamera } from './session.ts';
import type { RtspTransport } from './transport-choice.ts';

/** A client that does not show the token in this time is no ffmpeg of ours: ffmpeg sends it at once. */
const TOKEN_WAIT_MS = 2000;
/** Clients that have not shown the token yet. The oldest one makes room for a new one, which may be ffmpeg. */
const MAX_STRANGERS = 32;

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
  /** Those of them that have not shown the token, the oldest first. */
  readonly #strangers = new Set<Socket>();
  readonly #server = createServer((client) => void this.#serve(client));
  /** Why the connection to the camera failed; null while it has not. */
  failure: AgentError | null = null;
  isPlaying = false;
  /** The transport that the camera accepted; null before. */
  transport: RtspTransport | null = null;

  private constructor(camera: RtspCamera) {
    this.#camera = camera;
  }

  /** Listens on a free port of 127.0.0.1. It connects to the camera when ffmpeg connects to it. */
  static async start(camera: RtspCamera): Promise<RtspRelay> {
    const relay = new RtspRelay(camera);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  /**
   * The address for ffmpeg. The relay puts that of the camera in its place: the path may be secret, or have characters
   * that ffmpeg changes. It contains the token: it must not appear in the process list.
   */
  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `rtsp://127.0.0.1:${String(port)}/${this.#token}`;
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

  async #serve(client: Socket): Promise<void> {
    this.#clients.add(client);
    this.#strangers.add(client);
    const [oldest] = this.#strangers;
    if (oldest && this.#strangers.size > MAX_STRANGERS) {
      this.#strangers.delete(oldest);
      oldest.destroy();
    }
    const tokenTimer = setTimeout(() => client.destroy(), TOKEN_WAIT_MS);
    const leaveStrangers = (): void => {
      clearTimeout(tokenTimer);
      this.#strangers.delete(client);
    };
    client.once('close', () => {
      leaveStrangers();
      this.#clients.delete(client);
    });
    // A client that goes away is no failure.
    client.on('error', () => undefined);
    const session = new RtspSession(this.#camera, {
      client,
      prefix: this.url,
      signal: this.#closing.signal,
      events: {
        trusted: leaveStrangers,
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
