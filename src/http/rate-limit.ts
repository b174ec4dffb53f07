export interface RateLimitOptions {
  /** Requests that one client may make, at once or over a minute. */
  readonly perMinute: number;
  /** Clients that are told apart; those beyond it share one share. */
  readonly mostClients?: number;
}

export interface RateLimitDeps {
  readonly monoMs: () => number;
}

const MINUTE_MS = 60_000;
const MAX_CLIENTS = 4096;
const OTHERS = '(others)';

/**
 * Bounds what one client asks for: as many requests as fit a minute at once, and one more each time that its share of
 * the minute has passed (generic cell rate algorithm, ITU-T I.371 annex A). One number is kept for each client.
 */
export class RateLimit {
  readonly #intervalMs: number;
  readonly #mostClients: number;
  readonly #deps: RateLimitDeps;
  /** When a client has its whole minute again, the one that asked longest ago first. */
  readonly #wholeAtMs = new Map<string, number>();

  constructor({ perMinute, mostClients = MAX_CLIENTS }: RateLimitOptions, deps: RateLimitDeps) {
    this.#intervalMs = MINUTE_MS / perMinute;
    this.#mostClients = mostClients;
    this.#deps = deps;
  }

  /** Counts a request. How long this client has to wait, ms: 0 when it may go on. */
  take(client: string): number {
    const nowMs = this.#deps.monoMs();
    const key = this.#wholeAtMs.has(client) || this.#makeRoom(nowMs) ? client : OTHERS;
    const wholeAtMs = Math.max(nowMs, this.#wholeAtMs.get(key) ?? nowMs) + this.#intervalMs;
    // A minute in steps that are no whole number of milliseconds adds up to a little more than a minute.
    const waitMs = wholeAtMs - nowMs - MINUTE_MS;
    if (waitMs > this.#intervalMs / 1000) return waitMs;
    this.#wholeAtMs.delete(key);
    this.#wholeAtMs.set(key, wholeAtMs);
    return 0;
  }

  get clients(): number {
    return this.#wholeAtMs.size;
  }

  #makeRoom(nowMs: number): boolean {
    if (this.#wholeAtMs.size < this.#mostClients) return true;
    for (const [client, wholeAtMs] of this.#wholeAtMs) {
      if (wholeAtMs > nowMs) return false;
      this.#wholeAtMs.delete(client);
      if (client !== OTHERS) return true;
    }
    return true;
  }
}
