import { AgentError } from '../base/errors.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import type { ModelLease, ViewSignature } from '../vision/protocol.ts';
import { isValidEmbedding, selectBursts, type Selection } from './select-bursts.ts';
import { assignSessions } from './sessions.ts';
import { fitSite, restoreSite, storeSite, type LabelledView, type SiteFit } from './site-fit.ts';
import { runInSlices, runNow } from './steps.ts';
import type { FitOutcome, HeightEstimate, LabelledBurst } from './types.ts';
import { estimateBy, estimateByRule, MIN_RIDGE_SESSIONS } from './view-calibration.ts';
import { findView, type FoundView, type ViewCheck } from './view/check-view.ts';

export interface SiteCalibrationOptions {
  readonly camera: string;
  /** Identifies the model that makes the embeddings. Labels with embeddings of another model cannot be used. */
  readonly embeddingDigest: string;
  /** Labels less than this apart belong to one session, see sessions.ts. */
  readonly sessionHours: number;
}

const NO_LABELS: Selection = { bursts: [], ignored: [], tooOld: 0 };

/**
 * Learns wave heights from the labels of one camera and one embedding: one calibration for each labelled view. Keeps the
 * last complete fit; an estimate never waits for a running fit. Until the first fit or restored fit, a camera with labels
 * has no height, with the reason `calibration_pending`.
 */
export class SiteCalibration {
  readonly camera: string;
  readonly embeddingDigest: string;
  readonly #options: SiteCalibrationOptions;
  #fit: SiteFit | null = null;
  /** The labels of the running fit. */
  #pending: Selection = NO_LABELS;
  /** The view of the last camera frame whose height was estimated; null before the first one. */
  #lastView: FoundView<LabelledView> | null = null;
  #fitCount = 0;

  constructor(options: SiteCalibrationOptions) {
    this.camera = options.camera;
    this.embeddingDigest = options.embeddingDigest;
    this.#options = options;
  }

