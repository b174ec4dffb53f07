import { Type, type Static } from '@sinclair/typebox';
import { ERROR_CODES, type ErrorCode } from '../base/errors.ts';
import { OWN_REASONS, WARNINGS } from './codes.ts';
import {
  Codes,
  ErrorCodeName,
  Milliseconds,
  Nullable,
  Ratio01,
  StringEnum,
  Time,
  closed,
} from './schema-parts.ts';

export const DIRECTIONS = ['LEFT', 'RIGHT', 'STRAIGHT'] as const;
export const BREAKING_TYPES = ['SPILLING', 'PLUNGING', 'SURGING', 'NO_BREAKING'] as const;

/** Why a camera gave no frame. */
export const CAMERA_FAILURES = [
  'camera_auth',
  'camera_certificate',
  'camera_unreachable',
  'camera_timeout',
  'camera_codec',
  'camera_no_frame',
  'camera_ended',
  'camera_command',
  'camera_program_missing',
] as const;

/** Why a slot has no measurement, or a measurement has no height. Changes within v1 are additive. */
export const REASONS = [
  ...(Object.keys(OWN_REASONS) as (keyof typeof OWN_REASONS)[]),
  ...CAMERA_FAILURES,
  'image_empty',
  'image_unsupported',
  'image_corrupt',
  'image_too_large',
  'vision_crashed',
  'vision_timeout',
  'vision_busy',
  'vision_closed',
  'vision_start_failed',
  'vision_output_invalid',
  'model_golden_mismatch',
  'model_requires',
  'provider_unavailable',
  'internal',
] as const satisfies readonly (ErrorCode | keyof typeof OWN_REASONS)[];
export type Reason = (typeof REASONS)[number];

export const Wave = Type.Object(
  {
    height_m: Nullable(
      Type.Number({
        minimum: 0,
        description: 'significant wave height, in the terms of human observers of this site',
      }),
    ),
    height_ft: Nullable(Type.Number({ minimum: 0 })),
    height_low_m: Nullable(Type.Number({ minimum: 0 })),
    height_high_m: Nullable(Type.Number({ minimum: 0 })),
    interval_coverage: Nullable(Ratio01),
    height_basis: Nullable(
      StringEnum(['model_head', 'site_calibrated', 'site_median'], {
        description:
          'site_median: the usual height of the site, from the labels alone, and no measurement of these frames',
      }),
    ),
    direction: Nullable(
      StringEnum(DIRECTIONS, {
        description:
          'the side to which the wave breaks along its crest, for a surfer who rides it to the shore; STRAIGHT breaks along its ' +
          'whole length at once',
      }),
    ),
    breaking_type: Nullable(StringEnum(BREAKING_TYPES)),
    period_s: Nullable(
      Type.Number({
        exclusiveMinimum: 0,
        description:
          'period of the dominant waves, of the newest clip with a period; null when it is too old',
      }),
    ),
    period_low_s: Type.Optional(Nullable(Type.Number({ exclusiveMinimum: 0 }))),
    period_high_s: Type.Optional(Nullable(Type.Number({ exclusiveMinimum: 0 }))),
    period_basis: Type.Optional(Nullable(StringEnum(['video_spectrum', 'model_head']))),
    period_age_s: Type.Optional(
      Nullable(
        Type.Number({ minimum: 0, description: 'time since the end of the clip that gave the period' }),
      ),
    ),
    confidence: Type.Object(
      {
        height: Nullable({ ...Ratio01, description: 'h / (h + half the width of the interval)' }),
        direction: Nullable({ ...Ratio01, description: 'probability of the direction' }),
        breaking: Nullable({ ...Ratio01, description: 'probability of the breaking type' }),
        overall: Nullable({ ...Ratio01, description: 'the smallest of those that are not null' }),
      },
      closed,
    ),
    extreme: Nullable(Type.Boolean({ description: 'height of 4 m or more; null without a height' })),
  },
  closed,
);
export type Wave = Static<typeof Wave>;

export const CalibrationSummary = Type.Object(
  {
    labels: Type.Integer({ minimum: 0, description: 'labelled bursts of this camera, view and embedding' }),
    labels_wanted: Type.Integer({
      minimum: 0,
      description:
        'labels of further sessions (one each) that are missing until the ridge regression is tried; 0 while the view is changed',
    }),
    sessions: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'sessions of these labels: labels less than `calibration.sessionHours` apart are one',
      }),
    ),
    labels_kept: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'labels of other views of this camera: used again when the camera shows their view',
      }),
    ),
    loo_mae_m: Nullable(
      Type.Number({ minimum: 0, description: 'leave-one-group-out error of the ridge regression' }),
    ),
    loo_median_mae_m: Nullable(
      Type.Number({ minimum: 0, description: 'leave-one-group-out error of the median' }),
    ),
    view: StringEnum(['unknown', 'same', 'changed']),
  },
  closed,
);
export type CalibrationSummary = Static<typeof CalibrationSummary>;

