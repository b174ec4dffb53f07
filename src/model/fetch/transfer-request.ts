import { request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { passing, TransferFault } from './transfer-fault.ts';
import type { TransferTuning } from './transfer-tuning.ts';

export interface GetOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly tuning: TransferTuning;
  /** False while the date cannot be believed: a certificate may look too young or too old then. */
  readonly clockSynced: boolean;
  readonly signal: AbortSignal;
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** May be otherwise in a moment. Source: RFC 9110 section 15, RFC 6585. */
const PASSING_STATUS = new Set([408, 421, 425, 429, 500, 502, 503, 504, 507]);
const DATE_FAULTS = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);

/**
 * One GET, redirects followed: to the same origin, or to any that speaks TLS. The password in the address goes to its
 * own origin alone. Resolves with the head of the answer, of any status but those that may pass; throws
 * `TransferFault`. The caller reads or destroys the body.
 */
export async function get(start: URL, options: GetOptions): Promise<IncomingMessage> {
  let url = start;
  for (let hops = 0; ; hops += 1) {
    const response = await head(url, start, options);
    const status = response.statusCode ?? 0;
    if (REDIRECTS.has(status)) {
      response.destroy();
      if (hops >= options.tuning.redirects) throw new TransferFault('too many redirects', null);
      url = redirected(url, start, response.headers.location);
      continue;
    }
    if (PASSING_STATUS.has(status) || status < 200) {
      response.destroy();
      throw new TransferFault(`the repository answered ${status}`, { afterMs: retryAfterMs(response) });
    }
    const { 'content-encoding': encoding = 'identity' } = response.headers;
    if (encoding !== 'identity') {
      response.destroy();
      throw new TransferFault('the repository compresses what it was asked to send as it is', null);
    }
    return response;
  }
}

function redirected(from: URL, start: URL, location: string | undefined): URL {
  const to = location === undefined ? null : URL.parse(location, from.href);
  if (to === null) throw new TransferFault('a redirect to nowhere', null);
  if (to.origin !== start.origin && to.protocol !== 'https:')
    throw new TransferFault('a redirect to another place without TLS is not followed', null);
  return to;
}

function head(
  url: URL,
  start: URL,
  { headers, tuning, clockSynced, signal }: GetOptions,
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
    timeout: tuning.idleMs,
  };
  return new Promise((resolve, reject) => {
    const plain = new URL(url.href);
    // Given as a header, and only where it belongs.
    plain.username = plain.password = '';
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(plain, options);
    // A header that drips keeps the idle timer from firing.
    const timer = setTimeout(() => request.destroy(passing('no whole answer in time')), tuning.headerMs);
    request.on('timeout', () => request.destroy(passing('nothing comes any more')));
    request.once('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    // It may also fail later, when the body tells by itself.
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(asFault(error, clockSynced));
    });
    request.end();
  });
}

function authorization(url: URL, start: URL): Record<string, string> {
  if (url.origin !== start.origin || (start.username === '' && start.password === '')) return {};
  const pair = `${decodeURIComponent(start.username)}:${decodeURIComponent(start.password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** Any error of a connection. What is wrong with a certificate does not mend itself, but its dates may. */
export function asFault(error: Error, clockSynced: boolean): TransferFault {
  if (error instanceof TransferFault) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  const isTls =
    /CERT|^ERR_TLS|^ERR_SSL|SELF_SIGNED|UNABLE_TO_/.test(code) && code !== 'ERR_SSL_BAD_RECORD_TYPE';
  if (isTls && (clockSynced || !DATE_FAULTS.has(code)))
    return new TransferFault(`no safe connection to the repository: ${code}`, null, error);
  return passing(`no connection to the repository: ${code}`, error);
}

/** Of the header `retry-after`, seconds or a date. */
function retryAfterMs({ headers }: IncomingMessage): number {
  const seconds = Number(headers['retry-after'] ?? 0);
  return Number.isFinite(seconds) ? Math.max(0, seconds) * 1000 : 0;
}