  /**
   * Fits the labels, in slices of a few milliseconds; does nothing if the present fit was made from the same labels. If
   * another call starts before this one ends, both calls end normally, and the result of the later call is kept.
   */
  async fit(labelled: readonly LabelledBurst[], signal?: AbortSignal): Promise<FitOutcome> {
    this.#fitCount += 1;
    const fitNumber = this.#fitCount;
    if (this.#fit === null) this.#pending = selectBursts(labelled);
    const fit = await runInSlices(fitSite(labelled, this.#options, this.#fit), signal);
    if (fitNumber === this.#fitCount) this.#replaceFit(fit);
    return this.#outcomeOf(fit);
  }

  /**
   * Takes over a fit that `toText` returned in an earlier run. False if a new fit is needed: the text is damaged, or the
   * labels have changed. With further labels, the former fit is used until the new one is ready.
   */
  async restore(text: string, labelled: readonly LabelledBurst[], signal?: AbortSignal): Promise<boolean> {
    try {
      const restored = await runInSlices(restoreSite(text, labelled, this.#options), signal);
      if (restored !== null && this.#fitCount === 0) this.#replaceFit(restored.fit);
      return restored?.isCurrent === true;
    } catch (thrown) {
      // A damaged text may have any form. A new fit replaces it.
      signal?.throwIfAborted();
      if (thrown instanceof Error) return false;
      throw thrown;
    }
  }

  /** The present fit for `restore`; null without one. */
  toText(): string | null {
    return this.#fit && storeSite(this.#fit);
  }

  /** Equal for equal labels, embedding and recipe, also after a restart; null while no fit is ready. */
  get digest(): string | null {
    return this.#fit?.digest ?? null;
  }

  /** As `fit`, without pauses. Blocks for about n^3 microseconds (n labels): only for few labels, tools and tests. */
  fitNow(labelled: readonly LabelledBurst[]): FitOutcome {
    this.#fitCount += 1;
    const fit = runNow(fitSite(labelled, this.#options, this.#fit));
    this.#replaceFit(fit);
    return this.#outcomeOf(fit);
  }

  /**
   * Estimates the height of one burst. `embedding` is the mean over the burst. Throws `vision_output_invalid` if it
   * contains NaN or its length differs from the labelled ones. An `upload` does not update the view of the camera.
   */
  estimate(
    embedding: Float32Array,
    view: ViewSignature | null,
    origin: 'camera' | 'upload' = 'camera',
  ): HeightEstimate {
    if (!isValidEmbedding(embedding))
      throw new AgentError('vision_output_invalid', 'the embedding is empty or contains NaN or infinity');
    const length = this.bursts()[0]?.embedding.length ?? embedding.length;
    if (embedding.length !== length)
      throw new AgentError(
        'vision_output_invalid',
        'the embedding has another length than the embeddings of the labels',
        {
          context: { expected: length, found: embedding.length },
        },
      );
    const recognised = findView(this.#fit?.groups ?? [], view);
    if (origin === 'camera') this.#lastView = recognised;
    if (this.#fit === null && this.#pending.bursts.length > 0)
      return withoutHeight('calibration_pending', this.summary());
    if (recognised === null) return withoutHeight('uncalibrated', UNCALIBRATED);
    const summary = this.#summarize(recognised.view, recognised.check.state);
    if (recognised.view === null) return withoutHeight('view_changed', summary);
    const { calibration, reference } = recognised.view;
    // The view was compared, and may be another one: then the embedding says nothing for sure.
    const isDoubtful = recognised.check.state === 'unknown' && view !== null && reference !== null;
    return {
      ...(isDoubtful ? estimateBy('median', calibration, embedding) : estimateByRule(calibration, embedding)),
      reason: null,
      medianM: calibration.medianM,
      summary,
    };
  }

  /** Summary for the view of the last camera frame; before the first estimate, for the view with the newest label. */
  summary(): CalibrationSummary {
    if (this.#fit === null) return summarizePending(this.#pending, this.#options.sessionHours);
    const view = this.#lastView === null ? this.#fit.groups[0] : this.#lastView.view;
    return this.#summarize(view ?? null, this.#lastView?.check.state ?? 'unknown');
  }

  /** Compares the view of the last camera frame with the calibrated view; null before the first frame. */
  lastViewCheck(): ViewCheck | null {
    return this.#lastView?.check ?? null;
  }

  /** The labelled bursts of the current fit, oldest first. */
  bursts(): readonly LabelledBurst[] {
    return (this.#fit?.selection ?? this.#pending).bursts;
  }

  #replaceFit(fit: SiteFit): void {
    if (fit === this.#fit) return;
    this.#fit = fit;
    this.#pending = NO_LABELS;
    // The view of the last frame may have its first label now.
    this.#lastView = null;
  }

  #outcomeOf({ selection, groups }: SiteFit): FitOutcome {
    const { ignored, tooOld } = selection;
    return { summary: this.summary(), ignored, tooOld, views: groups.length };
  }

  /** `view` is null if the frame shows no labelled view: then no label is wanted, but the labels of other views are kept. */
  #summarize(view: LabelledView | null, viewState: ViewCheck['state']): CalibrationSummary {
    const calibration = view?.calibration;
    const labels = calibration?.labels ?? 0;
    return {
      labels,
      labels_wanted: calibration?.labelsWanted ?? (viewState === 'changed' ? 0 : MIN_RIDGE_SESSIONS),
      sessions: calibration?.sessions ?? 0,
      labels_kept: this.bursts().length - labels,
      loo_mae_m: roundToMm(calibration?.validation?.ridgeMaeM),
      loo_median_mae_m: roundToMm(calibration?.validation?.medianMaeM),
      view: viewState,
    };
  }
}

function withoutHeight(
  reason: NonNullable<HeightEstimate['reason']>,
  summary: CalibrationSummary,
): HeightEstimate {
  return {
    heightM: null,
    lowM: null,
    highM: null,
    coverage: null,
    basis: null,
    reason,
    medianM: null,
    summary,
  };
}

/** The summary while the first fit runs. */
function summarizePending({ bursts }: Selection, sessionHours: number): CalibrationSummary {
  const sessions = new Set(assignSessions(bursts, sessionHours).values()).size;
  return {
    ...UNCALIBRATED,
    labels: bursts.length,
    labels_wanted: Math.max(0, MIN_RIDGE_SESSIONS - sessions),
    sessions,
  };
}

/** Metres, rounded to millimetres. */
const roundToMm = (valueM: number | undefined): number | null =>
  valueM === undefined ? null : Number(valueM.toFixed(3));

export const UNCALIBRATED: CalibrationSummary = {
  labels: 0,
  labels_wanted: MIN_RIDGE_SESSIONS,
  sessions: 0,
  labels_kept: 0,
  loo_mae_m: null,
  loo_median_mae_m: null,
  view: 'unknown',
};

/**
 * Returns the calibration for the model that made this burst, or null. If the model was swapped during the burst, this may
 * be the calibration from before the burst, so both are checked.
 */
export function calibrationFor(
  lease: Pick<ModelLease, 'embeddingDigest'>,
  [current, beforeBurst]: readonly [SiteCalibration | null, SiteCalibration | null],
): SiteCalibration | null {
  return [current, beforeBurst].find((one) => one?.embeddingDigest === lease.embeddingDigest) ?? null;
}

/**
 * Estimates the height of a burst with the site's calibration. Without a calibration or an embedding, all values are null
 * and the reason is `uncalibrated`. `upload`: an uploaded image, which the camera may have taken at any time.
 */
export function estimateHeight(
  calibration: SiteCalibration | null,
  embedding: Float32Array | null,
  view: ViewSignature | null,
  origin: 'camera' | 'upload' = 'camera',
): HeightEstimate {
  if (calibration && embedding) return calibration.estimate(embedding, view, origin);
  return withoutHeight('uncalibrated', calibration?.summary() ?? UNCALIBRATED);
}
