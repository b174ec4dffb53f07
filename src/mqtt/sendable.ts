import { isoTime } from '../clock.ts';

/** How every stored record ends: what is known only when it is sent comes last. */
const OPEN_END = '"published_at":null,"historical":false}';

/** The record with what is known only when it is sent. Put in as text: a month's backlog is not parsed for it. */
export function sendable(payload: string, publishedAtMs: number, historical: boolean): string {
  if (!payload.endsWith(OPEN_END)) {
    const record = JSON.parse(payload) as Record<string, unknown>;
    return JSON.stringify({ ...record, published_at: isoTime(publishedAtMs), historical });
  }
  const start = payload.slice(0, -OPEN_END.length);
  return `${start}"published_at":"${isoTime(publishedAtMs)}","historical":${String(historical)}}`;
}
