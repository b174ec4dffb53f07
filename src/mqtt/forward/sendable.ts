/** How every stored record ends: what is known only when it is sent comes last. */
const OPEN_END = '"published_at":null,"historical":false}';

const closedEnd = (publishedAt: string, historical: boolean): string =>
  `"published_at":"${publishedAt}","historical":${String(historical)}}`;

/**
 * The record with what is known only when it is sent; `publishedAt` as on the wire. Put in as text: a month's backlog is
 * not parsed for it. Text that is no JSON is handed on as it is: where it came from it will be again.
 */
export function sendable(payload: string, publishedAt: string, historical: boolean): string {
  if (payload.endsWith(OPEN_END))
    return payload.slice(0, -OPEN_END.length) + closedEnd(publishedAt, historical);
  const record = JSON.parse(payload) as Record<string, unknown>;
  return JSON.stringify({ ...record, published_at: publishedAt, historical });
}

/** Memory for about a dozen records, taken at once. */
const SLAB_BYTES = 32_768;
/** UTF-8 takes no more for a UTF-16 code unit. */
const MAX_BYTES_PER_UNIT = 3;

/**
 * The same as bytes, written where they will lie: a backlog that is put together as strings is two more copies of each
 * record for the garbage collector.
 */
export class SendableBytes {
  #slab = Buffer.alloc(0);
  #used = 0;
  /** The end that was written last: many records are sent within one moment. */
  #end = { publishedAt: '', historical: false, text: '' };

  of(payload: string, publishedAt: string, historical: boolean): Buffer {
    if (!payload.endsWith(OPEN_END)) return Buffer.from(sendable(payload, publishedAt, historical));
    const end = this.#endOf(publishedAt, historical);
    const mostBytes = payload.length * MAX_BYTES_PER_UNIT + end.length;
    if (this.#slab.length - this.#used < mostBytes) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, mostBytes));
      this.#used = 0;
    }
    const from = this.#used;
    const endAt = from + this.#slab.write(payload, from) - OPEN_END.length;
    this.#used = endAt + this.#slab.write(end, endAt, 'latin1');
    return this.#slab.subarray(from, this.#used);
  }

  #endOf(publishedAt: string, historical: boolean): string {
    if (this.#end.publishedAt !== publishedAt || this.#end.historical !== historical)
      this.#end = { publishedAt, historical, text: closedEnd(publishedAt, historical) };
    return this.#end.text;
  }
}
