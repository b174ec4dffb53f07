import type { Clock } from '../../base/clock.ts';
import { Backoff } from '../../base/retry.ts';
import { failed, TransferFault } from './transfer-fault.ts';
import type { TransferTuning } from './transfer-tuning.ts';

export interface RetryDeps {
  readonly clock: Clock;
  readonly random?: () => number;
  /** Told of each pause before another attempt. */
  readonly onWait?: (reason: string, retryInMs: number) => void;
}

/** Tries again what may pass, with full jitter, as long as bytes come now and then. */
export class Persistence {
  readonly #tuning: TransferTuning;
  readonly #deps: RetryDeps;
  readonly #startedMs: number;
  #progressMs: number;
  #gainedBytes = 0;
  #backoff: Backoff;

  constructor(tuning: TransferTuning, deps: RetryDeps) {
    this.#tuning = tuning;
    this.#deps = deps;
    this.#startedMs = this.#progressMs = deps.clock.monoMs();
    this.#backoff = new Backoff(tuning.backoff, deps);
  }

  /** Tells of bytes that are new. A trickle does not count: only every `leastBytes` prove the network alive. */
  gained(bytes: number): void {
    this.#gainedBytes += bytes;
    if (this.#gainedBytes < this.#tuning.leastBytes) return;
    this.#gainedBytes = 0;
    this.#progressMs = this.#deps.clock.monoMs();
    this.#backoff = new Backoff(this.#tuning.backoff, this.#deps);
  }

  /** Throws `model_transfer_failed` when patience is at its end or no other attempt can help. */
  async run<T>(attempt: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await attempt(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (!(thrown instanceof TransferFault)) throw thrown;
        if (thrown.again === null) throw failed(thrown.message, thrown);
        await this.#pause(thrown, thrown.again.afterMs, signal);
      }
    }
  }

  async #pause(fault: TransferFault, atLeastMs: number, signal: AbortSignal): Promise<void> {
    const { clock, onWait } = this.#deps;
    const { patienceMs, overallMs, backoff } = this.#tuning;
    const waitMs = Math.max(this.#backoff.nextMs(), Math.min(atLeastMs, backoff.maxMs * 5));
    const endMs = Math.min(this.#progressMs + patienceMs, this.#startedMs + overallMs);
    if (clock.monoMs() + waitMs > endMs) throw failed(`given up: ${fault.message}`, fault);
    onWait?.(fault.message, waitMs);
    await clock.sleep(waitMs, signal);
  }
}
