import type { Clock } from '../../base/clock.ts';
import { withDeadline } from '../../base/deadline.ts';
import { AgentError, asAgentError, type ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Backoff } from '../../base/retry.ts';
import type { ModelRef } from '../../contract/observation.ts';
import type { Bundle } from '../manifest.ts';
import type { FactoryModel } from '../slots/active-model.ts';
import { factorySlot, plainRef, returnTo } from './transitions.ts';
import type { InstallerDeps } from './types.ts';
import type { Candidate, ModelHost, SlotRef, SlotsState } from '../types.ts';

const RESTORE_RETRY = { minMs: 2000, maxMs: 300_000, resetAfterMs: 60_000 };
/** After this many failed starts of the former model, the factory model is started instead. */
const MAX_RESTORE_ATTEMPTS = 2;
/**
 * Errors which show that a bundle, valid at its installation, is now damaged on the disk. Another attempt would fail
 * too.
 */
const DAMAGED_ON_DISK: ReadonlySet<ErrorCode> = new Set([
  'model_not_found',
  'model_digest_mismatch',
  'model_manifest_invalid',
  'model_bundle_refused',
]);

export interface ModelSwitchOptions {
  readonly factory: FactoryModel;
  /** Time limit for the start and the test of a candidate together, ms. */
  readonly testMs: number;
}

/**
 * Replaces the model that serves (analyses the frames). The new model is tested in its own process while the former
 * model still serves. Then the new slots are stored, and then the new model takes over. So after a power cut at any
 * moment the slots name a model that passed its test on this device.
 *
 * INVARIANT: only one replacement at a time. Callers wrap each replacement in `runExclusive`.
 */
