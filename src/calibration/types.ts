import type { CalibrationSummary } from '../contract/observation.ts';
import type { ViewSignature } from '../vision/protocol.ts';

/** One person's reading of one burst. */
export interface Label {
  readonly observationId: string;
  readonly camera: string;
  readonly heightM: number;
  readonly observer: string | null;
  readonly note: string | null;
  readonly createdAtMs: number;
  /** Labels of one group never stand on both sides of a validation split: the same clip, the same session. */
  readonly group: string;
}

/** A label with what the model saw: all that a fit needs. */
export interface LabelledBurst {
  readonly label: Label;
  /** Mean of the burst's embeddings. */
  readonly embedding: Float32Array;
  readonly view: ViewSignature | null;
}

/** What a fit used, and what it could not use. */
export interface FitOutcome {
  readonly summary: CalibrationSummary;
  /** Left out by observation: a value that is no reading, or an embedding that is not this trunk's. */
  readonly ignored: readonly {
    readonly observationId: string;
    readonly reason: 'height_absurd' | 'embedding_invalid';
  }[];
  /** Labelled bursts older than the newest ones that are fitted. */
  readonly tooOld: number;
  /** Distinct views among the labels; above 1 the camera was moved or has presets. */
  readonly views: number;
}

/** The answer of a site calibration for one burst. */
export interface HeightEstimate {
  readonly heightM: number | null;
  readonly lowM: number | null;
  readonly highM: number | null;
  /** Nominal coverage of the interval, 0..1. */
  readonly coverage: number | null;
  readonly basis: 'site_calibrated' | 'site_median' | null;
  /** Set when the height is null. */
  readonly reason: 'uncalibrated' | 'view_changed' | null;
  /** Median of the labels of this view at that moment: what the estimate has to beat. Null without labels. */
  readonly medianM: number | null;
  readonly summary: CalibrationSummary;
}
