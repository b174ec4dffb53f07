import { randomBytes } from 'node:crypto';

/** The largest time that fits, ms. */
const MAX_TIME_MS = 2 ** 48 - 1;

/**
 * A UUID of version 7 (RFC 9562): the time in milliseconds, then 74 random bits. Ids in the order of their creation stay
 * together in an index, so that a new one changes a page that was changed a moment before.
 */
export function timeOrderedUuid(nowMs: number): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Math.min(Math.max(0, Math.floor(nowMs)), MAX_TIME_MS), 0, 6);
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The time in such an id, ms. In ids of other versions these bits mean nothing. */
export const uuidTimeMs = (id: string): number => parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
