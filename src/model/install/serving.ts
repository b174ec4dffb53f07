import type { Clock } from '../../base/clock.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { AgentError, asAgentError, type ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Backoff } from '../../base/retry.ts';
import { withDeadline } from '../../base/deadline.ts';
import { plain, rolledBack, shipped } from './slots.ts';
import type { InstallerDeps } from './types.ts';
import type { FactoryModel } from '../slots/active-model.ts';
import type { Bundle } from '../manifest.ts';
import type { Candidate, ModelHost, SlotRef, SlotsState } from '../types.ts';

const RETRY = { minMs: 2000, maxMs: 300_000, resetAfterMs: 60_000 };
const TRIES_OF_THE_FORMER = 2;
/** A bundle that proved itself before does not heal from these. */
const OF_THE_DISK: ReadonlySet<ErrorCode> = new Set([
  'model_not_found',
  'model_digest_mismatch',
  'model_manifest_invalid',
  'model_bundle_refused',
]);

export interface ModelServerOptions {
  readonly factory: FactoryModel;
  readonly testMs: number;
}

/**
 * Changes of the model that serves. A model is proved in a process of its own while the other one serves, the slots are
 * stored, and only then does it take over: after a power cut at any moment the slots name a model that was proved here.
 *
 * INVARIANT: one change at a time.
 */
export class ServingChanges {
  readonly #options: ModelServerOptions;
  readonly #host: ModelHost;
  readonly #slots: InstallerDeps['slots'];
  readonly #open: InstallerDeps['openBundle'];
  readonly #clock: Clock;
  readonly #log: Log;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    options: ModelServerOptions,
    deps: Pick<InstallerDeps, 'host' | 'slots' | 'openBundle' | 'clock' | 'log'>,
  ) {
    this.#options = options;
    this.#host = deps.host;
    this.#slots = deps.slots;
    this.#open = deps.openBundle;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** Runs one change after the other; `work` begins when those before it are done, and not once the signal has fired. */
  async exclusive<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => {
      signal.throwIfAborted();
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Opens and proves a bundle. Rejects with what is wrong with it; `model_candidate_failed` when it takes too long. */
  async prove(ref: ModelRef, signal: AbortSignal, onStep?: () => void): Promise<Candidate> {
    return this.proveBundle(await this.#openRef(ref, signal), signal, onStep);
  }

  async proveBundle(bundle: Bundle, signal: AbortSignal, onStep?: () => void): Promise<Candidate> {
    const ms = this.#options.testMs;
    const late = (): AgentError =>
      new AgentError('model_candidate_failed', `it did not prove itself within ${String(ms / 1000)} s`);
    return withDeadline({ clock: this.#clock, ms, signal, onTimeout: late }, (until) =>
      this.#host.prove(bundle, until, onStep),
    );
  }

  async #openRef(ref: ModelRef, signal: AbortSignal): Promise<Bundle> {
    const bundle = await this.#open(this.#dirOf(ref), { signal });
    if (bundle.digest === ref.digest) return bundle;
    throw new AgentError('model_digest_mismatch', 'the bundle on the disk is not the one that was verified', {
      context: { wanted: ref.digest, found: bundle.digest },
    });
  }

  #dirOf({ digest }: ModelRef): string {
    return this.isFactory(digest) ? this.#options.factory.dir : this.#slots.bundleDir(digest);
  }

  get factory(): ModelRef {
    return this.#options.factory.ref;
  }

  isFactory(digest: string): boolean {
    return digest === this.#options.factory.ref.digest;
  }

  /** It is the active one, and serves: the active one may have been given up at the start. */
  serves(digest: string): boolean {
    const serving = this.#host.bundle?.digest ?? digest;
    return digest === this.orFactory(this.#slots.state.active).digest && digest === serving;
  }

  /** The slot's content, or the shipped bundle for none. */
  orFactory(ref: SlotRef | null): SlotRef {
    return ref ?? shipped(this.#options.factory.ref);
  }

  /** The candidate takes over. Rejects when it did not: it is closed then, and the one before serves on. */
  async adopt(candidate: Candidate, trusted: boolean): Promise<void> {
    const { bundle } = candidate;
    try {
      await this.#host.adopt(candidate, this.isFactory(bundle.digest) ? 'factory' : 'active', trusted);
    } catch (thrown) {
      if (this.#host.bundle !== bundle) {
        await this.dismiss(candidate);
        throw thrown;
      }
      this.#log.warn(
        { err: asAgentError(thrown) },
        'the model was changed, but the one before did not end well',
      );
    }
  }

  /** Ends a candidate that is not wanted any more. */
  async dismiss(candidate: Candidate): Promise<void> {
    try {
      await candidate.close();
    } catch (thrown) {
      this.#log.warn({ err: asAgentError(thrown) }, 'the process of a candidate did not end well');
    }
  }

  /**
   * Makes a model serve that served before; when it does not start, the shipped one, which is what is returned then.
   * Tries both for ever, for whatever serves meanwhile is not wanted.
   */
  async serve(former: SlotRef, signal: AbortSignal): Promise<SlotRef> {
    const backoff = new Backoff(RETRY, { clock: this.#clock });
    const factory = this.orFactory(null);
    for (let ref = former; ;) {
      if (this.#host.bundle?.digest === ref.digest) return ref;
      try {
        await this.adopt(await this.prove(ref, signal), ref.trusted);
        return ref;
      } catch (thrown) {
        signal.throwIfAborted();
        const error = asAgentError(thrown);
        this.#log.error({ err: error, model: plain(ref) }, 'the model to return to does not start');
        const waitMs = backoff.nextMs();
        const hopeless = OF_THE_DISK.has(error.code) || backoff.attempts >= TRIES_OF_THE_FORMER;
        if (!this.isFactory(ref.digest) && hopeless) ref = factory;
        else await this.#clock.sleep(waitMs, signal);
      }
    }
  }

  /** Proves a bundle, stores the change, and lets it take over; the change is undone when it does not. */
  async #replace(
    ref: SlotRef,
    change: (state: SlotsState) => SlotsState,
    signal: AbortSignal,
  ): Promise<ModelRef> {
    const candidate = await this.prove(ref, signal);
    const before = this.#slots.state;
    try {
      signal.throwIfAborted();
      this.#slots.update(change);
    } catch (thrown) {
      await this.dismiss(candidate);
      throw thrown;
    }
    try {
      await this.adopt(candidate, ref.trusted);
    } catch (thrown) {
      const { active, previous } = before;
      this.#slots.update((state) => ({ ...state, active, previous }));
      throw thrown;
    }
    return plain(ref);
  }

  /** Active and previous change places; the shipped model serves where the previous one does not start. */
  async toPrevious(signal: AbortSignal): Promise<ModelRef> {
    const factory = this.#options.factory.ref;
    const { previous } = this.#slots.state;
    const active = this.orFactory(this.#slots.state.active);
    if (previous === null || previous.digest === active.digest)
      throw new AgentError('model_no_previous', 'there is no former model');
    try {
      return await this.#replace(previous, (state) => rolledBack(state, previous, factory), signal);
    } catch (thrown) {
      signal.throwIfAborted();
      const error = asAgentError(thrown);
      const nothingElse = this.isFactory(previous.digest) || this.isFactory(active.digest);
      if (nothingElse || error.code === 'model_space' || error.code === 'store_failed') throw error;
      this.#log.error(
        { err: error, model: plain(previous) },
        'the former model does not start; the shipped one is taken',
      );
      return this.#replace(this.orFactory(null), (state) => rolledBack(state, null, factory), signal);
    }
  }
}