export const Quality = Type.Object(
  {
    score: Nullable({
      ...Ratio01,
      description: 'mean of the frames: 1 is clean, below 0.5 a frame is rejected',
    }),
    glare: Nullable({ ...Ratio01, description: 'part of the frame' }),
    dark: Nullable({ ...Ratio01, description: 'part of the frames that was rejected for it' }),
    blur: Nullable({ ...Ratio01, description: 'part of the frames that was rejected for it' }),
    fog: Nullable({ ...Ratio01, description: 'part of the frames that was rejected for it' }),
    obstruction: Nullable({ ...Ratio01, description: 'part of the frame that something covers' }),
    frozen: Nullable(Type.Boolean({ description: 'the camera sends the same frame again' })),
    moved: Nullable(Type.Boolean({ description: 'the view differs from the labelled views' })),
  },
  closed,
);
export type Quality = Static<typeof Quality>;

export const ModelRef = Type.Object(
  { name: Type.String(), version: Type.String(), digest: Type.String() },
  closed,
);
export type ModelRef = Static<typeof ModelRef>;

export const StoreId = Type.String({
  format: 'uuid',
  description:
    'id of the numbering: new when the state directory was restored or copied, so that (`store_id`, camera, `seq`) never ' +
    'repeats; absent in records of agents that did not have it',
});

export const Observation = Type.Object(
  {
    schema: Type.Literal('swellsight.observation/1'),
    id: Type.String({
      format: 'uuid',
      description: 'the same each time the record is sent; consumers remove duplicates by it',
    }),
    site: Type.String(),
    device: Type.String(),
    camera: Type.String(),
    boot_id: Type.String(),
    seq: Type.Integer({
      minimum: 1,
      description:
        'number of the record of this camera, without gaps, never reset as long as `store_id` is the same',
    }),
    store_id: Type.Optional(StoreId),
    captured_at: Time,
    published_at: Nullable({
      ...Time,
      description:
        'when this copy was sent; null on `latest` of a record that was made without a connection, and in the history until it is sent',
    }),
    mono_ms: Type.Number({ minimum: 0 }),
    clock: Type.Object({ synced: Type.Boolean(), offset_ms: Nullable(Type.Number()) }, closed),
    status: StringEnum(['measured', 'rejected', 'failed', 'skipped'], {
      description:
        'measured: the model has seen the sea; there may be no height, for example before the camera is calibrated: see ' +
        '`has_height` and `reasons`',
    }),
    has_height: Type.Optional(
      Type.Boolean({
        description:
          '`wave.height_m` is a number; filter by it, not by `status`. Absent in records of agents that did not have it',
      }),
    ),
    reasons: Type.Array(Codes<Reason>(REASONS)),
    burst: Type.Object(
      {
        requested: Type.Integer({ minimum: 0 }),
        used: Type.Integer({ minimum: 0 }),
        span_s: Nullable(Type.Number({ minimum: 0 })),
      },
      closed,
    ),
    wave: Wave,
    calibration: CalibrationSummary,
    quality: Quality,
    model: Nullable(ModelRef),
    provider: Nullable(Type.String()),
    timing_ms: Type.Object(
      {
        capture: Nullable(Milliseconds),
        decode: Nullable(Milliseconds),
        preprocess: Nullable(Milliseconds),
        inference: Nullable(Milliseconds),
        total: Nullable(Milliseconds),
      },
      closed,
    ),
    warnings: Type.Array(Codes([...Object.keys(WARNINGS), ...Object.keys(ERROR_CODES)])),
    simulated: Type.Optional(
      Type.Boolean({
        description:
          'the camera is simulated: this is no measurement of a sea. Absent in records of agents that did not have it',
      }),
    ),
    historical: Type.Boolean(),
  },
  { ...closed, $id: 'swellsight.observation/1', title: 'Observation' },
);
export type Observation = Static<typeof Observation>;

/** A failure, as a person sees it. */
export const Failure = Type.Object(
  { code: ErrorCodeName, message: Type.String(), hint: Type.String() },
  { ...closed, title: 'Failure' },
);
export type Failure = Readonly<Static<typeof Failure>>;

/** The answer to a capture on request: the record as it is published, and why it failed. */
export const CapturedObservation = Type.Object(
  { ...Observation.properties, failure: Type.Optional(Nullable(Failure)) },
  { ...closed, title: 'CapturedObservation' },
);
export type CapturedObservation = Static<typeof CapturedObservation>;
