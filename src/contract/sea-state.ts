import { Type, type Static } from '@sinclair/typebox';
import { BREAKER_REASONS, SEA_STATE_REASONS } from './codes.ts';
import { CAMERA_FAILURES, Observation } from './observation.ts';
import { Codes, Count, Milliseconds, Nullable, Ratio01, Time, closed } from './schema-parts.ts';

/** Why a clip gives no period. Changes within v1 are additive. */
export const SEA_STATE_REASON_CODES = [
  ...(Object.keys(SEA_STATE_REASONS) as (keyof typeof SEA_STATE_REASONS)[]),
  ...(['glare', 'dark', 'fog', 'obstructed', 'frozen', 'damaged'] as const),
  ...(['overlap', 'clock_step', 'late', 'heat', 'low_power', 'stopping'] as const),
  ...CAMERA_FAILURES,
  ...(['image_empty', 'image_unsupported', 'image_corrupt', 'image_too_large'] as const),
  ...(['vision_crashed', 'vision_timeout', 'vision_busy', 'vision_closed'] as const),
  ...(['vision_start_failed', 'vision_output_invalid', 'internal'] as const),
] as const;
export type SeaStateRecordReason = (typeof SEA_STATE_REASON_CODES)[number];

const Seconds = Type.Number({ exclusiveMinimum: 0 });
const Metres = Type.Number({ minimum: 0 });

const Period = Type.Object(
  {
    peak_s: Nullable({ ...Seconds, description: 'period of the dominant wave train' }),
    low_s: Nullable({ ...Seconds, description: 'interval of `peak_s`' }),
    high_s: Nullable(Seconds),
    coverage: Nullable({ ...Ratio01, description: 'nominal coverage of the interval' }),
    energy_s: Nullable({ ...Seconds, description: 'energy period of the whole band' }),
    second_s: Nullable({ ...Seconds, description: 'period of a second wave train; null without one' }),
    second_low_s: Nullable({ ...Seconds, description: 'interval of `second_s`' }),
    second_high_s: Nullable(Seconds),
    mixed_sea: Nullable(Type.Boolean({ description: 'there are two wave trains' })),
    coherence: Nullable({ ...Ratio01, description: 'of neighbouring parts of the picture, at the peak' }),
    snr: Nullable(Type.Number({ minimum: 0, description: 'the spectrum at the peak over its background' })),
  },
  { ...closed, description: 'all values are null unless `status` is `measured`' },
);

const Breaking = Type.Object(
  {
    white_share: Nullable({
      ...Ratio01,
      description: 'mean share of the picture, or of the lines, that white water covers',
    }),
    per_minute: Nullable(
      Type.Number({
        minimum: 0,
        description: 'breaking fronts in a minute that pass a point on the way to the shore',
      }),
    ),
    sets: Nullable({
      ...Count,
      description: 'sets of higher waves in the clip; null when they cannot be separated',
    }),
    set_interval_s: Nullable({ ...Seconds, description: 'mean time from set to set' }),
  },
  closed,
);

const Breaker = Type.Object(
  {
    height_m: Nullable({ ...Metres, description: 'significant breaker height; never in `wave.height_m`' }),
    low_m: Nullable(Metres),
    high_m: Nullable(Metres),
    count: Nullable({ ...Count, description: 'measured breakers' }),
    tide_m: Nullable(Type.Number({ description: 'the tide that was used' })),
    reason: Nullable(Codes(Object.keys(BREAKER_REASONS), { description: 'why there is no height' })),
  },
  { ...closed, description: 'needs `geometry` of the camera' },
);

/** Length of a clip, seconds: of the configuration, and of the command `sea_state`. */
export const ClipDuration = Type.Number({ minimum: 256, maximum: 2048 });
/** The pictures of a clip. */
export const SEA_STATE_PICTURES = ['timestack', 'spectrum'] as const;
export type SeaStatePicture = (typeof SEA_STATE_PICTURES)[number];

/** What a clip of one camera says about the sea: `…/camera/{cam}/sea_state`. */
export const SeaStateRecord = Type.Object(
  {
    schema: Type.Literal('swellsight.sea_state/1'),
    id: Observation.properties.id,
    site: Type.String(),
    device: Type.String(),
    camera: Type.String(),
    boot_id: Type.String(),
    seq: Type.Integer({
      minimum: 1,
      description:
        'number of the record among those of this camera and schema, without gaps; observations have their own numbers',
    }),
    store_id: Observation.properties.store_id,
    captured_at: { ...Time, description: 'start of the clip' },
    published_at: Observation.properties.published_at,
    mono_ms: Type.Number({ minimum: 0, description: 'monotonic clock at the start of the clip' }),
    duration_s: Type.Number({
      minimum: 0,
      description: 'from the first to the last frame; 0 without frames',
    }),
    frames: Type.Object(
      {
        wanted: Count,
        used: Count,
        gaps: { ...Count, description: 'samples that no frame gave and that were interpolated' },
      },
      closed,
    ),
    clock: Observation.properties.clock,
    status: Observation.properties.status,
    reasons: Type.Array(Codes<SeaStateRecordReason>(SEA_STATE_REASON_CODES)),
    period: Period,
    travel_deg: Nullable(
      Type.Number({
        minimum: 0,
        exclusiveMaximum: 360,
        description: 'where the waves travel in the picture: 0 up, 90 right, 180 down',
      }),
    ),
    breaking: Breaking,
    breaker: Breaker,
    method: Nullable(Type.String({ description: 'how the period was measured: `video_spectrum`' })),
    timing_ms: Type.Object(
      {
        capture: Nullable(Milliseconds),
        decode: Nullable(Milliseconds),
        estimate: Nullable(Milliseconds),
        total: Nullable(Milliseconds),
      },
      closed,
    ),
    warnings: Observation.properties.warnings,
    simulated: Type.Boolean({ description: 'the camera is simulated: this is no measurement of a sea' }),
    historical: Type.Boolean(),
  },
  { ...closed, $id: 'swellsight.sea_state/1', title: 'SeaState' },
);
export type SeaStateRecord = Static<typeof SeaStateRecord>;
