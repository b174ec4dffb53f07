import { withDeadline } from '../../base/deadline.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { ModelRef } from '../../contract/observation.ts';
import type { EventDraft } from '../../contract/states.ts';
import { installContext, isBundleFault } from './failures.ts';
import type { InstallJournal } from './journal.ts';
import type { ModelSwitch } from './model-switch.ts';
import { compareOnLiveFrames } from './shadow.ts';
import { beginProbation, beginTesting, findRefusal, plainRef, updateInstall } from './transitions.ts';
import type { InstallDeadlines, InstallerDeps, InstallerOptions, ShadowOptions } from './types.ts';
import type {
  CalibrationForecast,
  Candidate,
  FetchOptions,
  InstallReason,
  InstallRecord,
  InstallRequest,
  SlotRef,
} from '../types.ts';

export interface PhaseOptions {
  readonly factory: ModelRef;
  readonly settings: InstallerOptions['settings'];
  readonly shadow: ShadowOptions;
  readonly deadlines: InstallDeadlines;
}

export interface PhaseDeps extends InstallerDeps {
  readonly journal: InstallJournal;
  readonly modelSwitch: ModelSwitch;
}

/** The work of each install phase before the probation. Each method rejects with the error that ends the install. */
export class InstallPhases {
  readonly #options: PhaseOptions;
  readonly #deps: PhaseDeps;

