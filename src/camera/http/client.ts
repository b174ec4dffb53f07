import { addAbortListener } from 'node:events';
import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import type { CameraErrorCode } from '../camera.ts';
import { resolveCredentials } from '../credentials.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import { HttpAuth } from './auth.ts';

export interface HttpClientOptions {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

const MAX_REDIRECTS = 3;
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);

/** Sends GET requests to one camera, with authentication and redirects. Keeps no connection open after a response. */
export class HttpClient {
  readonly #url: URL;
  readonly #auth: HttpAuth | null;

  /** Throws `config_invalid` when the URL is invalid. */
  constructor(options: HttpClientOptions) {
    const url = URL.parse(options.url);
    if (!url || !/^https?:$/.test(url.protocol))
      throw new AgentError('config_invalid', 'url must start with http:// or https://');
    const { username, password } = resolveCredentials(options);
    url.username = '';
    url.password = '';
    this.#url = url;
    this.#auth = username === '' && password === '' ? null : new HttpAuth({ username, password });
  }

  /**
   * Returns a response with its headers; its body is not read yet. The signal applies until the headers have arrived.
   * Throws `camera_auth`, `camera_unreachable`, `camera_timeout` or `camera_codec`.
   */
  async get(
    conditionalHeaders: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    let url = this.#url;
    for (let redirects = 0; ; redirects += 1) {
      const response = await this.#getAuthenticated(url, conditionalHeaders, signal);
      const location = response.header('location');
      if (!REDIRECT_STATUSES.has(response.status) || location === null) return await checkStatus(response);
      await response.discard();
      const next = URL.parse(location, url.href);
      if (redirects === MAX_REDIRECTS || !next || !/^https?:$/.test(next.protocol))
        throw new AgentError(
          'camera_unreachable',
          'the camera redirects too often, or to an address that is not http or https',
          { hint: CAUSE_REMEDIES.redirect },
        );
      next.username = '';
      next.password = '';
      url = next;
    }
  }

  async #getAuthenticated(
    url: URL,
    conditionalHeaders: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const auth = this.#auth && this.#mayAuthenticate(url) ? this.#auth : null;
    // Cameras lock accounts after wrong passwords: send the credentials once, and again only if the nonce was stale.
    for (let attempt = 0; ; attempt += 1) {
      const authorization = auth?.authorize('GET', url.pathname + url.search) ?? null;
      const headers = authorization === null ? conditionalHeaders : { ...conditionalHeaders, authorization };
      const response = await send(url, headers, signal);
      if (response.status !== 401 || !auth) {
        auth?.acceptInfo(response.header('authentication-info'));
        return response;
      }
      const challenge = response.header('www-authenticate');
      const isRetry = attempt > 0;
      const isStale = /\bstale\s*=\s*"?true/i.test(challenge ?? '');
      if (!auth.acceptChallenge(challenge) || (isRetry && !isStale) || attempt > 1) return response;
      await response.discard();
    }
  }

  /** True if credentials may be sent to this URL: only to the configured host, and with TLS if the settings use TLS. */
  #mayAuthenticate(url: URL): boolean {
    if (url.hostname !== this.#url.hostname) return false;
    return url.origin === this.#url.origin || (url.protocol === 'https:' && this.#url.protocol === 'http:');
  }
}

/** A response whose body is not read yet. The owner must read it to its end or discard it. */
export class HttpResponse {
  readonly #response: Response;
  readonly #connection: AbortController;

  /** @param connection closes the connection when aborted */
  constructor(response: Response, connection: AbortController) {
    this.#response = response;
    this.#connection = connection;
  }

  get status(): number {
    return this.#response.status;
  }

  /** True for an endless multipart body of images, false for one image. */
  get isStream(): boolean {
    return /^multipart\/|mjpeg|motion-jpeg/i.test(this.header('content-type') ?? '');
  }

  header(name: string): string | null {
    return this.#response.headers.get(name);
  }

