import type { IncomingMessage } from 'node:http';
import { TransferFault } from './transfer-fault.ts';

/** Answers for something that is not there; stores of objects say 403. */
const NOT_THERE = new Set([403, 404, 410]);

export const isMissing = ({ statusCode = 0 }: IncomingMessage): boolean => NOT_THERE.has(statusCode);

export function expectStatus(response: IncomingMessage, wanted: readonly number[]): void {
  const status = response.statusCode ?? 0;
  if (wanted.includes(status)) return;
  response.destroy();
  throw new TransferFault(`the repository answered ${status}`, null);
}

/** Length of the body in bytes; null when it is not told. */
export function announcedBytes({ headers }: IncomingMessage): number | null {
  const text = headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** An ETag that stands for the very bytes. */
export function strongTag({ headers: { etag } }: IncomingMessage): string | null {
  return etag !== undefined && /^"[\x21\x23-\x7e]{1,256}"$/.test(etag) ? etag : null;
}

/** Of a 206. Source: RFC 9110 section 14.4. */
export function contentRange({ headers }: IncomingMessage): {
  readonly from: number;
  /** Of the whole; null when the server does not know it. */
  readonly totalBytes: number | null;
} | null {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers['content-range'] ?? '');
  if (!match) return null;
  return { from: Number(match[1]), totalBytes: match[2] === '*' ? null : Number(match[2]) };
}
