/** How every stored record ends: what is known only when it is sent comes last. */
const OPEN_END = '"published_at":null,"historical":false}';

/**
 * The record with what is known only when it is sent; `publishedAt` as on the wire. Put in as text: a month's backlog is
 * not parsed for it. Text that is no JSON is handed on as it is: where it came from it will be again.
 */
export function sendable(payload: string, publishedAt: string, historical: boolean): string {
  if (payload.endsWith(OPEN_END))
    return `${payload.slice(0, -OPEN_END.length)}"published_at":"${publishedAt}","historical":${String(historical)}}`;
  const record = JSON.parse(payload) as Record<string, unknown>;
  return JSON.stringify({ ...record, published_at: publishedAt, historical });
}
