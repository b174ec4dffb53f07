import { AgentError } from '../../base/errors.ts';
import type { Camera as CameraSettings } from '../../config/schema.ts';
import { tlsFor, type TlsSettings } from '../connect.ts';
import { resolveCredentials } from '../credentials.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import { HttpAuth } from './auth.ts';
import type { CookieJar } from './cookies.ts';
import { exchange, type HttpResponse } from './exchange.ts';

type Headers = CameraSettings['headers'];

export interface HttpClientOptions {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  /** Sent with every request to the origin of `url`; of them, others get the user agent and the origin of the referer. */
  readonly headers?: Headers;
  readonly tls?: TlsSettings;
  /** Default: cookies are ignored. */
  readonly cookies?: CookieJar;
}

const MAX_REDIRECTS = 3;
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);

/**
 * Sends GET requests to one camera, with authentication and redirects. Credentials and secret headers go only to the
 * configured origin (scheme, host and port). Keeps no connection open after a response.
 */
export class HttpClient {
  readonly #url: URL;
  readonly #auth: HttpAuth | null;
  readonly #headers: Headers;
  readonly #tls: TlsSettings | undefined;
  readonly #cookies: CookieJar | undefined;

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
    this.#headers = options.headers ?? {};
    this.#tls = options.tls;
    this.#cookies = options.cookies;
  }

  /** Without credentials. */
  get url(): URL {
    return this.#url;
  }

  /**
   * Returns a response with its headers; its body is not read yet. The signal applies until the headers have arrived.
   * Throws `camera_auth`, `camera_unreachable`, `camera_timeout` or `camera_codec`.
   */
  async get(
    conditionalHeaders: Readonly<Record<string, string>>,
    signal: AbortSignal,
    address = this.#url,
  ): Promise<HttpResponse> {
    let url = address;
    for (let redirects = 0; ; redirects += 1) {
      const response = await this.#getAuthenticated(url, conditionalHeaders, signal);
      const location = response.firstHeader('location');
      if (!REDIRECT_STATUSES.has(response.status) || location === null)
        return this.#checkStatus(response, url);
      response.discard();
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
    const isTrusted = this.#isTrusted(url);
    const auth = isTrusted ? this.#auth : null;
    const ownHeaders = isTrusted ? this.#headers : headersForOthers(this.#headers);
    const cookie = this.#cookies?.headerFor(url) ?? null;
    const headers = { ...(cookie === null ? {} : { cookie }), ...ownHeaders, ...conditionalHeaders };
    const tls = tlsFor(this.#tls, url.hostname, this.#url.hostname);
    // Cameras lock accounts after wrong passwords: send the credentials once, and again only if the nonce was stale.
    for (let attempt = 0; ; attempt += 1) {
      const authorization = auth?.authorize('GET', url.pathname + url.search) ?? null;
      const response = await exchange(
        { url, tls, headers: authorization === null ? headers : { ...headers, authorization } },
        signal,
      );
      this.#cookies?.store(url, response.headers('set-cookie'));
      if (response.status !== 401 || !auth) {
        auth?.acceptInfo(response.header('authentication-info'));
        return response;
      }
      const challenge = response.header('www-authenticate');
      const isRetry = attempt > 0;
      const isStale = /\bstale\s*=\s*"?true/i.test(challenge ?? '');
      if (!auth.acceptChallenge(challenge) || (isRetry && !isStale) || attempt > 1) return response;
      response.discard();
    }
  }

  /** Another port or scheme is another server, which may belong to somebody else. */
  #isTrusted(url: URL): boolean {
    return url.origin === this.#url.origin;
  }

  #checkStatus(response: HttpResponse, url: URL): HttpResponse {
    const { status } = response;
    if ((status >= 200 && status < 300) || status === 304) return response;
    response.discard();
    const isRefused = status === 401 || status === 403;
    const isElsewhere = isRefused && this.#auth !== null && !this.#isTrusted(url);
    const hint = isElsewhere ? CAUSE_REMEDIES.other_origin : statusHint(status);
    throw new AgentError(
      isRefused ? 'camera_auth' : 'camera_unreachable',
      isElsewhere
        ? `the camera redirects to ${url.origin}, which gets no credentials and answered with status ${status}`
        : `the camera answered with status ${status}`,
      { context: { status }, ...(hint === null ? {} : { hint }) },
    );
  }
}

function statusHint(status: number): string | null {
  if (status === 401 || status === 403) return null;
  if (status === 404 || status === 410) return CAUSE_REMEDIES.unknown_path;
  if (status >= 500) return CAUSE_REMEDIES.camera_fault;
  return status >= 400 ? CAUSE_REMEDIES.refused_request : CAUSE_REMEDIES.redirect;
}

/**
 * What servers of segments and pictures on other hosts usually demand. As browsers do, they get the origin of the referer: its
 * path and query may be secret.
 */
function headersForOthers(headers: Headers): Headers {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      if (/^user-agent$/i.test(name)) return [[name, value]];
      const origin = /^referer$/i.test(name) ? URL.parse(value)?.origin : undefined;
      return origin === undefined || origin === 'null' ? [] : [[name, `${origin}/`]];
    }),
  );
}
