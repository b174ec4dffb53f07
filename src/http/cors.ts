import type { FastifyReply, FastifyRequest } from 'fastify';
import { addVary } from './response-headers.ts';

/** Request headers that a page may send in addition to those that browsers always allow. */
const ALLOWED_HEADERS = 'authorization, content-type';
/** Response headers that a page may read in addition to those that browsers always show. */
const EXPOSED_HEADERS = 'allow, content-disposition, retry-after, swellsight-observation';
/** How long a browser may cache the response to a preflight, seconds. */
const MAX_AGE_S = 600;

/** The value of `Access-Control-Allow-Origin` for this page; null when the page is not listed. */
export function allowedOrigin(allowed: readonly string[], origin: string | undefined): string | null {
  if (origin === undefined) return null;
  if (allowed.includes(origin)) return origin;
  return allowed.includes('*') ? '*' : null;
}

/** True for a CORS preflight: a browser asks whether a page may send a request. It carries no token. */
export function isPreflight({ method, headers }: FastifyRequest): boolean {
  return (
    method === 'OPTIONS' &&
    headers.origin !== undefined &&
    headers['access-control-request-method'] !== undefined
  );
}

/**
 * Lets the listed pages read the response. `Access-Control-Allow-Credentials` is never set: the page sends the token as a
 * header, and there are no credentials that a browser would add.
 */
export function addCorsHeaders(
  request: FastifyRequest,
  reply: FastifyReply,
  allowed: readonly string[],
): void {
  if (allowed.length === 0) return;
  if (!allowed.includes('*')) addVary(reply, 'Origin');
  const origin = allowedOrigin(allowed, request.headers.origin);
  if (origin === null) return;
  void reply.header('access-control-allow-origin', origin);
  void reply.header('access-control-expose-headers', EXPOSED_HEADERS);
}

/** Responds to a preflight. Call this only when `addCorsHeaders` has allowed the origin. */
export function sendPreflightResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  methods: readonly string[],
): void {
  void reply.header('access-control-allow-methods', methods.join(', '));
  void reply.header('access-control-allow-headers', ALLOWED_HEADERS);
  void reply.header('access-control-max-age', String(MAX_AGE_S));
  if (request.headers['access-control-request-private-network'] === 'true')
    void reply.header('access-control-allow-private-network', 'true');
  void reply.code(204).send();
}
