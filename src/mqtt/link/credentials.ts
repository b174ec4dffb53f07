import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { filesState, readCredentials, type Credentials, type CredentialSources } from './files.ts';

/** Files that changed are left alone for so long: whoever writes them may not be done. */
const SETTLE_MS = 1000;

/**
 * The credentials on the disk, which may change while the agent runs. New ones are taken when they are whole; until then,
 * and when the broker refuses them, the last ones that it took stand in.
 */
export class LinkCredentials {
  readonly #sources: CredentialSources;
  readonly #clock: Clock;
  #newest: Credentials | null = null;
  #proved: Credentials | null = null;
  /** Digests that the broker refused since it last took them. */
  readonly #refused = new Set<string>();
  #readSignature: string | null = null;
  #seenSignature: string | null = null;
  #seenMonoMs = 0;
  #fault: AgentError | null = null;

  constructor(sources: CredentialSources, clock: Clock) {
    this.#sources = sources;
    this.#clock = clock;
  }

  /** What the next connection shows. Throws `mqtt_refused` when there never was a whole set. */
  next(): Credentials {
    this.look();
    const choice = this.#choice();
    if (choice) return choice;
    throw this.#fault ?? new TypeError('the credentials were not looked at');
  }

  /** Takes what is new on the disk, if it is whole and no longer being written. */
  look(): void {
    const { signature, changedAtMs } = filesState(this.#sources);
    if (signature === this.#readSignature) return;
    const nowMs = this.#clock.monoMs();
    if (signature !== this.#seenSignature) {
      this.#seenSignature = signature;
      this.#seenMonoMs = nowMs;
    }
    // By either clock: the wall clock may have been set back since.
    const settled = nowMs - this.#seenMonoMs >= SETTLE_MS || this.#clock.nowMs() - changedAtMs >= SETTLE_MS;
    if (this.#newest && !settled) return;
    try {
      const read = readCredentials(this.#sources);
      // Written while it was read: the next look takes it.
      if (filesState(this.#sources).signature !== signature) return;
      this.#newest = read;
      this.#fault = null;
    } catch (thrown) {
      this.#fault = asAgentError(thrown);
    }
    this.#readSignature = signature;
  }

  /** The newest whole set; null when there never was one. */
  get newest(): Credentials | null {
    return this.#newest;
  }

  /** Why what lies on the disk now is not used; null when it is, or when nothing else could be. */
  get fault(): AgentError | null {
    if (this.#newest === null) return null;
    if (this.#fault || this.#choice() === this.#newest) return this.#fault;
    return new AgentError('mqtt_refused', 'the broker refuses them');
  }

  /** The broker took these. */
  proved(credentials: Credentials): void {
    this.#proved = credentials;
    this.#refused.delete(credentials.digest);
  }

  /** The broker refused these. True when there are others that may be tried at once. */
  refused({ digest }: Credentials): boolean {
    this.#refused.add(digest);
    const others = [this.#newest, this.#proved].some((one) => one !== null && !this.#refused.has(one.digest));
    // All are refused: after a wait the newest come first again.
    if (!others) this.#refused.clear();
    return others;
  }

  /** The newest, unless the broker refused them and took older ones. */
  #choice(): Credentials | null {
    const refused = this.#newest !== null && this.#refused.has(this.#newest.digest);
    return refused && this.#proved ? this.#proved : this.#newest;
  }
}