  constructor(options: PhaseOptions, deps: PhaseDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Phase `downloading`: downloads the bundle into the part file. Continues where an earlier attempt ended. */
  async download(install: InstallRecord, signal: AbortSignal): Promise<void> {
    const { clock, fetcher, journal } = this.#deps;
    const begun = journal.begin('downloading', install);
    const ms = this.#options.deadlines.downloadMs;
    const onTimeout = (): AgentError =>
      new AgentError('model_transfer_failed', `the download took longer than ${String(ms / 1000)} s`);
    await withDeadline({ clock, ms, signal, onTimeout }, (until) =>
      fetcher.download(this.#fetchOptions(begun), (bytes) => journal.reportBytes(begun, bytes), until),
    );
  }

  /** Phase `verifying`: verifies and unpacks the bundle. Returns null when the same bundle serves already. */
  async verify(install: InstallRecord, signal: AbortSignal): Promise<SlotRef | null> {
    const { modelSwitch, clock, fetcher, journal } = this.#deps;
    const begun = journal.begin('verifying', install);
    const ms = this.#options.deadlines.verifyMs;
    const onTimeout = (): AgentError =>
      new AgentError(
        'model_bundle_refused',
        `the verification of the bundle took longer than ${String(ms / 1000)} s`,
      );
    const { ref } = await withDeadline({ clock, ms, signal, onTimeout }, (until) =>
      fetcher.verify(this.#fetchOptions(begun), until),
    );
    signal.throwIfAborted();
    checkIdentity(ref, begun);
    const refusal = findRefusal(journal.state, { ...begun, digest: ref.digest });
    if (refusal !== null)
      throw new AgentError('model_refused_before', `the bundle failed here before: ${refusal.code}`, {
        context: { digest: ref.digest, code: refusal.code },
      });
    if (modelSwitch.isServing(ref.digest)) {
      const change = { candidate: plainRef(ref), trusted: ref.trusted };
      // The signatures were just checked again, perhaps for the first time with a synchronised clock.
      journal.store((state) => ({
        ...updateInstall(state, change, clock.nowMs()),
        active: state.active && ref,
      }));
      return null;
    }
    journal.store((state) => beginTesting(state, ref, clock.nowMs()));
    return ref;
  }

  /** Phase `testing`: starts the candidate in its own process and compares its results with the golden outputs. */
  async test(install: InstallRecord, ref: SlotRef, signal: AbortSignal): Promise<Candidate> {
    const { modelSwitch, journal } = this.#deps;
    const begun = journal.begin('testing', install);
    // The test tries one execution provider after another. Each of them may need minutes to compile the model.
    return modelSwitch.prove(ref, signal, () => journal.reportProgress(begun, null));
  }

  /**
   * Phase `shadow`: compares both models on live frames, and forecasts what happens to the calibrations. Stores the
   * report before the swap.
   */
  async shadow(install: InstallRecord, candidate: Candidate, signal: AbortSignal): Promise<void> {
    const { clock, host, journal, log, raise } = this.#deps;
    const begun = journal.begin('shadow', install);
    const options = this.#options.shadow;
    const onFrame = (frames: number): void => journal.reportProgress(begun, frames / options.frames);
    const comparison = await compareOnLiveFrames(candidate, options, { host, clock, onFrame }, signal);
    const calibrations = await this.#forecast(candidate, signal);
    signal.throwIfAborted();
    const isShort = comparison.frames < options.frames;
    const reason = isShort ? tooFewFrames(comparison.frames, options) : null;
    const shadow = { ...comparison, calibrations };
    journal.store((state) => updateInstall(state, { shadow, reason }, clock.nowMs()));
    log.info(
      { ...installContext(begun), shadow: comparison, short: isShort },
      'compared the candidate model with the serving model on live frames',
    );
    for (const forecast of calibrations)
      if (forecast.outcome === 'lost') raise(calibrationLostEvent(begun, forecast));
  }

  async #forecast(candidate: Candidate, signal: AbortSignal): Promise<readonly CalibrationForecast[]> {
    const { clock, forecast, log } = this.#deps;
    const ms = this.#options.deadlines.forecastMs;
    const onTimeout = (): AgentError =>
      new AgentError('command_timeout', 'the forecast of the calibrations took too long');
    try {
      return await withDeadline({ clock, ms, signal, onTimeout }, (until) => forecast(candidate, until));
    } catch (thrown) {
      signal.throwIfAborted();
      const error = asAgentError(thrown);
      // The candidate itself failed, on a stored image of this site: the install must fail.
      if (isBundleFault(error.code)) throw error;
      log.warn({ err: error }, 'cannot forecast the calibrations with the new model');
      return [];
    }
  }

  /**
   * The swap on the disk: stores the phase `probation` and the new slots. After this, a restart of the agent begins
   * with the new model.
   */
  storeSwap(): InstallRecord {
    const { clock, host, journal } = this.#deps;
    const formerErrorRate01 = host.errorRate01();
    const { factory } = this.#options;
    const state = journal.store((before) =>
      beginProbation(before, { factory, formerErrorRate01, nowMs: clock.nowMs() }),
    );
    const install = state.install as InstallRecord;
    journal.reportProgress(install, null);
    return install;
  }

  /** Returns the candidate that was verified before a restart of the agent. */
  verifiedCandidate(install: InstallRecord): SlotRef {
    const { candidate } = this.#deps.journal.state;
    if (candidate !== null) return candidate;
    if (install.candidate === null) throw new AgentError('internal', 'the stored install has no candidate');
    return { ...plainRef(install.candidate), trusted: install.trusted };
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
}

/** Throws unless the bundle is the requested one. */
function checkIdentity(ref: ModelRef, { name, version, digest }: InstallRecord): void {
  if (ref.name !== name || ref.version !== version)
    throw new AgentError(
      'model_trust_mismatch',
      `the manifest names ${ref.name} ${ref.version} instead of ${name} ${version}`,
    );
  if (digest !== null && digest !== ref.digest)
    throw new AgentError('model_digest_mismatch', 'the bundle does not have the requested digest', {
      context: { wanted: digest, found: ref.digest },
    });
}

function tooFewFrames(frames: number, { frames: wanted, patienceMs }: ShadowOptions): InstallReason {
  const message = `only ${String(frames)} of ${String(wanted)} live frames arrived within ${String(patienceMs / 1000)} s`;
  return { code: 'model_shadow_short', message };
}

const calibrationLostEvent = (
  install: InstallRecord,
  { camera, labels }: CalibrationForecast,
): EventDraft => ({
  type: 'model_calibration_lost',
  severity: 'warning',
  code: 'model_calibration_lost',
  message: 'With the new model this camera has no calibration until new images are labelled.',
  context: { ...installContext(install), camera, labels },
});
