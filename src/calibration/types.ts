import type { CalibrationSummary } from '../contract/observation.ts';
import type { ViewSignature } from '../vision/protocol.ts';

/** A wave height as a person reads it. */
export interface Reading {
  readonly height: number;
  readonly unit: 'm' | 'ft';
  /** `face`: from trough to crest, as all heights here. `hawaiian`: half of it, as measured from behind the wave. */
  readonly scale: 'face' | 'hawaiian';
}

/** One person's reading of the wave height of one burst. */
export interface Label {
  readonly observationId: string;
  readonly camera: string;
  /** Metres of face, from trough to crest. */
  readonly heightM: number;
  readonly observer: string | null;
  readonly note: string | null;
  readonly createdAtMs: number;
  /**
   * The id of the observation, or a group that the source of the label chose, such as a video clip: see sessions.ts.
   * Validation never splits a group or a session.
   */
  readonly group: string;
  /** What the person said, where `heightM` is converted from it; null: `heightM` itself. */
  readonly height?: number | null;
  readonly unit?: Reading['unit'] | null;
  readonly scale?: Reading['scale'] | null;
  /** The tide at that time, metres; null: unknown. */
  readonly tideM?: number | null;
}

/** A label with the model's outputs for its burst: the input of a fit. */
export interface LabelledBurst {
  readonly label: Label;
  /** Mean of the embeddings of the burst's frames. */
  readonly embedding: Float32Array;
  readonly view: ViewSignature | null;
  /** When the image was taken; null: unknown. */
  readonly capturedAtMs: number | null;
}

/** The labels that a fit used, and those that it could not use. */
export interface FitOutcome {
  readonly summary: CalibrationSummary;
  /** Labels that were ignored, because the height is out of range, or the embedding is broken or from another model. */
  readonly ignored: readonly {
    readonly observationId: string;
    readonly reason: 'height_absurd' | 'embedding_invalid';
  }[];
  /** Number of labelled bursts that were left out because only the newest `MAX_LABELS` are fitted. */
  readonly tooOld: number;
  /** Distinct views among the labels; more than 1 if the camera was moved or has presets. */
  readonly views: number;
}

/** Estimate of the wave height of one burst by a site calibration. */
export interface HeightEstimate {
  readonly heightM: number | null;
  readonly lowM: number | null;
  readonly highM: number | null;
  /** Nominal coverage of the interval, 0..1. */
  readonly coverage: number | null;
  readonly basis: 'site_calibrated' | 'site_median' | null;
  /** Set if the height is null. */
  readonly reason: 'uncalibrated' | 'calibration_pending' | 'view_changed' | null;
  /** Median of the labels of this view at that time, the baseline for the estimate; null without labels. */
  readonly medianM: number | null;
  readonly summary: CalibrationSummary;
}
