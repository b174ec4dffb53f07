import { Type, type Static } from '@sinclair/typebox';
import { ErrorCodeName, Nullable, StringEnum, Time, closed } from './schema-parts.ts';
import { ModelRef, Observation, Quality, Wave } from './observation.ts';

const { height_m, height_ft, height_low_m, height_high_m, interval_coverage, confidence, extreme } =
  Wave.properties;

/** The result of one image. A value that was not measured is `null` with a reason, never 0.0. */
export const AnalysisResult = Type.Object(
  {
    wave_height_meters: height_m,
    wave_height_feet: height_ft,
    wave_direction: Wave.properties.direction,
    breaking_type: Wave.properties.breaking_type,
    confidence_scores: confidence,
    processing_time_seconds: Type.Number({
      minimum: 0,
      description: 'from the complete upload of the image to this result, including the wait in the queue',
    }),
    extreme_conditions: extreme,
    warnings: Observation.properties.warnings,
    timestamp: Type.String({
      ...Time,
      description: 'when the image was analysed, also for a cached result',
    }),
    status: StringEnum(['measured', 'rejected']),
    reasons: Observation.properties.reasons,
    quality: Quality,
    model: Nullable(ModelRef),
    provider: Nullable(Type.String()),
    cached: Type.Boolean({ description: 'the same image was analysed before under the same conditions' }),
    interval: Nullable(
      Type.Object(
        { low_meters: height_low_m, high_meters: height_high_m, coverage: interval_coverage },
        { ...closed, description: 'interval of the height; coverage is nominal, 0..1' },
      ),
    ),
    height_basis: Wave.properties.height_basis,
    camera: Nullable(
      Type.String({ description: 'the camera whose region, masks and calibration were used' }),
    ),
  },
  { ...closed, $id: 'swellsight.analysis/1', title: 'AnalysisResult' },
);
export type AnalysisResult = Static<typeof AnalysisResult>;

/** The problem document (RFC 9457) of one image of a batch. */
export const ImageProblem = Type.Object(
  {
    type: Type.String({ format: 'uri' }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String(),
    code: ErrorCodeName,
    hint: Type.String(),
  },
  { ...closed, $id: 'swellsight.image_problem/1', title: 'ImageProblem' },
);
export type ImageProblem = Static<typeof ImageProblem>;

const place = {
  index: Type.Integer({ minimum: 0, description: 'position of the image in the request' }),
  filename: Nullable(
    Type.String({ maxLength: 255, description: 'as the client sent it, without control characters' }),
  ),
};

export const BatchItem = Type.Union([
  Type.Object({ ...place, ok: Type.Literal(true), result: AnalysisResult }, closed),
  Type.Object({ ...place, ok: Type.Literal(false), error: ImageProblem }, closed),
]);
export type BatchItem = Static<typeof BatchItem>;

/** The results of a batch, in the order of the request. */
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

export interface AnalysisOptions {
  /** The camera whose region, masks and calibration are used. Without it, none are used. */
  readonly camera?: string;
  /** Makes an image that the quality gate rejects an error. */
  readonly strict?: boolean;
  /** SHA-256 of the bytes, hexadecimal, when the caller already knows it. */
  readonly sha256?: string;
}

/** Memory for the image of one request, until it is released. */
export interface UploadReservation {
  release(): void;
}
