import { Type, type Static } from '@sinclair/typebox';
import { Observation, Wave } from './observation.ts';
import { Count, Nullable, Ratio01, StringEnum, Time, closed } from './schema-parts.ts';
import { Event } from './states.ts';

/** Points of one answer; a point is one step of the time axis. */
export const SERIES_POINTS = { minimum: 10, maximum: 1000, default: 300 } as const;

const SeriesPoint = Type.Object(
  {
    at: { ...Time, description: 'start of the step' },
    observations: { ...Count, description: 'records of any status' },
    measured: { ...Count, description: 'records with the status `measured`; they may have no height' },
    height_m: { ...Wave.properties.height_m, description: 'median; null: no record has a height' },
    low_m: { ...Nullable(Type.Number({ minimum: 0 })), description: 'median of the lower ends' },
    high_m: { ...Nullable(Type.Number({ minimum: 0 })), description: 'median of the upper ends' },
    height_basis: { ...Wave.properties.height_basis, description: 'of most of the heights' },
    period_s: { ...Nullable(Type.Number({ exclusiveMinimum: 0 })), description: 'median' },
    period_low_s: Nullable(Type.Number({ exclusiveMinimum: 0 })),
    period_high_s: Nullable(Type.Number({ exclusiveMinimum: 0 })),
    quality: Nullable({ ...Ratio01, description: 'median of `quality.score`' }),
    tide_m: Nullable(
      Type.Number({
        description:
          'level of the water, metres: that of the clips in this step, else as predicted for the middle of the step from `geometry.tide`',
      }),
    ),
    reasons: Type.Array(Type.Object({ code: Observation.properties.reasons.items, count: Count }, closed), {
      maxItems: 3,
      description:
        'why records have no height, most frequent first. The counts are estimates when the step has more than `max_read` records of a status',
    }),
  },
  closed,
);

const SeriesLabel = Type.Object(
  {
    observation_id: Type.String(),
    captured_at: { ...Time, description: 'of the observation, not of the reading' },
    height_m: Type.Number({ minimum: 0, maximum: 25 }),
    observer: Nullable(Type.String()),
  },
  closed,
);

/** The history of one camera in equal steps of time, for a chart. */
export const Series = Type.Object(
  {
    camera: Type.String(),
    from: { ...Time, description: 'start of the first step' },
    to: { ...Time, description: 'end of the last step' },
    bucket_s: Type.Number({ exclusiveMinimum: 0, description: 'length of a step' }),
    max_read: Type.Integer({
      minimum: 1,
      description:
        'a step is computed from at most this many records of each status, evenly spread over the step; the numbers of records are exact',
    }),
    simulated: Type.Boolean({ description: 'some of the records are of a simulated camera' }),
    points: Type.Array(SeriesPoint, { description: 'oldest first; a step without records is left out' }),
    labels: Type.Array(SeriesLabel, { description: 'readings of people, oldest first' }),
  },
  { ...closed, title: 'Series' },
);
export type Series = Static<typeof Series>;
export type SeriesPoint = Static<typeof SeriesPoint>;

/** An observation whose frame is kept as a small masked image. */
export const KeptFrame = Type.Object(
  {
    observation_id: Observation.properties.id,
    captured_at: Time,
    status: Observation.properties.status,
    height_m: Nullable(Type.Number({ minimum: 0 })),
    low_m: Nullable(Type.Number({ minimum: 0 })),
    high_m: Nullable(Type.Number({ minimum: 0 })),
    height_basis: Wave.properties.height_basis,
    labelled: Type.Boolean(),
  },
  { ...closed, title: 'KeptFrame' },
);
export type KeptFrame = Static<typeof KeptFrame>;

export const FramePage = Type.Object(
  {
    frames: Type.Array(KeptFrame, { description: 'newest first' }),
    cursor: Nullable(Type.String({ description: 'returns the next page; null at the end' })),
  },
  { ...closed, title: 'FramePage' },
);
export type FramePage = Static<typeof FramePage>;

/** Why a reading of a frame helps. */
export const QUEUE_REASONS = ['no_height', 'usual_height', 'wide_interval', 'other_time'] as const;
export type QueueReason = (typeof QUEUE_REASONS)[number];

export const LabelQueue = Type.Object(
  {
    frames: Type.Array(
      Type.Object(
        {
          ...KeptFrame.properties,
          reason: StringEnum(QUEUE_REASONS, {
            description:
              'no_height: the frame has no height; usual_height: only the usual height of the site; wide_interval: its interval is wide; ' +
              'other_time: no reading is near its time',
          }),
        },
        closed,
      ),
      { description: 'most useful first' },
    ),
  },
  { ...closed, title: 'LabelQueue' },
);
export type LabelQueue = Static<typeof LabelQueue>;

export const EventPage = Type.Object(
  {
    events: Type.Array(Event, { description: 'newest first' }),
    cursor: Nullable(Type.Integer({ minimum: 1, description: '`before` of the next page; null at the end' })),
  },
  { ...closed, title: 'EventPage' },
);
export type EventPage = Static<typeof EventPage>;
