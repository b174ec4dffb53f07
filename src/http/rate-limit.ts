import type { Clock } from '../base/clock.ts';
import { TokenBucket } from '../base/token-bucket.ts';

export interface RateLimitOptions {
  /** Requests of one client: this many at once, and this many per minute in the long run. */
  readonly perMinute: number;
  /** Clients that are counted separately; all further clients share one bucket. */
  readonly maxClients?: number;
}

const MAX_CLIENTS = 4096;
const OTHERS = '(others)';

/** Limits the requests of each client with a token bucket (generic cell rate algorithm, ITU-T I.371 annex A). */
export class RateLimit {
  readonly #perMinute: number;
  readonly #maxClients: number;
  readonly #clock: Pick<Clock, 'monoMs'>;
  /** Clients whose bucket is not full. The least recently admitted client is first. */
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(
    { perMinute, maxClients = MAX_CLIENTS }: RateLimitOptions,
    { clock }: { readonly clock: Pick<Clock, 'monoMs'> },
  ) {
    this.#perMinute = perMinute;
    this.#maxClients = maxClients;
    this.#clock = clock;
  }

  /** Counts a request. Returns how long the client has to wait, ms; 0 when the request is allowed. A refusal is not counted. */
  take(client: string): number {
    const key = this.#buckets.has(client) || this.#makeRoom() ? client : OTHERS;
    const bucket =
      this.#buckets.get(key) ??
      new TokenBucket({ perS: this.#perMinute / 60, burst: this.#perMinute }, this.#clock);
    const waitMs = bucket.waitMs();
    if (waitMs > 0) return waitMs;
    bucket.take();
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    return 0;
  }

  get clients(): number {
    return this.#buckets.size;
  }

  /** Removes a full bucket, which equals no bucket, when there is no room for another client. */
  #makeRoom(): boolean {
    if (this.#buckets.size < this.#maxClients) return true;
    for (const [client, bucket] of this.#buckets) {
      if (!bucket.isFull()) return false;
      this.#buckets.delete(client);
      if (client !== OTHERS) return true;
    }
    return true;
  }
}

const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** The key of a client: its IPv4 address, or its IPv6 network of 64 bits, because one household has all addresses in it (RFC 6177). */
export function clientKey(address: string | undefined): string {
  const plain = (address ?? '').split('%', 1)[0] ?? '';
  const mapped = MAPPED_IPV4.exec(plain)?.[1];
  if (mapped !== undefined) return mapped;
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.split('::', 2);
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0');
  return `${[...first, ...zeros, ...last].slice(0, 4).join(':')}::/64`;
}
