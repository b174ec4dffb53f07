import type { FastifyReply } from 'fastify';

/** Responses that are not pages load nothing, and no page may embed them in a frame. */
const DATA_POLICY = "default-src 'none'; frame-ancestors 'none'";
/** Pages load files from the agent only; scripts of the page may also create images. */
const DOCS_POLICY = [
  "default-src 'self'",
  "img-src 'self' data: blob:",
  "style-src 'self' 'unsafe-inline'",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': DATA_POLICY,
  // Values are outdated after seconds, and shared caches must not keep private data.
  'cache-control': 'no-store',
};

/** Sets the headers of every response. A route may replace them later. */
export function addSecurityHeaders(reply: FastifyReply): void {
  void reply.headers(SECURITY_HEADERS);
}

/** Lets an HTML page load its files, unless its route has set an own policy. */
export function relaxPolicyForPages(reply: FastifyReply): void {
  const type = reply.getHeader('content-type');
  if (typeof type === 'string' && type.startsWith('text/html'))
    if (reply.getHeader('content-security-policy') === DATA_POLICY)
      void reply.header('content-security-policy', DOCS_POLICY);
}

/** Adds a request header to `Vary`: the response depends on it. */
export function addVary(reply: FastifyReply, header: string): void {
  const before = reply.getHeader('vary');
  const names = typeof before === 'string' ? before.split(', ') : [];
  if (!names.includes(header)) void reply.header('vary', [...names, header].join(', '));
}
