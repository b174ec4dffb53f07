import type { FastifyReply, FastifyRequest } from 'fastify';
import { addVary } from './vary.ts';

/** What a page may send beside what every page may: the token, and JSON. */
const ALLOWED_HEADERS = 'authorization, content-type';
/** What a page may read of an answer beside its body and type. */
const EXPOSED_HEADERS = 'allow, content-disposition, retry-after';
/** How long a browser may keep the answer to its question, seconds. */
const MAX_AGE_S = 600;

/** What `Access-Control-Allow-Origin` may say to this page; null when it is none of the listed. */
export function allowedOrigin(allowed: readonly string[], origin: string | undefined): string | null {
  if (origin === undefined) return null;
  if (allowed.includes(origin)) return origin;
  return allowed.includes('*') ? '*' : null;
}

/** A browser's question whether a page may send what it is about to send; it carries no token. */
export function isPreflight({ method, headers }: FastifyRequest): boolean {
  return (
    method === 'OPTIONS' &&
    headers.origin !== undefined &&
    headers['access-control-request-method'] !== undefined
  );
}

/**
 * Lets the listed pages read the answer. Never with `Access-Control-Allow-Credentials`: the token is a header that the
 * page sends itself, and there is nothing that a browser would add for it.
 */
export function allowPage(request: FastifyRequest, reply: FastifyReply, allowed: readonly string[]): void {
  if (allowed.length === 0) return;
  if (!allowed.includes('*')) addVary(reply, 'Origin');
  const origin = allowedOrigin(allowed, request.headers.origin);
  if (origin === null) return;
  void reply.header('access-control-allow-origin', origin);
  void reply.header('access-control-expose-headers', EXPOSED_HEADERS);
}

/** Answers a preflight of a page that `allowPage` has let in. */
export function answerPreflight(
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
