import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { AgentError } from '../errors.ts';

const LOOPBACK_NAME = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/i;
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
/** For supervisors that have no token; they say nothing but yes or no. */
const OPEN_PATHS = new Set(['/live', '/ready']);

export interface GuardOptions {
  /** True when only this machine can reach the server. */
  readonly loopback: boolean;
  readonly token: string | null;
  /** Origins of other pages that may send. */
  readonly cors: readonly string[];
}

/**
 * Refuses a request before anything else looks at it. Throws `request_host_refused`, `request_unauthorized` or
 * `request_origin_refused`.
 */
export function guard(options: GuardOptions): (request: FastifyRequest) => void {
  const expected = options.token === null ? null : digest(options.token);
  return (request) => {
    const { host, origin, authorization } = request.headers;
    // A page whose name was rebound to 127.0.0.1 still sends its own name (DNS rebinding).
    if (options.loopback && !LOOPBACK_NAME.test(host ?? ''))
      throw new AgentError('request_host_refused', 'the Host header does not name this machine');
    const path = request.url.split('?', 1)[0] ?? '';
    if (expected !== null && !OPEN_PATHS.has(path) && !carries(authorization, expected))
      throw new AgentError('request_unauthorized', 'a valid bearer token is wanted');
    if (origin !== undefined && !SAFE_METHODS.has(request.method) && !isOwn(origin, host, options.cors))
      throw new AgentError('request_origin_refused', 'another page may not send this');
  };
}

function carries(authorization: string | undefined, expected: Buffer): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  return given !== undefined && timingSafeEqual(digest(given), expected);
}

function isOwn(origin: string, host: string | undefined, cors: readonly string[]): boolean {
  if (cors.includes('*') || cors.includes(origin)) return true;
  return (
    host !== undefined &&
    URL.parse(origin)?.host.toLowerCase() === URL.parse(`http://${host}`)?.host.toLowerCase()
  );
}

// Equal lengths, as timingSafeEqual wants, and nothing told by the time of the comparison.
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
