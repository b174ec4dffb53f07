import type { FastifyReply } from 'fastify';

/** Answers that are no page load nothing and are shown in no frame. */
const DATA_POLICY = "default-src 'none'; frame-ancestors 'none'";
/** Pages load from the agent alone; pictures may also be drawn by the page itself. */
const PAGE_POLICY = [
  "default-src 'self'",
  "img-src 'self' data: blob:",
  "style-src 'self' 'unsafe-inline'",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

const HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': DATA_POLICY,
  // What was seen a moment ago is wrong now, and none of it is anyone else's business.
  'cache-control': 'no-store',
};

/** For every answer, before its route says otherwise. */
export function addSecurityHeaders(reply: FastifyReply): void {
  void reply.headers(HEADERS);
}

/** What a page may do, when the answer turns out to be one whose route has not said so itself. */
export function allowPageItsParts(reply: FastifyReply): void {
  const type = reply.getHeader('content-type');
  if (typeof type === 'string' && type.startsWith('text/html'))
    if (reply.getHeader('content-security-policy') === DATA_POLICY)
      void reply.header('content-security-policy', PAGE_POLICY);
}
