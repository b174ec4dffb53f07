import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError, type ErrorCode } from '../base/errors.ts';

/** An image is refused after this many crashes. One crash alone may be a coincidence. */
const MAX_CRASHES = 2;
const MAX_KEPT_IMAGES = 256;
/**
 * After this time the crashes of an image are forgotten, because their cause may have been temporary, for example too
 * little memory.
 */
const FORGET_AFTER_MS = 600_000;
const CRASH_CODES: readonly ErrorCode[] = ['vision_crashed', 'vision_timeout'];

/**
 * Remembers images that crashed or hung the vision process, and refuses them. So a client that sends such an image
 * again and again cannot stop the analysis of camera frames.
 */
export class PoisonImages {
  readonly #clock: Clock;
  /** The crashes by the digest of the image; the image with the oldest crash comes first. */
  readonly #crashes = new Map<string, { readonly count: number; readonly monoMs: number }>();

  constructor(deps: { readonly clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Throws `image_corrupt` for an image that crashed the process twice, the last time within the last ten minutes. */
  check(digest: string): void {
    const crashes = this.#crashes.get(digest);
    if (!crashes) return;
    if (this.#clock.monoMs() - crashes.monoMs > FORGET_AFTER_MS) this.#crashes.delete(digest);
    else if (crashes.count >= MAX_CRASHES)
      throw new AgentError(
        'image_corrupt',
        'the image cannot be decoded within the limits of time and memory',
      );
  }

  /** Call this for every failed image; it counts only crashes. */
  noteFailure(digest: string, thrown: unknown): void {
    if (!CRASH_CODES.includes(asAgentError(thrown).code)) return;
    const count = (this.#crashes.get(digest)?.count ?? 0) + 1;
    this.#crashes.delete(digest);
    this.#crashes.set(digest, { count, monoMs: this.#clock.monoMs() });
    const oldest = this.#crashes.keys().next();
    if (this.#crashes.size > MAX_KEPT_IMAGES && oldest.done !== true) this.#crashes.delete(oldest.value);
  }
}
