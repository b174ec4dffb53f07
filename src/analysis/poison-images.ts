import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError, type ErrorCode } from '../base/errors.ts';

/** After so many it is the image and not the moment. */
const ENOUGH = 2;
const KEPT = 256;
/** It may have been the moment after all: the process was down, or the machine out of memory. */
const FORGOTTEN_AFTER_MS = 600_000;
const FATAL: readonly ErrorCode[] = ['vision_crashed', 'vision_timeout'];

/**
 * Images that cost the vision process its life, so that a client which sends one again and again does not take the
 * process from the cameras each time.
 */
export class PoisonImages {
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #known = new Map<string, { readonly count: number; readonly monoMs: number }>();

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Throws `image_corrupt` for an image that did it twice. */
  check(digest: string): void {
    const known = this.#known.get(digest);
    if (!known) return;
    if (this.#clock.monoMs() - known.monoMs > FORGOTTEN_AFTER_MS) this.#known.delete(digest);
    else if (known.count >= ENOUGH)
      throw new AgentError('image_corrupt', 'the image cannot be decoded within the time and memory given');
  }

  /** Told of every failure. */
  note(digest: string, thrown: unknown): void {
    if (!FATAL.includes(asAgentError(thrown).code)) return;
    const count = (this.#known.get(digest)?.count ?? 0) + 1;
    this.#known.delete(digest);
    this.#known.set(digest, { count, monoMs: this.#clock.monoMs() });
    const oldest = this.#known.keys().next();
    if (this.#known.size > KEPT && oldest.done !== true) this.#known.delete(oldest.value);
  }
}
