import type { FastifyReply } from 'fastify';

/** Says, beside what it says already, that the answer depends on this header of the request. */
export function addVary(reply: FastifyReply, header: string): void {
  const before = reply.getHeader('vary');
  const names = typeof before === 'string' ? before.split(', ') : [];
  if (!names.includes(header)) void reply.header('vary', [...names, header].join(', '));
}
