import { isoTime } from '../base/clock.ts';
import type { ModelInstall, ModelInstallResult, ModelProgress, ModelShadow } from '../contract/model.ts';
import type { ModelRef } from '../contract/observation.ts';
import type { ModelState } from '../contract/states.ts';
import type { InstallRecord, ShadowReport, SlotRef, SlotsState } from './types.ts';

/** What the state of the models is told from. */
export interface ModelSources {
  readonly active: ModelRef | null;
  readonly factory: ModelRef | null;
  /** A model is loaded. */
  readonly ready: boolean;
  readonly trusted: boolean;
  readonly pinned: boolean;
  readonly slots: SlotsState;
  /** The newest of the install in hand. */
  readonly progress: ModelProgress | null;
}

/** Steps of the percentage in the state, which is retained; `model/progress` tells it finely. */
const STEP_PCT = 5;

/** `model/state`. */
export function modelState(sources: ModelSources): ModelState {
  const { active, factory, ready, trusted, pinned, slots, progress } = sources;
  const { install } = slots;
  const candidate = bare(slots.candidate) ?? (install && inHand(install) ? wanted(install) : null);
  const previous = bare(slots.previous);
  const loading = !ready && !(install && inHand(install));
  return {
    schema: 'swellsight.model_state/1',
    active,
    candidate,
    previous,
    phase: loading ? 'loading' : (install?.phase ?? 'committed'),
    slots: { factory, previous, active, candidate },
    install: install && installView(install, progress),
    refused: slots.refused.map(({ name, version, digest, code, atMs }) => ({
      name,
      version,
      digest,
      code,
      at: isoTime(atMs),
    })),
    pinned,
    trusted,
  };
}

/** An install as it stands in the state and in answers. */
export function installView(install: InstallRecord, progress: ModelProgress | null = null): ModelInstall {
  const { phase, probation, shadow, reason } = install;
  const now = progress?.update_id === install.updateId && progress.phase === phase ? progress : null;
  const percent = now?.percent ?? null;
  return {
    update_id: install.updateId,
    name: install.name,
    version: install.version,
    source: install.source.kind,
    phase,
    in_progress: inHand(install) && phase !== 'probation',
    reason: reason && { code: reason.code, message: reason.message },
    bytes: now?.bytes ?? install.bytes,
    total_bytes: now?.total_bytes ?? install.totalBytes,
    percent: percent === null ? null : Math.floor(percent / STEP_PCT) * STEP_PCT,
    started_at: isoTime(install.startedAtMs),
    at: isoTime(install.phaseAtMs),
    candidate: bare(install.candidate),
    trusted: install.trusted,
    shadow: shadow && shadowView(shadow),
    probation: probation && {
      answers: probation.answers,
      failures: probation.failures,
      failed_starts: probation.failedStarts,
    },
  };
}

/** What `model.install` is answered with. */
export function installResult(install: InstallRecord): ModelInstallResult {
  const { updateId, phase, candidate, name, version, digest, shadow } = install;
  const model = plainRef(candidate ?? { name, version, digest: digest ?? '' });
  return { update_id: updateId, phase, model, shadow: shadow && shadowView(shadow) };
}

const shadowView = (shadow: ShadowReport): ModelShadow => ({
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

/** Not ended yet. */
export const inHand = ({ phase }: Pick<InstallRecord, 'phase'>): boolean =>
  phase !== 'committed' && phase !== 'failed' && phase !== 'rolled_back';

/** Without what a slot says beside it. */
export const plainRef = ({ name, version, digest }: ModelRef): ModelRef => ({ name, version, digest });

const bare = (ref: SlotRef | ModelRef | null): ModelRef | null => ref && plainRef(ref);

/** Before it is verified its digest is what was said of it, or nothing; on probation it is the active one. */
function wanted({ phase, candidate }: InstallRecord): ModelRef | null {
  return phase === 'probation' ? null : bare(candidate);
}
