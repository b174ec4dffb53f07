import { AgentError } from '../base/errors.ts';
import type { CalibrationSummary } from '../contract/observation.ts';
import type { ViewSignature } from '../vision/protocol.ts';
import { isSound, selectBursts } from './select-bursts.ts';
import { runBreathing, runNow, type Steps } from './steps.ts';
import type { FitOutcome, HeightEstimate, LabelledBurst } from './types.ts';
import { calibrateView, heightFor, RIDGE_LABELS, type ViewCalibration } from './view-calibration.ts';
import { groupByView } from './view/group-by-view.ts';
import { checkView, type ViewCheck, type ViewReference } from './view/check-view.ts';

export interface SiteCalibrationOptions {
  readonly camera: string;
  /** Labels of another trunk's embeddings mean nothing here. */
  readonly embeddingDigest: string;
}

interface View {
  readonly reference: ViewReference | null;
  readonly bursts: readonly LabelledBurst[];
  readonly calibration: ViewCalibration;
}

interface Fitted {
  /** The view of the newest label first. */
  readonly views: readonly View[];
  readonly selection: ReturnType<typeof selectBursts>;
}

/**
 * What people taught of one camera under one embedding: a separate calibration for each view that they labelled.
 * Holds the last complete fit; estimates never wait for one that is under way.
 */
export class SiteCalibration {
  readonly camera: string;
  readonly embeddingDigest: string;
  #fitted: Fitted = { views: [], selection: selectBursts([]) };
  #view: { readonly check: ViewCheck; readonly of: View | null } | null = null;
  #newestFit = 0;

  constructor(options: SiteCalibrationOptions) {
    this.camera = options.camera;
    this.embeddingDigest = options.embeddingDigest;
  }

  /**
   * Learns from all labels anew, in stretches of a few milliseconds. A later call overtakes an earlier one that is
   * still under way: both settle, and the later labels stand.
   */
  async fit(labelled: readonly LabelledBurst[], signal?: AbortSignal): Promise<FitOutcome> {
    this.#newestFit += 1;
    const mine = this.#newestFit;
    const fitted = await runBreathing(fitViews(labelled), signal);
    return this.#take(fitted, mine === this.#newestFit);
  }

  /** The same without a pause: blocks for about n^3 microseconds, so for few labels, tools and tests. */
  fitNow(labelled: readonly LabelledBurst[]): FitOutcome {
    this.#newestFit += 1;
    return this.#take(runNow(fitViews(labelled)), true);
  }

  /**
   * Height of one burst. `embedding` is the mean over the burst; throws `vision_output_invalid` when it holds NaN or
   * is of another length than the labelled ones. A `stray` picture says nothing of what the camera sees at present.
   */
  estimate(
    embedding: Float32Array,
    view: ViewSignature | null,
    origin: 'camera' | 'stray' = 'camera',
  ): HeightEstimate {
    if (!isSound(embedding)) throw new AgentError('vision_output_invalid', 'the embedding is not finite');
    const length = this.#fitted.selection.bursts[0]?.embedding.length ?? embedding.length;
    if (embedding.length !== length)
      throw new AgentError(
        'vision_output_invalid',
        'the embedding has another length than the labelled ones',
        {
          context: { expected: length, found: embedding.length },
        },
      );
    const seen = this.#recognise(view);
    if (origin === 'camera') this.#view = seen;
    if (seen?.of == null)
      return this.#without(seen === null ? 'uncalibrated' : 'view_changed', seen?.check.state ?? 'unknown');
    const { calibration } = seen.of;
    return {
      ...heightFor(calibration, embedding),
      reason: null,
      medianM: calibration.medianM,
      summary: summarise(calibration, seen.check.state),
    };
  }

  /** Of the view seen last; before any estimate, of the view labelled last. */
  summary(): CalibrationSummary {
    return summarise(
      this.#view === null ? this.#fitted.views[0]?.calibration : this.#view.of?.calibration,
      this.#view?.check.state ?? 'unknown',
    );
  }

  /** Where the frame seen last lies against the calibrated view; null before the first. */
  lastViewCheck(): ViewCheck | null {
    return this.#view?.check ?? null;
  }

  /** The labelled bursts that the present fit stands on, oldest first. */
  bursts(): readonly LabelledBurst[] {
    return this.#fitted.selection.bursts;
  }

  #take(fitted: Fitted, newest: boolean): FitOutcome {
    if (newest) {
      this.#fitted = fitted;
      // The view seen last may have got its first label just now.
      this.#view = null;
    }
    return {
      summary: this.summary(),
      ignored: fitted.selection.ignored,
      tooOld: fitted.selection.tooOld,
      views: fitted.views.length,
    };
  }

  /** The labelled view that the frame shows; null when nothing is labelled, `of: null` when it shows none of them. */
  #recognise(frame: ViewSignature | null): { readonly check: ViewCheck; readonly of: View | null } | null {
    const seen = this.#fitted.views.map((of) => ({ of, check: checkView(of.reference, frame) }));
    const best =
      seen
        .filter(({ check }) => check.state === 'same')
        .reduce<(typeof seen)[number] | null>(
          (a, b) => (a === null || b.check.score > a.check.score ? b : a),
          null,
        ) ?? seen.find(({ check }) => check.state === 'unknown');
    if (best !== undefined) return best;
    const newest = seen[0];
    return newest === undefined ? null : { check: newest.check, of: null };
  }

  #without(reason: 'uncalibrated' | 'view_changed', view: ViewCheck['state']): HeightEstimate {
    return {
      heightM: null,
      lowM: null,
      highM: null,
      coverage: null,
      basis: null,
      reason,
      medianM: null,
      summary: summarise(undefined, view),
    };
  }
}

function* fitViews(labelled: readonly LabelledBurst[]): Steps<Fitted> {
  const selection = selectBursts(labelled);
  const views: View[] = [];
  for (const { reference, bursts } of yield* groupByView(selection.bursts)) {
    const calibration = yield* calibrateView(
      bursts.map(({ embedding, label }) => ({ embedding, heightM: label.heightM, group: label.group })),
    );
    views.push({ reference, bursts, calibration });
  }
  return { views, selection };
}

function summarise(calibration: ViewCalibration | undefined, view: ViewCheck['state']): CalibrationSummary {
  return {
    labels: calibration?.labels ?? 0,
    labels_wanted: calibration?.labelsWanted ?? RIDGE_LABELS,
    loo_mae_m: millimetres(calibration?.leftOut?.ridgeMaeM),
    loo_median_mae_m: millimetres(calibration?.leftOut?.medianMaeM),
    view,
  };
}

/** Metres to three digits, or null. */
const millimetres = (valueM: number | undefined): number | null =>
  valueM === undefined ? null : Number(valueM.toFixed(3));