  /** Yields the body as it arrives. Throws `camera_ended` when the connection breaks; ends normally after `discard`. */
  async *chunks(): AsyncGenerator<Buffer, void, undefined> {
    if (this.#response.body === null) return;
    try {
      for await (const chunk of this.#response.body as AsyncIterable<Uint8Array>)
        yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    } catch (failure) {
      if (this.#connection.signal.aborted) return;
      throw new AgentError('camera_ended', 'the connection broke during the response', { cause: failure });
    }
  }

  /** The whole body; null when it is larger than `maxBytes`. Rejects with the signal's reason on abort. */
  async bytes(maxBytes: number, signal: AbortSignal): Promise<Buffer | null> {
    using _abort = addAbortListener(signal, () => this.#connection.abort());
    try {
      const parts: Buffer[] = [];
      let sizeBytes = 0;
      for await (const chunk of this.chunks()) {
        sizeBytes += chunk.length;
        if (sizeBytes > maxBytes) return null;
        parts.push(chunk);
      }
      signal.throwIfAborted();
      return Buffer.concat(parts);
    } finally {
      await this.discard();
    }
  }

  /** Closes the connection. Idempotent. */
  async discard(): Promise<void> {
    this.#connection.abort();
    const { body } = this.#response;
    if (body !== null && !body.locked) await body.cancel().catch(() => undefined);
  }
}

async function checkStatus(response: HttpResponse): Promise<HttpResponse> {
  const { status } = response;
  if ((status >= 200 && status < 300) || status === 304) return response;
  await response.discard();
  const code = status === 401 || status === 403 ? 'camera_auth' : 'camera_unreachable';
  const hint = statusHint(status);
  throw new AgentError(code, `the camera answered with status ${status}`, {
    context: { status },
    ...(hint === null ? {} : { hint }),
  });
}

function statusHint(status: number): string | null {
  if (status === 401 || status === 403) return null;
  if (status === 404 || status === 410) return CAUSE_REMEDIES.unknown_path;
  if (status >= 500) return CAUSE_REMEDIES.camera_fault;
  return status >= 400 ? CAUSE_REMEDIES.refused_request : CAUSE_REMEDIES.redirect;
}

async function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpResponse> {
  signal.throwIfAborted();
  const connection = new AbortController();
  using _abort = addAbortListener(signal, () => connection.abort());
  try {
    const response = await fetch(url, {
      redirect: 'manual',
      signal: connection.signal,
      // Cameras accept few connections, so none may stay open between captures.
      headers: { ...headers, connection: 'close', 'accept-encoding': 'identity' },
    });
    return new HttpResponse(response, connection);
  } catch (failure) {
    signal.throwIfAborted();
    throw toCameraError(failure);
  }
}

/** Converts a failure of `fetch` to a camera error. */
function toCameraError(failure: unknown): AgentError {
  const cause = failure instanceof Error && failure.cause instanceof Error ? failure.cause : failure;
  // The parser errors of undici (Node's HTTP client) have a name, but no code.
  const reason = errorCode(cause) ?? (cause instanceof Error ? cause.name : '');
  const { code, problem, hint } = classifyReason(reason);
  return new AgentError(code, `the camera ${problem}${reason === '' ? '' : ` (${reason})`}`, {
    cause: failure,
    ...(hint === null ? {} : { hint: CAUSE_REMEDIES[hint] }),
  });
}

interface FailureClass {
  readonly code: CameraErrorCode;
  readonly problem: string;
  readonly hint: keyof typeof CAUSE_REMEDIES | null;
}

const UNREACHABLE = 'cannot be reached';
/** By the code of Node, OpenSSL or the HTTP parser, the most specific first. */
const FAILURE_CLASSES: readonly (readonly [RegExp, FailureClass])[] = [
  [/TIMEOUT|ETIMEDOUT/, { code: 'camera_timeout', problem: 'does not answer', hint: null }],
  [
    /CERT|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|INVALID_CA/,
    { code: 'camera_unreachable', problem: 'has a certificate that is not trusted', hint: 'certificate' },
  ],
  [
    /^HPE_|HTTPParserError|HEADERS_OVERFLOW|RESPONSE/,
    { code: 'camera_codec', problem: 'does not speak HTTP', hint: 'other_protocol' },
  ],
  [
    /^(EPROTO|ERR_SSL_)/,
    { code: 'camera_unreachable', problem: 'does not speak TLS', hint: 'other_protocol' },
  ],
  [/^ECONNREFUSED$/, { code: 'camera_unreachable', problem: UNREACHABLE, hint: 'refused_port' }],
  [/^(ENOTFOUND|EAI_)/, { code: 'camera_unreachable', problem: UNREACHABLE, hint: 'unknown_host' }],
];
const OTHER_FAILURE: FailureClass = { code: 'camera_unreachable', problem: UNREACHABLE, hint: null };

const classifyReason = (reason: string): FailureClass =>
  FAILURE_CLASSES.find(([pattern]) => pattern.test(reason))?.[1] ?? OTHER_FAILURE;
