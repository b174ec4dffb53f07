import { Type, type Static } from '@sinclair/typebox';
import { Nullable, StringEnum, Time, closed } from './schema-parts.ts';
import { ModelRef, Observation, Quality, Wave } from './observation.ts';

const { height_m, height_ft, height_low_m, height_high_m, interval_coverage, confidence, extreme } =
  Wave.properties;

/** The answer to one image. What was not measured is `null` with a reason, never 0.0. */
export const AnalysisResult = Type.Object(
  {
    wave_height_meters: height_m,
    wave_height_feet: height_ft,
    wave_direction: Wave.properties.direction,
    breaking_type: Wave.properties.breaking_type,
    confidence_scores: confidence,
    processing_time_seconds: Type.Number({
      minimum: 0,
      description: 'from the whole image to this answer, the wait for a turn included',
    }),
    extreme_conditions: extreme,
    warnings: Type.Array(Type.String()),
    timestamp: Type.String({
      ...Time,
      description: 'when the image was analysed; of a cached answer, that time',
    }),
    status: StringEnum(['measured', 'rejected']),
    reasons: Observation.properties.reasons,
    quality: Quality,
    model: Nullable(ModelRef),
    provider: Nullable(Type.String()),
    cached: Type.Boolean({ description: 'the same image was analysed before, under the same conditions' }),
    interval: Nullable(
      Type.Object(
        { low_meters: height_low_m, high_meters: height_high_m, coverage: interval_coverage },
        { ...closed, description: 'of the height; coverage is nominal, 0..1' },
      ),
    ),
    height_basis: Wave.properties.height_basis,
    camera: Nullable(Type.String({ description: 'whose region, masks and calibration were used' })),
  },
  { ...closed, $id: 'swellsight.analysis/1', title: 'AnalysisResult' },
);
export type AnalysisResult = Static<typeof AnalysisResult>;

/** As a problem document of its own would say it (RFC 9457). */
export const ImageProblem = Type.Object(
  {
    type: Type.String({ format: 'uri' }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String(),
    code: Type.String(),
    hint: Type.String(),
  },
  { ...closed, $id: 'swellsight.image_problem/1', title: 'ImageProblem' },
);
export type ImageProblem = Static<typeof ImageProblem>;

const place = {
  index: Type.Integer({ minimum: 0, description: 'its place among the images sent' }),
  filename: Nullable(Type.String({ maxLength: 255, description: 'as sent, without control characters' })),
};

export const BatchItem = Type.Union([
  Type.Object({ ...place, ok: Type.Literal(true), result: AnalysisResult }, closed),
  Type.Object({ ...place, ok: Type.Literal(false), error: ImageProblem }, closed),
]);
export type BatchItem = Static<typeof BatchItem>;

/** The answers to a batch, in the order sent. */
export const BatchResult = Type.Object(
  {
    results: Type.Array(BatchItem),
    total_images: Type.Integer({ minimum: 1 }),
    successful_analyses: Type.Integer({ minimum: 0 }),
    failed_analyses: Type.Integer({ minimum: 0 }),
    total_processing_time_seconds: Type.Number({ minimum: 0 }),
  },
  { ...closed, $id: 'swellsight.batch/1', title: 'BatchResult' },
);
export type BatchResult = Static<typeof BatchResult>;

/** How an image is to be analysed. */
export interface AnalysisOptions {
  /** Whose region, masks and calibration are used; none without. */
  readonly camera?: string;
  /** An image that the quality gate rejects is an error. */
  readonly strict?: boolean;
  /** Of the bytes, hexadecimal, where it is known already. */
  readonly sha256?: string;
}

/** Memory for the image of one request, until it is released. */
export interface UploadReservation {
  release(): void;
}
