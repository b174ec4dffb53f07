import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import {
  credentialFilesState,
  isExpiring,
  readCredentials,
  type CertificateValidity,
  type Credentials,
  type CredentialSources,
} from './credential-files.ts';
import type { LinkFaults } from './faults.ts';

/** The files are read this long after a change: the program that writes them may not be finished earlier. */
const SETTLE_MS = 1000;
/** A step of the wall clock by more than this can make a certificate valid or invalid. */
const CLOCK_STEP_MS = 60_000;
/** Longest interval between two checks of files and clock while the link waits for the next attempt. */
const MAX_WAIT_CHECK_MS = 5000;

/**
 * The credentials on the disk, which can change while the agent runs. New credentials are used when they are complete.
 * Until then, and if the broker refuses the new credentials, the last credentials that the broker accepted stay in use.
 */
export class LinkCredentials {
  readonly #sources: CredentialSources;
  readonly #clock: Clock;
  #newest: Credentials | null = null;
  #accepted: Credentials | null = null;
  /** Digests that the broker has refused since it last accepted them. */
  readonly #refusedDigests = new Set<string>();
  #readSignature: string | null = null;
  #seenSignature: string | null = null;
  #seenMonoMs = 0;
  #fileFault: AgentError | null = null;

  constructor(sources: CredentialSources, clock: Clock) {
    this.#sources = sources;
    this.#clock = clock;
  }

  /** The credentials of the next connection. Throws `mqtt_refused` when no complete set has been read yet. */
  next(): Credentials {
    this.refresh();
    const choice = this.#choose();
    if (choice) return choice;
    throw this.#fileFault ?? new TypeError('the credentials were not read');
  }

  /** Reads the files when they have changed, are complete and are no longer being written. */
  refresh(): void {
    const { signature, changedAtMs } = credentialFilesState(this.#sources);
    if (signature === this.#readSignature) return;
    const nowMs = this.#clock.monoMs();
    if (signature !== this.#seenSignature) {
      this.#seenSignature = signature;
      this.#seenMonoMs = nowMs;
    }
    // One of the two clocks is sufficient: after the change, the wall clock may have been set back.
    const hasSettled =
      nowMs - this.#seenMonoMs >= SETTLE_MS || this.#clock.nowMs() - changedAtMs >= SETTLE_MS;
    if (this.#newest && !hasSettled) return;
    try {
      const read = readCredentials(this.#sources);
      // A file changed while the files were read: the next call reads them again.
      if (credentialFilesState(this.#sources).signature !== signature) return;
      this.#newest = read;
      this.#fileFault = null;
    } catch (thrown) {
      this.#fileFault = asAgentError(thrown);
    }
    this.#readSignature = signature;
  }

  /** The newest complete set; null before the first complete set. */
  get newest(): Credentials | null {
    return this.#newest;
  }

  /** Why the credentials in the current files are not in use; null when they are in use. */
  get fault(): AgentError | null {
    if (this.#fileFault || this.#choose() === this.#newest) return this.#fileFault;
    return new AgentError('mqtt_refused', 'the broker refused the new credentials');
  }

  /** Call when the broker has accepted these credentials. */
  accepted(credentials: Credentials): void {
    this.#accepted = credentials;
    this.#refusedDigests.delete(credentials.digest);
  }

  /** Call when the broker has refused these credentials. Returns true when another set can be tried at once. */
  refused({ digest }: Credentials): boolean {
    this.#refusedDigests.add(digest);
    const hasAnother = [this.#newest, this.#accepted].some(
      (one) => one !== null && !this.#refusedDigests.has(one.digest),
    );
    // The broker refused all sets: after the delay, start with the newest again.
    if (!hasAnother) this.#refusedDigests.clear();
    return hasAnother;
  }

  /** The newest set, unless the broker refused it and accepted an older one. */
  #choose(): Credentials | null {
    const isRefused = this.#newest !== null && this.#refusedDigests.has(this.#newest.digest);
    return isRefused && this.#accepted ? this.#accepted : this.#newest;
  }
}

export interface CredentialWatchDeps {
  readonly clock: Clock;
  readonly credentials: LinkCredentials;
  readonly faults: LinkFaults;
}

/**
 * Checks the credential files and the clock for the link, while it is connected and between two connection attempts.
 */
export class CredentialWatch {
  readonly #deps: CredentialWatchDeps;
  readonly #checkEveryMs: number;

  constructor(checkEveryMs: number, deps: CredentialWatchDeps) {
    this.#checkEveryMs = checkEveryMs;
    this.#deps = deps;
  }

  /** Reports faults of the credential files and of the certificates in use. */
  check(inUse: Credentials | null, brokerCertificate: CertificateValidity | null): void {
    const { clock, credentials, faults } = this.#deps;
    credentials.refresh();
    faults.setCredentialFault(credentials.fault);
    faults.checkCertificates(inUse?.validity ?? null, brokerCertificate, clock.nowMs());
  }

  /**
   * Runs while a connection is up, and calls `onCheck` after each interval. Resolves with true when the device's
   * certificate expires soon and a newer one is available, with false when the signal fires.
   */
  async waitForRenewal(
    connection: { readonly credentials: Credentials; readonly brokerCertificate: CertificateValidity | null },
    signal: AbortSignal,
    onCheck: () => void,
  ): Promise<boolean> {
    try {
      for (;;) {
        this.check(connection.credentials, connection.brokerCertificate);
        if (this.#hasNewerCertificate(connection.credentials)) return true;
        await this.#deps.clock.sleep(this.#checkEveryMs, signal);
        onCheck();
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
      return false;
    }
  }

  /**
   * Waits `delayMs`. Ends earlier when the files contain new credentials or the clock was set: a connect may succeed
   * now.
   */
  async waitForRetry(delayMs: number, signal: AbortSignal): Promise<void> {
    const { clock, credentials, faults } = this.#deps;
    const digest = credentials.newest?.digest;
    const endMonoMs = clock.monoMs() + delayMs;
    const driftMs = clock.nowMs() - clock.monoMs();
    for (let leftMs = delayMs; leftMs > 0; leftMs = endMonoMs - clock.monoMs()) {
      await clock.sleep(Math.min(leftMs, this.#checkEveryMs, MAX_WAIT_CHECK_MS), signal);
      credentials.refresh();
      faults.setCredentialFault(credentials.fault);
      if (credentials.newest?.digest !== digest) return;
      if (Math.abs(clock.nowMs() - clock.monoMs() - driftMs) > CLOCK_STEP_MS) return;
    }
  }

  #hasNewerCertificate({ validity, digest }: Credentials): boolean {
    const { clock, credentials } = this.#deps;
    const next = credentials.next();
    if (next.digest === digest || !validity || !next.validity) return false;
    return isExpiring(validity, clock.nowMs()) && next.validity.untilMs > validity.untilMs;
  }
}
