import { isoTime } from '../base/clock.ts';
import {
  isFinalPhase,
  type ModelInstall,
  type ModelInstallResult,
  type ModelProgress,
  type ModelShadow,
} from '../contract/model.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { ModelState } from '../contract/states.ts';
import { currentInstall, plainRef } from './install/transitions.ts';
import type { InstallRecord, ShadowReport, SlotsState } from './types.ts';

/* Converts the stored state of models and installs to payloads of the contract. */

export interface ModelSources {
  /** The model that serves (analyses the frames). */
  readonly active: ModelRef | null;
  readonly factory: ModelRef | null;
  /** True when a model is loaded. */
  readonly ready: boolean;
  readonly trusted: boolean;
  readonly pinned: boolean;
  readonly slots: SlotsState;
  /** The newest progress of the current install. */
  readonly progress: ModelProgress | null;
}

/** The percentage in the retained state is rounded to this step. The percentage in `model/progress` is finer. */
const PERCENT_STEP = 5;

/** The payload of `model/state`. */
export function toModelState(sources: ModelSources): ModelState {
  const { active, factory, ready, trusted, pinned, slots, progress } = sources;
  const { install } = slots;
  const current = currentInstall(slots);
  // On probation the candidate is already the active model.
  const expected = current?.phase === 'probation' ? null : (current?.candidate ?? null);
  const candidate = plainRefOrNull(slots.candidate ?? expected);
  const previous = plainRefOrNull(slots.previous);
  return {
    schema: 'swellsight.model_state/1',
    active,
    candidate,
    previous,
    phase: !ready && current === null ? 'loading' : (install?.phase ?? 'committed'),
    slots: { factory, previous, active, candidate },
    install: install && toModelInstall(install, progress),
    refused: slots.refused.map(({ name, version, digest, code, atMs }) => ({
      name,
      version,
      digest,
      code,
      at: isoTime(atMs),
    })),
    pinned,
    trusted,
    expiry_checked: !isExpiryUnchecked(sources),
  };
}

const isExpiryUnchecked = ({ active, slots }: ModelSources): boolean =>
  slots.active?.expiryUnchecked === true && slots.active.digest === active?.digest;

/**
 * The install as it appears in `model/state` and in replies. The byte counts of `progress` replace the stored ones if
 * both are of the same phase.
 */
export function toModelInstall(install: InstallRecord, progress: ModelProgress | null = null): ModelInstall {
  const { phase, probation, shadow, reason } = install;
  const now = progress?.update_id === install.updateId && progress.phase === phase ? progress : null;
  const percent = now?.percent ?? null;
  return {
    update_id: install.updateId,
    name: install.name,
    version: install.version,
    source: install.source.kind,
    phase,
    in_progress: !isFinalPhase(phase) && phase !== 'probation',
    reason: reason && { code: reason.code, message: reason.message },
    bytes: now?.bytes ?? install.bytes,
    total_bytes: now?.total_bytes ?? install.totalBytes,
    percent: percent === null ? null : Math.floor(percent / PERCENT_STEP) * PERCENT_STEP,
    started_at: isoTime(install.startedAtMs),
    at: isoTime(install.phaseAtMs),
    candidate: plainRefOrNull(install.candidate),
    trusted: install.trusted,
    shadow: shadow && toModelShadow(shadow),
    probation: probation && {
      answers: probation.answers,
      failures: probation.failures,
      failed_starts: probation.failedStarts,
    },
  };
}

/** The result of the command `model.install`. */
export function toInstallResult(install: InstallRecord): ModelInstallResult {
  const { updateId, phase, candidate, name, version, digest, shadow } = install;
  const model = plainRef(candidate ?? { name, version, digest: digest ?? '' });
  return { update_id: updateId, phase, model, shadow: shadow && toModelShadow(shadow) };
}

const toModelShadow = (shadow: ShadowReport): ModelShadow => ({
  frames: shadow.frames,
  failures: shadow.failures,
  active_p50_ms: shadow.activeP50Ms,
  candidate_p50_ms: shadow.candidateP50Ms,
  height_mean_difference_m: shadow.heightMeanDifferenceM,
  height_max_difference_m: shadow.heightMaxDifferenceM,
  direction_differs_01: shadow.directionDiffers01,
  breaking_differs_01: shadow.breakingDiffers01,
  calibrations: shadow.calibrations.map((forecast) => ({
    camera: forecast.camera,
    labels: forecast.labels,
    outcome: forecast.outcome,
    refitted_labels: forecast.refittedLabels,
    loo_mae_before_m: forecast.looMaeBeforeM,
    loo_mae_after_m: forecast.looMaeAfterM,
  })),
});

const plainRefOrNull = (ref: ModelRef | null): ModelRef | null => ref && plainRef(ref);
