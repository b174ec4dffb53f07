import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { AgentError } from '../base/errors.ts';
import { allowedOrigin, isPreflight } from './cors.ts';

const LOOPBACK_NAME = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/i;
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
/** For supervisors that have no token; they say nothing but yes or no. */
const OPEN_PATHS = new Set(['/live', '/ready']);

export interface GuardOptions {
  /** True when only this machine can reach the server. */
  readonly loopback: boolean;
  readonly token: string | null;
  /** Origins of other pages that may ask. */
  readonly cors: readonly string[];
}

/**
 * Refuses a request before anything else looks at it. Throws `request_invalid`, `request_host_refused`,
 * `request_origin_refused` or `request_unauthorized`.
 */
export function guard(options: GuardOptions): (request: FastifyRequest) => void {
  const expected = options.token === null ? null : digest(options.token);
  return (request) => {
    const { host, origin, authorization } = request.headers;
    // With an address in front of the path, and that of another site perhaps: what a proxy would be asked.
    if (!/^[/*]/.test(request.url)) throw new AgentError('request_invalid', 'this is no proxy');
    if (!hasOneHost(request)) throw new AgentError('request_invalid', 'one Host header is wanted');
    // A page whose name was rebound to 127.0.0.1 still sends its own name (DNS rebinding).
    if (options.loopback && !LOOPBACK_NAME.test(host ?? ''))
      throw new AgentError('request_host_refused', 'the Host header does not name this machine');
    const path = request.url.split('?', 1)[0] ?? '';
    if (OPEN_PATHS.has(path) && SAFE_METHODS.has(request.method)) return;
    const page = allowedOrigin(options.cors, origin);
    if (origin !== undefined && !isOwn(origin, host)) {
      if (page === null) throw new AgentError('request_origin_refused', 'this page may not ask');
      // Any page at all may look where `*` says so, but none may change a thing without proof that it may.
      if (page === '*' && expected === null && !SAFE_METHODS.has(request.method))
        throw new AgentError('request_origin_refused', 'pages may send when they are listed by name');
    }
    if (page !== null && isPreflight(request)) return;
    if (expected !== null && !carries(authorization, expected))
      throw new AgentError('request_unauthorized', 'a valid bearer token is wanted');
  };
}

/** None is allowed in HTTP/1.0 only; of two, the agent and what stands before it might believe different ones. */
function hasOneHost({ raw }: FastifyRequest): boolean {
  let hosts = 0;
  for (let at = 0; at < raw.rawHeaders.length; at += 2)
    if (raw.rawHeaders[at]?.toLowerCase() === 'host') hosts += 1;
  return hosts === 1 || (hosts === 0 && raw.httpVersion === '1.0');
}

function carries(authorization: string | undefined, expected: Buffer): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  return given !== undefined && timingSafeEqual(digest(given), expected);
}

function isOwn(origin: string, host: string | undefined): boolean {
  return (
    host !== undefined &&
    URL.parse(origin)?.host.toLowerCase() === URL.parse(`http://${host}`)?.host.toLowerCase()
  );
}

// Equal lengths, as timingSafeEqual wants, and nothing told by the time of the comparison.
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
