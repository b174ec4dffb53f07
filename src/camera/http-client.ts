import { AgentError } from '../base/errors.ts';
import { HttpAnswer, requestFailure } from './http-answer.ts';
import { HttpAuth } from './http-auth.ts';
import { percentDecoded } from './redact.ts';

export interface HttpClientOptions {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

const MAX_REDIRECTS = 3;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** GET requests to one camera: authentication, redirects, conditions; nothing kept open afterwards. */
export class HttpClient {
  readonly #url: URL;
  readonly #auth: HttpAuth | null;

  /** Throws `config_invalid` when the address is none. */
  constructor(options: HttpClientOptions) {
    const url = URL.parse(options.url);
    if (!url || !/^https?:$/.test(url.protocol))
      throw new AgentError('config_invalid', 'url must be an address that begins with http:// or https://');
    const username = options.username ?? percentDecoded(url.username);
    const password = options.password ?? percentDecoded(url.password);
    url.username = '';
    url.password = '';
    this.#url = url;
    this.#auth = username === '' && password === '' ? null : new HttpAuth({ username, password });
  }

  /**
   * The answer with its headers; the body is still to come. The signal holds until then.
   * Throws `camera_auth`, `camera_unreachable`, `camera_timeout` or `camera_codec`.
   */
  async get(conditions: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    let url = this.#url;
    for (let redirects = 0; ; redirects += 1) {
      const answer = await this.#authenticated(url, conditions, signal);
      const location = answer.header('location');
      if (!REDIRECTS.has(answer.status) || location === null) return await checked(answer);
      await answer.discard();
      const next = URL.parse(location, url.href);
      if (redirects === MAX_REDIRECTS || !next || !/^https?:$/.test(next.protocol))
        throw new AgentError('camera_unreachable', 'the camera redirects too often or to no web address');
      next.username = '';
      next.password = '';
      url = next;
    }
  }

  async #authenticated(
    url: URL,
    conditions: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const auth = this.#auth && this.#mayKnow(url) ? this.#auth : null;
    // Wrong passwords lock accounts: a fresh challenge is answered once, and once more only if its nonce grew stale.
    for (let fresh = 0; ; fresh += 1) {
      const authorization = auth?.header('GET', url.pathname + url.search) ?? null;
      const answer = await send(
        url,
        authorization === null ? conditions : { ...conditions, authorization },
        signal,
      );
      if (answer.status !== 401 || !auth) {
        auth?.accepted(answer.header('authentication-info'));
        return answer;
      }
      const header = answer.header('www-authenticate');
      const answered = fresh > 0;
      const stale = /\bstale\s*=\s*"?true/i.test(header ?? '');
      if (!auth.challenged(header) || (answered && !stale) || fresh > 1) return answer;
      await answer.discard();
    }
  }

  /** The credentials are for the configured host alone, and never for it without the encryption that it had. */
  #mayKnow(url: URL): boolean {
    if (url.hostname !== this.#url.hostname) return false;
    return url.origin === this.#url.origin || (url.protocol === 'https:' && this.#url.protocol === 'http:');
  }
}

async function checked(answer: HttpAnswer): Promise<HttpAnswer> {
  const { status } = answer;
  if ((status >= 200 && status < 300) || status === 304) return answer;
  await answer.discard();
  const code = status === 401 || status === 403 ? 'camera_auth' : 'camera_unreachable';
  throw new AgentError(code, `the camera answered with status ${status}`, { context: { status } });
}

async function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  signal.throwIfAborted();
  const request = new AbortController();
  const abort = (): void => request.abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const response = await fetch(url, {
      redirect: 'manual',
      signal: request.signal,
      // A camera has few connections to give, and none is to stay open between captures.
      headers: { ...headers, connection: 'close', 'accept-encoding': 'identity' },
    });
    return new HttpAnswer(response, request);
  } catch (failure) {
    signal.throwIfAborted();
    throw requestFailure(failure);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
