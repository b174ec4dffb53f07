import type { InstallPhase } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { withDeadline } from '../../base/deadline.ts';
import { calibrationLost, label } from './events.ts';
import { blamesModel } from './faults.ts';
import type { InstallJournal } from './journal.ts';
import type { ProgressTeller } from './progress.ts';
import type { ServingChanges } from './serving.ts';
import { plain, refusedBefore, shadowed, shipped, swapped, verified } from './slots.ts';
import type { InstallDeadlines, InstallerDeps, InstallerOptions, ShadowOptions } from './types.ts';
import { shadow } from './shadow.ts';
import type {
  CalibrationForecast,
  Candidate,
  FetchOptions,
  InstallReason,
  InstallRecord,
  InstallRequest,
  SlotRef,
} from '../types.ts';

export interface StepOptions {
  readonly factory: ModelRef;
  readonly settings: InstallerOptions['settings'];
  readonly shadow: ShadowOptions;
  readonly deadlines: InstallDeadlines;
}

export interface StepDeps extends InstallerDeps {
  readonly journal: InstallJournal;
  readonly changes: ServingChanges;
  readonly progress: ProgressTeller;
}

/** The phases up to the swap, each stored and told before it is worked on. All reject with why the install fails. */
export class InstallSteps {
  readonly #options: StepOptions;
  readonly #deps: StepDeps;

  constructor(options: StepOptions, deps: StepDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  async download(install: InstallRecord, signal: AbortSignal): Promise<void> {
    const { clock, fetcher, progress } = this.#deps;
    const going = this.#begin(install, 'downloading');
    const ms = this.#options.deadlines.downloadMs;
    const late = (): AgentError =>
      new AgentError('model_transfer_failed', `not there within ${String(ms / 1000)} s`);
    await withDeadline({ clock, ms, signal, onTimeout: late }, (until) =>
      fetcher.download(this.#fetchOptions(going), (bytes) => progress.bytes(going, bytes), until),
    );
  }

  /** The bundle lies below the bundles' folder; null when it is the one that serves already. */
  async verify(install: InstallRecord, signal: AbortSignal): Promise<SlotRef | null> {
    const { changes, clock, fetcher, journal } = this.#deps;
    const going = this.#begin(install, 'verifying');
    const ms = this.#options.deadlines.verifyMs;
    const late = (): AgentError =>
      new AgentError('model_bundle_refused', `not verified within ${String(ms / 1000)} s`);
    const { ref } = await withDeadline({ clock, ms, signal, onTimeout: late }, (until) =>
      fetcher.verify(this.#fetchOptions(going), until),
    );
    signal.throwIfAborted();
    checkName(ref, going);
    const refused = refusedBefore(journal.state, { ...going, digest: ref.digest });
    if (refused !== null)
      throw new AgentError('model_refused_before', `it failed here before: ${refused.code}`, {
        context: { digest: ref.digest, code: refused.code },
      });
    if (changes.serves(ref.digest)) {
      journal.change({ candidate: plain(ref), trusted: ref.trusted });
      return null;
    }
    journal.store((state) => verified(state, ref, clock.nowMs()));
    return ref;
  }

  /** The candidate, proved in its own process beside the model that serves. */
  async test(install: InstallRecord, ref: SlotRef, signal: AbortSignal): Promise<Candidate> {
    const { changes, progress } = this.#deps;
    const going = this.#begin(install, 'testing');
    // One provider after the other, each of which may build its engine for minutes.
    return changes.prove(ref, signal, () => progress.tell(going, null));
  }

  /** Compares it on live frames and foresees what becomes of the calibrations; both are stored before the swap. */
  async shadow(install: InstallRecord, candidate: Candidate, signal: AbortSignal): Promise<void> {
    const { clock, host, journal, log, progress, raise } = this.#deps;
    const going = this.#begin(install, 'shadow');
    const options = this.#options.shadow;
    const onFrame = (frames: number): void => progress.tell(going, frames / options.frames);
    const difference = await shadow(candidate, options, { host, clock, onFrame }, signal);
    const calibrations = await this.#forecast(candidate, signal);
    signal.throwIfAborted();
    const short = difference.frames < options.frames;
    const warning = short ? shortOf(difference.frames, options) : null;
    const report = { ...difference, calibrations };
    journal.store((state) => shadowed(state, report, warning, clock.nowMs()));
    log.info({ ...label(going), shadow: difference, short }, 'the candidate was compared on live frames');
    for (const one of calibrations) if (one.outcome === 'lost') raise(calibrationLost(going, one));
  }

  async #forecast(candidate: Candidate, signal: AbortSignal): Promise<readonly CalibrationForecast[]> {
    const { clock, forecast, log } = this.#deps;
    const ms = this.#options.deadlines.forecastMs;
    const late = (): AgentError => new AgentError('command_timeout', 'the forecast took too long');
    try {
      return await withDeadline({ clock, ms, signal, onTimeout: late }, (until) =>
        forecast(candidate, until),
      );
    } catch (thrown) {
      signal.throwIfAborted();
      const error = asAgentError(thrown);
      // It saw stored pictures of this site, and failed on them.
      if (blamesModel(error.code)) throw error;
      log.warn({ err: error }, 'what becomes of the calibrations could not be foreseen');
      return [];
    }
  }

  /** Stores the swap; from here on a restart begins with the new model. */
  swap(): InstallRecord {
    const { clock, host, journal } = this.#deps;
    const formerErrorRate01 = host.errorRate01();
    const { factory } = this.#options;
    const state = journal.store((before) =>
      swapped(before, { factory, formerErrorRate01, nowMs: clock.nowMs() }),
    );
    const install = state.install as InstallRecord;
    this.#deps.progress.tell(install, null);
    return install;
  }

  /** What a candidate that was verified before a restart is. */
  candidateOf(install: InstallRecord): SlotRef {
    const { candidate } = this.#deps.journal.state;
    if (candidate !== null) return candidate;
    if (install.candidate === null)
      throw new AgentError('internal', 'the record of the install names no candidate');
    return { ...shipped(install.candidate), trusted: install.trusted };
  }

  #fetchOptions(request: InstallRequest): FetchOptions {
    const { repository, trustRoot, allowUnsigned } = this.#options.settings;
    const { liveSettings, syncedNowMs } = this.#deps;
    return {
      request,
      repositoryUrl: repository,
      trustRoot,
      allowUnsigned,
      maxBytesPerS: 1000 * (liveSettings().maxKbPerS ?? 0),
      syncedNowMs: syncedNowMs(),
    };
  }

  #begin(install: InstallRecord, phase: InstallPhase): InstallRecord {
    const { journal, progress } = this.#deps;
    const { bytes, totalBytes } = progress.withBytes(install);
    const now = journal.inHand ?? install;
    const going = now.phase === phase ? now : journal.change({ phase, bytes, totalBytes });
    progress.tell(going, phase === 'shadow' ? 0 : null);
    return going;
  }
}

function checkName(ref: ModelRef, { name, version, digest }: InstallRecord): void {
  if (ref.name !== name || ref.version !== version)
    throw new AgentError('model_trust_mismatch', `the bundle calls itself ${ref.name} ${ref.version}`);
  if (digest !== null && digest !== ref.digest)
    throw new AgentError('model_digest_mismatch', 'the bundle has not the digest that was asked for', {
      context: { wanted: digest, found: ref.digest },
    });
}

function shortOf(frames: number, { frames: wanted, patienceMs }: ShadowOptions): InstallReason {
  const message = `only ${String(frames)} of ${String(wanted)} live frames came within ${String(patienceMs / 1000)} s`;
  return { code: 'model_shadow_short', message };
}
