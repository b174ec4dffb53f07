import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { RawData, WebSocket } from 'ws';

export interface BrokerEndpoint {
  readonly host: string;
  readonly port: number;
  /** Null without TLS. `ca`: certificates in PEM; null for those of Node. */
  readonly tls: { readonly ca: string | null } | null;
}

export interface TunnelLimits {
  /** Above this many unsent bytes in one direction, its source is paused. */
  readonly maxBufferedBytes: number;
  /** For the connection to the broker, with TLS. */
  readonly connectTimeoutMs: number;
  /** A browser that sends nothing for so long is gone: MQTT sends a ping at least once a minute. */
  readonly idleTimeoutMs: number;
}

/** Close codes of the WebSocket (RFC 6455, 7.4.2: 4000 and above are for applications). */
const CLOSE = { normal: 1000, stopping: 1001, notBinary: 1003, idle: 4408, unreachable: 4502 } as const;
/** Time for the answer of the browser to a close frame. */
const CLOSE_TIMEOUT_MS = 2000;

/**
 * Connects one WebSocket with the broker, byte by byte. It reads nothing of the protocol, and has no login of its own. Calls
 * `onClosed` once, when both ends are closed.
 */
export class Tunnel {
  readonly #browser: WebSocket;
  readonly #broker: Socket;
  readonly #limits: TunnelLimits;
  readonly #idleTimer: NodeJS.Timeout;
  #isClosing = false;

  constructor(browser: WebSocket, endpoint: BrokerEndpoint, limits: TunnelLimits, onClosed: () => void) {
    this.#browser = browser;
    this.#limits = limits;
    this.#broker = openSocket(endpoint);
    this.#idleTimer = setTimeout(() => this.#close(CLOSE.idle, 'idle'), limits.idleTimeoutMs);
    this.#connect(endpoint);
    browser.on('message', (data, isBinary) => this.#toBroker(data, isBinary));
    browser.on('error', () => browser.terminate());
    browser.once('close', () => {
      clearTimeout(this.#idleTimer);
      this.#isClosing = true;
      // The last bytes may be the DISCONNECT of MQTT.
      this.#broker.setTimeout(CLOSE_TIMEOUT_MS, () => this.#broker.destroy());
      this.#broker.destroySoon();
      onClosed();
    });
  }

  /** Closes both ends. */
  stop(): void {
    this.#close(CLOSE.stopping, 'the server stops');
  }

  #connect(endpoint: BrokerEndpoint): void {
    const broker = this.#broker;
    const { connectTimeoutMs } = this.#limits;
    // What the browser sends first waits in its own connection.
    this.#browser.pause();
    const timer = setTimeout(() => broker.destroy(new Error('no answer')), connectTimeoutMs);
    let isConnected = false;
    broker.once(endpoint.tls === null ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer);
      isConnected = true;
      this.#browser.resume();
    });
    broker.setNoDelay(true);
    broker.on('data', (chunk) => this.#toBrowser(chunk));
    broker.on('drain', () => this.#browser.resume());
    broker.on('error', (error: NodeJS.ErrnoException) => {
      if (!isConnected)
        this.#close(CLOSE.unreachable, `no connection to the broker: ${error.code ?? error.message}`);
    });
    broker.once('close', () => {
      clearTimeout(timer);
      this.#close(CLOSE.normal, 'the broker closed the connection');
    });
  }

  #toBroker(data: RawData, isBinary: boolean): void {
    if (!isBinary) {
      this.#close(CLOSE.notBinary, 'MQTT is binary');
      return;
    }
    this.#idleTimer.refresh();
    if (this.#broker.destroyed) return;
    // With the default binaryType of ws, it is a Buffer.
    this.#broker.write(data as Buffer);
    if (this.#broker.writableLength > this.#limits.maxBufferedBytes) this.#browser.pause();
  }

  #toBrowser(chunk: Buffer): void {
    const { maxBufferedBytes } = this.#limits;
    if (this.#browser.readyState !== this.#browser.OPEN) return;
    this.#browser.send(chunk, { binary: true }, () => {
      if (this.#browser.bufferedAmount <= maxBufferedBytes / 2) this.#broker.resume();
    });
    if (this.#browser.bufferedAmount > maxBufferedBytes) this.#broker.pause();
  }

  #close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    const browser = this.#browser;
    // A paused connection would not see the answer to the close frame.
    browser.resume();
    browser.close(code, reason.slice(0, 120));
    const timer = setTimeout(() => browser.terminate(), CLOSE_TIMEOUT_MS);
    browser.once('close', () => clearTimeout(timer));
    this.#broker.destroy();
  }
}

function openSocket({ host, port, tls }: BrokerEndpoint): Socket {
  if (tls === null) return connectTcp({ host, port });
  return connectTls({
    host,
    port,
    // An address is no server name (RFC 6066, 3).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(tls.ca === null ? {} : { ca: tls.ca }),
  });
}
