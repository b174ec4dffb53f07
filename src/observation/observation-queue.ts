import { addAbortListener } from 'node:events';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Schedule, Slot } from '../schedule/types.ts';

export interface ObservationQueueOptions {
  /** No observation starts before this settles. It must not reject. */
  readonly after: Promise<unknown>;
}

export interface ObservationQueueDeps {
  readonly clock: Clock;
  readonly schedule: Pick<Schedule, 'nextRunAtMs'>;
  /** Why the newest burst of the camera failed; null when it did not. */
  readonly failure: () => AgentError | null;
}

interface Request {
  readonly start: () => void;
  readonly refuse: () => void;
  /** True when a scheduled observation, and no request, ran since this request arrived. */
  hasWaitedForSlot: boolean;
}

/** What the queue reads of an observation. */
interface Outcome {
  readonly status: string;
}

/** Requests of one camera that may wait. Each holds a connection or a command open. */
const MAX_WAITING_REQUESTS = 4;
/** A request that may delay the next slot starts only when this many slots ran since the last such request. */
const SLOTS_PER_DELAY = 10;
const MAX_RETRY_AFTER_S = 300;

/**
 * Runs the observations of one camera one after another: those of the schedule first, then those on request.
 *
 * INVARIANTS
 * - A scheduled observation waits only for the one that runs, never for a request that waits.
 * - At most `MAX_WAITING_REQUESTS` requests wait; further ones are refused (`capture_busy`).
 * - A request that would not end before the next slot waits for that slot. If it does not fit after the slot either, it
 *   is refused, except once in `SLOTS_PER_DELAY` slots. So requests cost at most a tenth of the slots.
 */
export class ObservationQueue {
  readonly #deps: ObservationQueueDeps;
  /** Starts the scheduled observation that waits. There is at most one, because the schedule waits for its end. */
  #slot: (() => void) | null = null;
  #requests: Request[] = [];
  /** For the scheduled observation that runs. */
  #requestWaits = new AbortController();
  #isBusy = true;
  #isDraining = false;
  #onIdle = Promise.withResolvers<unknown>();
  /** Duration of the last observation on request, or in a slot that did not fail: the estimate for the next one. */
  #durationMs = 0;
  #slotsSinceDelay = SLOTS_PER_DELAY;

  constructor(options: ObservationQueueOptions, deps: ObservationQueueDeps) {
    this.#deps = deps;
    void options.after.then(() => this.#startNext());
  }

  get hasRoomForRequest(): boolean {
    return this.#requests.length < MAX_WAITING_REQUESTS;
  }

  /**
   * Runs the observation of a slot, or records a lost slot, before all waiting requests. Settles as `work` does. The signal
   * that `work` gets fires when a request waits for its end.
   */
  async runSlot<T extends Outcome>(
    { skipped }: Pick<Slot, 'skipped'>,
    work: (requestWaits: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#slot = () => resolve(null);
    this.#startIfIdle();
    await promise;
    this.#slotsSinceDelay += 1;
    const waits = (this.#requestWaits = new AbortController());
    if (skipped !== null) return this.#run(() => work(waits.signal));
    for (const request of this.#requests) request.hasWaitedForSlot = true;
    if (this.#requests.length > 0) waits.abort();
    const startedMs = this.#deps.clock.monoMs();
    return await this.#run(async () => {
      const outcome = await work(waits.signal);
      // A request does not retry, so a slot that failed after retries is no estimate for one.
      if (outcome.status !== 'failed') this.#durationMs = this.#deps.clock.monoMs() - startedMs;
      return outcome;
    });
  }

  /**
   * Runs an observation on request. Settles as `work` does; rejects with `capture_busy` when it is refused, and with the
   * reason of the signal when that fires before the start.
   */
  async runRequest<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (!this.hasRoomForRequest) throw this.#busyError('captures on request wait for this camera already');
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const request: Request = {
      start: () => resolve(null),
      refuse: () =>
        reject(this.#busyError('the schedule of the camera leaves no time for a capture on request')),
      hasWaitedForSlot: false,
    };
    using _abort = addAbortListener(signal, () => {
      this.#requests = this.#requests.filter((waiting) => waiting !== request);
      reject(signal.reason);
    });
    this.#requests.push(request);
    this.#requestWaits.abort();
    this.#startIfIdle();
    await promise;
    const startedMs = this.#deps.clock.monoMs();
    return await this.#run(() =>
      work().finally(() => (this.#durationMs = this.#deps.clock.monoMs() - startedMs)),
    );
  }

  /** The schedule has ended: runs the waiting requests. Resolves when nothing runs or waits. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#startIfIdle();
    if (this.#isBusy) await this.#onIdle.promise;
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      this.#startNext();
    }
  }

  #startIfIdle(): void {
    if (!this.#isBusy) this.#startNext();
  }

  #startNext(): void {
    this.#isBusy = true;
    if (this.#slot) {
      this.#slot();
      this.#slot = null;
      return;
    }
    const mayDelay = this.#slotsSinceDelay >= SLOTS_PER_DELAY && this.#requests[0]?.hasWaitedForSlot === true;
    const fits = this.#isDraining || this.#durationMs <= this.#msToNextSlot();
    if (!fits && !mayDelay) this.#refuseRequests();
    else {
      const request = this.#requests.shift();
      if (request) {
        if (!fits) this.#slotsSinceDelay = 0;
        for (const waiting of this.#requests) waiting.hasWaitedForSlot = false;
        request.start();
        return;
      }
    }
    this.#isBusy = false;
    this.#onIdle.resolve(null);
    this.#onIdle = Promise.withResolvers<unknown>();
  }

  /** Refuses the requests that did not fit before the last slot, and do not fit now. */
  #refuseRequests(): void {
    for (const request of this.#requests) if (request.hasWaitedForSlot) request.refuse();
    this.#requests = this.#requests.filter(({ hasWaitedForSlot }) => !hasWaitedForSlot);
  }

  #msToNextSlot(): number {
    const { clock, schedule } = this.#deps;
    return (schedule.nextRunAtMs() ?? Infinity) - clock.nowMs();
  }

  #busyError(reason: string): AgentError {
    const waitMs = (this.#requests.length + 1) * this.#durationMs;
    const retryAfterS = Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(waitMs / 1000)));
    const message = `${reason}; try again in ${retryAfterS} s`;
    const context = { retryAfterS };
    const failure = this.#deps.failure();
    if (!failure) return new AgentError('capture_busy', message, { context });
    // A camera that fails slowly is the cause: then a longer schedule is no remedy.
    return new AgentError('capture_busy', `${message} (the newest burst failed: ${failure.message})`, {
      context: { ...context, failure: failure.code },
      hint: failure.hint,
    });
  }
}
