import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { AgentError } from '../base/errors.ts';
import { allowedOrigin, isPreflight } from './cors.ts';

const LOOPBACK_NAME = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/i;
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Paths without a token, for supervisors. They reveal only yes or no. */
const OPEN_PATHS = new Set(['/live', '/ready']);

export interface GuardOptions {
  /** True when only this machine can reach the server. */
  readonly isLoopback: boolean;
  readonly token: string | null;
  /** Origins of foreign pages that may send requests. */
  readonly cors: readonly string[];
}

/**
 * Creates the check of the target, Host, Origin and token of each request. It throws `request_invalid`,
 * `request_host_refused`, `request_origin_refused` or `request_unauthorized`.
 */
export function createGuard(options: GuardOptions): (request: FastifyRequest) => void {
  const expected = options.token === null ? null : digest(options.token);
  return (request) => {
    const { host, origin, authorization } = request.headers;
    // A proxy receives a full URL as the target, possibly of another host.
    if (!/^[/*]/.test(request.url)) throw new AgentError('request_invalid', 'this server is not a proxy');
    if (!hasOneHost(request)) throw new AgentError('request_invalid', 'exactly one Host header is required');
    // After DNS rebinding to 127.0.0.1, the browser still sends the host name of the foreign page.
    if (options.isLoopback && !LOOPBACK_NAME.test(host ?? ''))
      throw new AgentError('request_host_refused', 'the Host header does not name this machine');
    const path = pathOf(request);
    if (OPEN_PATHS.has(path) && SAFE_METHODS.has(request.method)) return;
    const allowed = allowedOrigin(options.cors, origin);
    if (origin !== undefined && !isSameOrigin(origin, host)) {
      if (allowed === null)
        throw new AgentError('request_origin_refused', 'http.cors does not list the origin of this page');
      // With `*`, every page may read, but a page may change something only with the token.
      if (allowed === '*' && expected === null && !SAFE_METHODS.has(request.method))
        throw new AgentError(
          'request_origin_refused',
          'without a token, only pages that http.cors lists by name may send this request',
        );
    }
    if (allowed !== null && isPreflight(request)) return;
    if (expected !== null && !hasToken(authorization, expected))
      throw new AgentError('request_unauthorized', 'a valid bearer token is required');
  };
}

/** The path of a request without its query. */
export const pathOf = ({ url }: FastifyRequest): string => url.split('?', 1)[0] ?? '';

/** HTTP/1.0 allows a request without Host. With two Host headers, the agent and a proxy in front of it could choose different ones. */
function hasOneHost({ raw }: FastifyRequest): boolean {
  let hosts = 0;
  for (let at = 0; at < raw.rawHeaders.length; at += 2)
    if (raw.rawHeaders[at]?.toLowerCase() === 'host') hosts += 1;
  return hosts === 1 || (hosts === 0 && raw.httpVersion === '1.0');
}

function hasToken(authorization: string | undefined, expected: Buffer): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  return given !== undefined && timingSafeEqual(digest(given), expected);
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  return (
    host !== undefined &&
    URL.parse(origin)?.host.toLowerCase() === URL.parse(`http://${host}`)?.host.toLowerCase()
  );
}

// timingSafeEqual requires equal lengths.
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
