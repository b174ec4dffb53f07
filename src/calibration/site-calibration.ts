import { AgentError } from '../base/errors.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import type { ModelLease, ViewSignature } from '../vision/protocol.ts';
import { isValidEmbedding, selectBursts } from './select-bursts.ts';
import { runInSlices, runNow, type Steps } from './steps.ts';
import type { FitOutcome, HeightEstimate, LabelledBurst } from './types.ts';
import { calibrateView, estimateByRule, MIN_RIDGE_LABELS, type ViewCalibration } from './view-calibration.ts';
import { checkView, type ViewCheck, type ViewReference } from './view/check-view.ts';
import { bestView, groupByView } from './view/group-by-view.ts';

export interface SiteCalibrationOptions {
  readonly camera: string;
  /** Identifies the model that makes the embeddings. Labels with embeddings of another model cannot be used. */
  readonly embeddingDigest: string;
}

interface LabelledView {
  readonly reference: ViewReference | null;
  readonly calibration: ViewCalibration;
}

interface SiteFit {
  /** All labelled views; the view with the newest label comes first. */
  readonly views: readonly LabelledView[];
  readonly selection: ReturnType<typeof selectBursts>;
}

interface RecognisedView {
  readonly check: ViewCheck;
  /** Null if the frame does not show a labelled view. */
  readonly view: LabelledView | null;
}

/**
 * Learns wave heights from the labels of one camera and one embedding: one calibration for each labelled view. Keeps the
 * last complete fit; an estimate never waits for a running fit.
 */
export class SiteCalibration {
  readonly camera: string;
  readonly embeddingDigest: string;
  #fit: SiteFit = { views: [], selection: selectBursts([]) };
  /** The view of the last camera frame whose height was estimated; null before the first one. */
  #lastView: RecognisedView | null = null;
  #fitCount = 0;

  constructor(options: SiteCalibrationOptions) {
    this.camera = options.camera;
    this.embeddingDigest = options.embeddingDigest;
  }

  /**
   * Fits all labels again, in slices of a few milliseconds. If another call starts before this one ends, both calls end
   * normally, and the result of the later call is kept.
   */
  async fit(labelled: readonly LabelledBurst[], signal?: AbortSignal): Promise<FitOutcome> {
    this.#fitCount += 1;
    const fitNumber = this.#fitCount;
    const fit = await runInSlices(fitViews(labelled), signal);
    if (fitNumber === this.#fitCount) this.#replaceFit(fit);
    return this.#outcomeOf(fit);
  }

  /** As `fit`, without pauses. Blocks for about n^3 microseconds (n labels): only for few labels, tools and tests. */
  fitNow(labelled: readonly LabelledBurst[]): FitOutcome {
    this.#fitCount += 1;
    const fit = runNow(fitViews(labelled));
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
    const length = this.#fit.selection.bursts[0]?.embedding.length ?? embedding.length;
    if (embedding.length !== length)
      throw new AgentError(
        'vision_output_invalid',
        'the embedding has another length than the embeddings of the labels',
        {
          context: { expected: length, found: embedding.length },
        },
      );
    const recognised = this.#recogniseView(view);
    if (origin === 'camera') this.#lastView = recognised;
    if (recognised === null) return withoutHeight('uncalibrated', UNCALIBRATED);
    if (recognised.view === null)
      return withoutHeight('view_changed', summarize(undefined, recognised.check.state));
    const { calibration } = recognised.view;
    return {
      ...estimateByRule(calibration, embedding),
      reason: null,
      medianM: calibration.medianM,
      summary: summarize(calibration, recognised.check.state),
    };
  }

  /** Summary for the view of the last camera frame; before the first estimate, for the view with the newest label. */
  summary(): CalibrationSummary {
    return summarize(
      this.#lastView === null ? this.#fit.views[0]?.calibration : this.#lastView.view?.calibration,
      this.#lastView?.check.state ?? 'unknown',
    );
  }

  /** Compares the view of the last camera frame with the calibrated view; null before the first frame. */
  lastViewCheck(): ViewCheck | null {
    return this.#lastView?.check ?? null;
  }

  /** The labelled bursts of the current fit, oldest first. */
  bursts(): readonly LabelledBurst[] {
    return this.#fit.selection.bursts;
  }

  #replaceFit(fit: SiteFit): void {
    this.#fit = fit;
    // The view of the last frame may have its first label now.
    this.#lastView = null;
  }

  #outcomeOf({ selection, views }: SiteFit): FitOutcome {
    const { ignored, tooOld } = selection;
    return { summary: this.summary(), ignored, tooOld, views: views.length };
  }

  /** Finds the labelled view that the frame shows; null without labels. */
  #recogniseView(frame: ViewSignature | null): RecognisedView | null {
    const checked = this.#fit.views.map((view) => ({ view, check: checkView(view.reference, frame) }));
    const best = bestView(checked);
    if (best !== undefined) return best;
    const [newest] = checked;
    return newest === undefined ? null : { check: newest.check, view: null };
  }
}

function* fitViews(labelled: readonly LabelledBurst[]): Steps<SiteFit> {
  const selection = selectBursts(labelled);
  const views: LabelledView[] = [];
  for (const { reference, bursts } of yield* groupByView(selection.bursts)) {
    const calibration = yield* calibrateView(
      bursts.map(({ embedding, label }) => ({ embedding, heightM: label.heightM, group: label.group })),
    );
    views.push({ reference, calibration });
  }
  return { views, selection };
}

function withoutHeight(reason: 'uncalibrated' | 'view_changed', summary: CalibrationSummary): HeightEstimate {
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

function summarize(
  calibration: ViewCalibration | undefined,
  viewState: ViewCheck['state'],
): CalibrationSummary {
  return {
    labels: calibration?.labels ?? 0,
    labels_wanted: calibration?.labelsWanted ?? MIN_RIDGE_LABELS,
    loo_mae_m: roundToMm(calibration?.validation?.ridgeMaeM),
    loo_median_mae_m: roundToMm(calibration?.validation?.medianMaeM),
    view: viewState,
  };
}

/** Metres, rounded to millimetres. */
const roundToMm = (valueM: number | undefined): number | null =>
  valueM === undefined ? null : Number(valueM.toFixed(3));

export const UNCALIBRATED: CalibrationSummary = summarize(undefined, 'unknown');

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
