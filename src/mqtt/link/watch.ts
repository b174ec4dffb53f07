import type { Clock } from '../../base/clock.ts';
import { isAbort } from '../../base/errors.ts';
import type { Credentials } from './files.ts';
import type { LinkCredentials } from './credentials.ts';
import type { LinkTroubles } from './faults.ts';
import { isExpiring, type Validity } from './validity.ts';

/** A step of the wall clock by more than this changes what certificates are worth. */
const CLOCK_STEP_MS = 60_000;
/** While it waits for the next attempt, the link looks at its files and the clock at least so often. */
const WAITING_LOOK_MS = 5000;

/** Looks at the credentials on the disk and at the clock for the link, while it is up and while it waits. */
export class LinkTending {
  readonly #clock: Clock;
  readonly #credentials: LinkCredentials;
  readonly #troubles: LinkTroubles;
  readonly #lookEveryMs: number;

  constructor(
    options: { readonly lookEveryMs: number },
    deps: {
      readonly clock: Clock;
      readonly credentials: LinkCredentials;
      readonly troubles: LinkTroubles;
    },
  ) {
    this.#lookEveryMs = options.lookEveryMs;
    this.#clock = deps.clock;
    this.#credentials = deps.credentials;
    this.#troubles = deps.troubles;
  }

  /** Judges what is in use, and what lies on the disk. */
  judge(inUse: Credentials | null, broker: Validity | null): void {
    this.#credentials.look();
    this.#troubles.files(this.#credentials.fault);
    this.#troubles.certificates(inUse?.validity ?? null, broker, this.#clock.nowMs());
  }

  /**
   * Judges a connection again and again. Resolves with true when its certificate comes to its end and there is one that
   * holds for longer, with false when the connection is over.
   */
  async outlived(
    connection: { readonly credentials: Credentials; readonly broker: Validity | null },
    over: AbortSignal,
    onLook: () => void,
  ): Promise<boolean> {
    const { credentials, broker } = connection;
    try {
      for (;;) {
        this.judge(credentials, broker);
        if (this.#isOutlived(credentials)) return true;
        await this.#clock.sleep(this.#lookEveryMs, over);
        onLook();
      }
    } catch (thrown) {
      if (!isAbort(thrown)) throw thrown;
      return false;
    }
  }

  /** Waits; less when new credentials come, or the clock is set: what was refused may be taken now. */
  async pause(delayMs: number, signal: AbortSignal): Promise<void> {
    const clock = this.#clock;
    const digest = this.#credentials.newest?.digest;
    const untilMs = clock.monoMs() + delayMs;
    const driftMs = clock.nowMs() - clock.monoMs();
    for (let leftMs = delayMs; leftMs > 0; leftMs = untilMs - clock.monoMs()) {
      await clock.sleep(Math.min(leftMs, this.#lookEveryMs, WAITING_LOOK_MS), signal);
      this.#credentials.look();
      if (this.#credentials.newest?.digest !== digest) return;
      if (Math.abs(clock.nowMs() - clock.monoMs() - driftMs) > CLOCK_STEP_MS) return;
    }
  }

  #isOutlived({ validity, digest }: Credentials): boolean {
    const next = this.#credentials.next();
    if (next.digest === digest || !validity || !next.validity) return false;
    return isExpiring(validity, this.#clock.nowMs()) && next.validity.untilMs > validity.untilMs;
  }
}