export class ModelSwitch {
  readonly #options: ModelSwitchOptions;
  readonly #host: ModelHost;
  readonly #slots: InstallerDeps['slots'];
  readonly #openBundle: InstallerDeps['openBundle'];
  readonly #clock: Clock;
  readonly #log: Log;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    options: ModelSwitchOptions,
    deps: Pick<InstallerDeps, 'host' | 'slots' | 'openBundle' | 'clock' | 'log'>,
  ) {
    this.#options = options;
    this.#host = deps.host;
    this.#slots = deps.slots;
    this.#openBundle = deps.openBundle;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /**
   * Runs the given works one after another. Rejects without calling `work` if the signal has fired before the turn of
   * `work`.
   */
  async runExclusive<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => {
      signal.throwIfAborted();
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Opens a bundle, starts it as a candidate and tests it. Rejects with the fault of the bundle; see `proveBundle`. */
  async prove(ref: ModelRef, signal: AbortSignal, onStep?: () => void): Promise<Candidate> {
    const dir = this.#isFactory(ref.digest) ? this.#options.factory.dir : this.#slots.bundleDir(ref.digest);
    const bundle = await this.#openBundle(dir, { signal });
    if (bundle.digest !== ref.digest)
      throw new AgentError(
        'model_digest_mismatch',
        'the bundle on the disk is not the bundle that was verified',
        { context: { wanted: ref.digest, found: bundle.digest } },
      );
    return this.proveBundle(bundle, signal, onStep);
  }

  /**
   * Starts a bundle as a candidate (a model in its own process, next to the serving one) and tests it against its
   * golden outputs. Rejects with `model_candidate_failed` after `testMs`.
   */
  async proveBundle(bundle: Bundle, signal: AbortSignal, onStep?: () => void): Promise<Candidate> {
    const ms = this.#options.testMs;
    const onTimeout = (): AgentError =>
      new AgentError('model_candidate_failed', `the test took longer than ${String(ms / 1000)} s`);
    return withDeadline({ clock: this.#clock, ms, signal, onTimeout }, (until) =>
      this.#host.prove(bundle, until, onStep),
    );
  }

  #isFactory(digest: string): boolean {
    return digest === this.#options.factory.ref.digest;
  }

  /**
   * True when the bundle is in the active slot and also serves. The two differ when the model of the active slot did
   * not start and another model serves.
   */
  isServing(digest: string): boolean {
    const serving = this.#host.bundle?.digest ?? digest;
    return digest === this.orFactory(this.#slots.state.active).digest && digest === serving;
  }

  /** Returns the content of the slot, or the factory model for an empty slot. */
  orFactory(ref: SlotRef | null): SlotRef {
    return ref ?? factorySlot(this.#options.factory.ref);
  }

  /**
   * Lets the candidate replace the serving model. If this fails, closes the candidate and rejects, and the former model
   * continues to serve.
   */
  async adopt(candidate: Candidate, trusted: boolean): Promise<void> {
    const { bundle } = candidate;
    try {
      await this.#host.adopt(candidate, this.#isFactory(bundle.digest) ? 'factory' : 'active', trusted);
    } catch (thrown) {
      if (this.#host.bundle !== bundle) {
        await this.closeCandidate(candidate);
        throw thrown;
      }
      this.#log.warn({ err: asAgentError(thrown) }, 'cannot close the process of the former model');
    }
  }

  async closeCandidate(candidate: Candidate): Promise<void> {
    try {
      await candidate.close();
    } catch (thrown) {
      this.#log.warn({ err: asAgentError(thrown) }, 'cannot close the process of the candidate model');
    }
  }

  /**
   * Starts the serving model (if `isPinned`) or the model of the active slot again, in a new process. On failure,
   * rejects, and the old process continues.
   */
  async reload(isPinned: boolean, signal: AbortSignal): Promise<ModelRef> {
    const serving = this.#host.bundle;
    if (isPinned && serving !== null) {
      const bundle = await this.#openBundle(serving.dir, { signal });
      await this.adopt(await this.proveBundle(bundle, signal), this.#isFactory(bundle.digest));
      return { name: bundle.manifest.name, version: bundle.manifest.version, digest: bundle.digest };
    }
    const active = this.orFactory(this.#slots.state.active);
    await this.adopt(await this.prove(active, signal), active.trusted);
    return plainRef(active);
  }

  /**
   * Makes the former model serve again, or the factory model when the former one does not start. Returns the model that
   * serves then. Retries until the signal fires, because the model that serves until then has failed.
   */
  async restore(former: SlotRef, signal: AbortSignal): Promise<SlotRef> {
    const backoff = new Backoff(RESTORE_RETRY, { clock: this.#clock });
    const factory = this.orFactory(null);
    for (let ref = former; ;) {
      if (this.#host.bundle?.digest === ref.digest) return ref;
      try {
        await this.adopt(await this.prove(ref, signal), ref.trusted);
        return ref;
      } catch (thrown) {
        signal.throwIfAborted();
        const error = asAgentError(thrown);
        this.#log.error({ err: error, model: plainRef(ref) }, 'cannot start the former model, trying again');
        const waitMs = backoff.nextMs();
        const isHopeless = DAMAGED_ON_DISK.has(error.code) || backoff.attempts >= MAX_RESTORE_ATTEMPTS;
        if (!this.#isFactory(ref.digest) && isHopeless) ref = factory;
        else await this.#clock.sleep(waitMs, signal);
      }
    }
  }

  /**
   * Makes the previous model active, or the factory model when there is no previous one or it does not start. Throws
   * `model_no_previous` when the factory model is active.
   */
  async returnToPrevious(signal: AbortSignal): Promise<ModelRef> {
    const factory = this.orFactory(null);
    const { state } = this.#slots;
    const active = this.orFactory(state.active);
    const previous = state.previous ?? factory;
    const switchTo = (to: SlotRef): Promise<ModelRef> =>
      this.#replace(to, (before) => returnTo(before, to, factory), signal);
    if (previous.digest === active.digest)
      throw new AgentError('model_no_previous', 'there is no previous model');
    try {
      return await switchTo(previous);
    } catch (thrown) {
      signal.throwIfAborted();
      const error = asAgentError(thrown);
      const isLastChoice = this.#isFactory(previous.digest) || this.#isFactory(active.digest);
      if (isLastChoice || error.code === 'model_space' || error.code === 'store_failed') throw error;
      this.#log.error(
        { err: error, model: plainRef(previous) },
        'cannot start the previous model, starting the factory model instead',
      );
      return switchTo(factory);
    }
  }

  /**
   * Tests a bundle, stores the new slots, and lets the model of the bundle take over. If the model does not take over,
   * restores the slots.
   */
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
      await this.closeCandidate(candidate);
      throw thrown;
    }
    try {
      await this.adopt(candidate, ref.trusted);
    } catch (thrown) {
      const { active, previous } = before;
      this.#slots.update((state) => ({ ...state, active, previous }));
      throw thrown;
    }
    return plainRef(ref);
  }
}
