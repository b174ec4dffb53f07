import { request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Clock } from '../../base/clock.ts';
import { percentDecode } from '../../base/redact.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import type { TransferLimits } from './job.ts';

/** Why one attempt at a transfer failed. */
export class TransferFault extends Error {
  override readonly name: string = 'TransferFault';
  /** The wait before the next attempt; null when another attempt cannot help. */
  readonly retry: { readonly afterMs: number } | null;

  constructor(message: string, retry: { readonly afterMs: number } | null, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.retry = retry;
  }
}

/** The body has more bytes than were announced or are allowed. */
export class ExcessBytes extends TransferFault {
  override readonly name = 'ExcessBytes';

  constructor() {
    super('the repository sent more bytes than announced or allowed', { afterMs: 0 });
  }
}

/** A fault that may disappear: the transfer is tried again at once. */
export const temporaryFault = (message: string, cause?: unknown): TransferFault =>
  new TransferFault(message, { afterMs: 0 }, cause);

export interface GetOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly limits: TransferLimits;
  /** False while the agent does not know the date. A valid certificate may then look expired or not yet valid. */
  readonly clockSynced: boolean;
  readonly signal: AbortSignal;
}

const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);
/** Status codes of temporary errors. Source: RFC 9110 section 15, RFC 6585. */
const TEMPORARY_STATUS = new Set([408, 421, 425, 429, 500, 502, 503, 504, 507]);
const DATE_FAULTS = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);

/**
 * Sends one GET request. Follows a redirect to the same origin, and a redirect to another origin if that one uses TLS.
 * Sends the credentials of the URL only to the origin of that URL. Resolves with the response for any status that is
 * not temporary; throws `TransferFault` otherwise. The caller must read or destroy the body.
 */
export async function httpGet(start: URL, options: GetOptions): Promise<IncomingMessage> {
  let url = start;
  for (let redirects = 0; ; redirects += 1) {
    const response = await requestOnce(url, start, options);
    const status = response.statusCode ?? 0;
    if (REDIRECT_STATUS.has(status)) {
      response.destroy();
      if (redirects >= options.limits.maxRedirects) throw new TransferFault('too many redirects', null);
      url = redirectTarget(url, start, response.headers.location);
      continue;
    }
    if (TEMPORARY_STATUS.has(status) || status < 200) {
      response.destroy();
      throw new TransferFault(`the repository answered ${status}`, { afterMs: retryAfterMs(response) });
    }
    const { 'content-encoding': encoding = 'identity' } = response.headers;
    if (encoding !== 'identity') {
      response.destroy();
      throw new TransferFault('the repository compresses the response although this was not requested', null);
    }
    return response;
  }
}

function redirectTarget(from: URL, start: URL, location: string | undefined): URL {
  const to = location === undefined ? null : URL.parse(location, from.href);
  if (to === null) throw new TransferFault('the repository sent a redirect without a valid address', null);
  if (to.origin !== start.origin && to.protocol !== 'https:')
    throw new TransferFault('a redirect to another origin without TLS is not followed', null);
  return to;
}

function requestOnce(
  url: URL,
  start: URL,
  { headers, limits, clockSynced, signal }: GetOptions,
): Promise<IncomingMessage> {
  const options: RequestOptions = {
    method: 'GET',
    headers: {
      ...headers,
      'accept-encoding': 'identity',
      'user-agent': 'swellsight',
      ...authorization(url, start),
    },
    signal,
    timeout: limits.idleMs,
  };
  return new Promise((resolve, reject) => {
    const plain = new URL(url.href);
    // Node would send a user and password in the URL to every origin. The header `authorization` goes only to the right
    // one.
    plain.username = plain.password = '';
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(plain, options);
    // A separate timer, because the idle timer does not fire while a slow server sends the header byte by byte.
    const timer = setTimeout(
      () => request.destroy(temporaryFault('the repository did not send a complete response header in time')),
      limits.headerMs,
    );
    request.on('timeout', () => request.destroy(temporaryFault('the repository sent nothing for too long')));
    request.once('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    // This event may also occur later, when the body reports the same error.
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(connectionFault(error, clockSynced));
    });
    request.end();
  });
}

function authorization(url: URL, start: URL): Record<string, string> {
  if (url.origin !== start.origin || (start.username === '' && start.password === '')) return {};
  const pair = `${percentDecode(start.username)}:${percentDecode(start.password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/**
 * Converts any connection error. A certificate fault is permanent, except when it is about dates and the clock is not
 * synchronised.
 */
function connectionFault(error: Error, clockSynced: boolean): TransferFault {
  if (error instanceof TransferFault) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  const isTls =
    /CERT|^ERR_TLS|^ERR_SSL|SELF_SIGNED|UNABLE_TO_/.test(code) && code !== 'ERR_SSL_BAD_RECORD_TYPE';
  if (isTls && (clockSynced || !DATE_FAULTS.has(code)))
    return new TransferFault(`no secure connection to the repository: ${code}`, null, error);
  return temporaryFault(`no connection to the repository: ${code}`, error);
}

/** The wait from the header `retry-after`, which is read as seconds. A date there gives 0. */
function retryAfterMs({ headers }: IncomingMessage): number {
  const seconds = Number(headers['retry-after'] ?? 0);
  return Number.isFinite(seconds) ? Math.max(0, seconds) * 1000 : 0;
}

export interface BodyOptions {
  readonly limits: TransferLimits;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Most bytes of the body. One byte more makes the attempt fail. */
  readonly maxBytes: number;
  /** Bandwidth limit, bytes per second; 0 means no limit. */
  readonly maxBytesPerS: number;
}

/**
 * Yields the pieces of a body without buffering them. Throws `TransferFault` when the body ends before its announced
 * length, exceeds `maxBytes`, pauses for too long or becomes too slow, or when the connection fails.
 */
export async function* readBody(response: IncomingMessage, options: BodyOptions): AsyncGenerator<Buffer> {
  const { limits, clock, signal, maxBytes, maxBytesPerS } = options;
  let windowBytes = 0;
  let bodyBytes = 0;
  const bandwidth = new TokenBucket({ perS: maxBytesPerS, burst: 1 }, clock);
  const slowCheck = setInterval(() => {
    if (windowBytes < limits.minWindowBytes) response.destroy(temporaryFault('the connection is too slow'));
    windowBytes = 0;
  }, limits.windowMs);
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      windowBytes += piece.length;
      bodyBytes += piece.length;
      if (bodyBytes > maxBytes) throw new ExcessBytes();
      yield piece;
      bandwidth.take(piece.length);
      const waitMs = bandwidth.waitMs();
      if (waitMs > 0) await clock.sleep(waitMs, signal);
    }
    if (!response.complete) throw temporaryFault('the connection broke');
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown instanceof Error && isConnectionError(thrown) ? connectionFault(thrown, true) : thrown;
  } finally {
    clearInterval(slowCheck);
    response.destroy();
  }
}

/** True for an error of the socket or of HTTP; false for an error of this agent or of the disk. */
const isConnectionError = (error: Error): boolean =>
  'code' in error &&
  typeof error.code === 'string' &&
  /^(ECONN|EPIPE|ETIMEDOUT|ENET|EHOST|HPE_|ERR_STREAM|ERR_SSL|ERR_TLS|ABORT)/.test(error.code);
