import { addAbortListener } from 'node:events';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { Socket } from 'node:net';
import { AgentError } from '../../base/errors.ts';
import { connectTcp, connectTls, type TlsSettings } from '../connect.ts';
import { endsByLength, readBody } from './body.ts';
import { toCameraError } from './failure.ts';
import { readHead, type ResponseHead } from './response-head.ts';
import { SocketBytes } from './socket-bytes.ts';

export interface HttpRequest {
  /** Without credentials. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** For `https`. */
  readonly tls: TlsSettings;
}

/**
 * Sends one GET request on a connection of its own. Returns the response when its head has arrived. The signal applies
 * until then. Throws `camera_unreachable`, `camera_timeout` or `camera_codec`.
 */
export async function exchange(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
  const socket = await open(request, signal);
  const source = new SocketBytes(socket);
  using _abort = addAbortListener(signal, () => socket.destroy());
  try {
    socket.write(formatRequest(request));
    return new HttpResponse(await readHead(source), { url: request.url, socket, source });
  } catch (failure) {
    socket.destroy();
    signal.throwIfAborted();
    throw failure instanceof AgentError ? failure : toCameraError(failure);
  }
}

/** Credentials are sent only after the certificate of the camera is accepted. */
async function open({ url, tls }: HttpRequest, signal: AbortSignal): Promise<Socket> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return url.protocol === 'https:'
    ? await connectTls({ host, port: Number(url.port) || 443 }, tls, signal)
    : await connectTcp({ host, port: Number(url.port) || 80 }, signal);
}

function formatRequest({ url, headers }: HttpRequest): string {
  const all = {
    Host: url.host,
    'User-Agent': 'swellsight',
    Accept: '*/*',
    'Accept-Encoding': 'identity',
    // Cameras accept few connections, so none may stay open between captures.
    Connection: 'close',
  };
  const named = new Map(
    [...Object.entries(all), ...Object.entries(headers)].map(([name, value]) => [
      name.toLowerCase(),
      { name, value },
    ]),
  );
  const lines = [...named.values()].map(({ name, value }) => {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return `${name}: ${value}\r\n`;
  });
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** A response whose body is not read yet. The owner must read it to its end or discard it. */
export class HttpResponse {
  /** The address that answered, after redirects. */
  readonly url: URL;
  readonly #head: ResponseHead;
  readonly #socket: Socket;
  readonly #source: SocketBytes;
  #isDiscarded = false;

  constructor(
    head: ResponseHead,
    connection: { readonly url: URL; readonly socket: Socket; readonly source: SocketBytes },
  ) {
    this.url = connection.url;
    this.#head = head;
    this.#socket = connection.socket;
    this.#source = connection.source;
  }

  get status(): number {
    return this.#head.status;
  }

  /** True for an endless multipart body of images, false for one image. */
  get isStream(): boolean {
    return /(^|\s)multipart\/|mjpeg|motion-jpeg/i.test(this.header('content-type') ?? '');
  }

  /** All values of the header. */
  headers(name: string): readonly string[] {
    return this.#head.headers.get(name) ?? [];
  }

  /** All values of the header, separated by commas; null when it is missing. */
  header(name: string): string | null {
    const values = this.headers(name);
    return values.length === 0 ? null : values.join(', ');
  }

  /** The first value of the header; null when it is missing. */
  firstHeader(name: string): string | null {
    return this.headers(name)[0] ?? null;
  }

  /**
   * Yields the body as it arrives. Throws `camera_ended` when the connection or the encoding breaks before the announced
   * end; all bytes before the fault are yielded first. Ends normally after `discard`.
   */
  async *chunks(): AsyncGenerator<Buffer, void, undefined> {
    try {
      yield* readBody(this.#head, this.#source, this.isStream);
    } catch (failure) {
      if (this.#isDiscarded) return;
      const reason = failure instanceof Error ? failure.message : String(failure);
      throw new AgentError('camera_ended', `the response broke: ${reason}`, { cause: failure });
    }
  }

  /**
   * Yields the bytes after the announced end of a body, if only a length announced it, because that may be too short.
   * Ends with the connection, however that ends.
   */
  async *surplus(): AsyncGenerator<Buffer, void, undefined> {
    if (!endsByLength(this.#head)) return;
    try {
      for (let chunk = await this.#source.read(); chunk !== null; chunk = await this.#source.read())
        yield chunk;
    } catch {
      // A reset instead of an orderly end makes no difference for bytes that should not be there.
    }
  }

  /** Closes the connection. Idempotent. */
  discard(): void {
    this.#isDiscarded = true;
    this.#socket.destroy();
  }
}
