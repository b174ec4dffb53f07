import { Type, type TSchema } from '@sinclair/typebox';
import { Health } from '../health.ts';
import { ModelProgress } from '../model.ts';
import { closed } from '../nullable.ts';
import { Observation } from '../observation.ts';
import { CameraState, Event, ModelState } from '../states.ts';

export const FeedGap = Type.Object(
  {
    reason: Type.Unsafe<'unknown_id' | 'too_many'>({ type: 'string', enum: ['unknown_id', 'too_many'] }),
  },
  { ...closed, title: 'FeedGap' },
);

/** Every `event` of `GET /api/v1/events` with its `data`. */
export const FEED = {
  health: { schema: Health, summary: 'a heartbeat' },
  camera: { schema: CameraState, summary: 'the state of a camera' },
  model: { schema: ModelState, summary: 'which model runs' },
  progress: { schema: ModelProgress, summary: 'how far the install in hand has come' },
  observation: { schema: Observation, summary: 'a record, once it is stored' },
  event: { schema: Event, summary: 'what an operator should know, once it is stored' },
  gap: {
    schema: FeedGap,
    summary: 'not everything since the `Last-Event-ID` can be told: ask `/api/v1/observations`',
  },
} as const satisfies Record<string, { readonly schema: TSchema; readonly summary: string }>;
export type FeedEventName = keyof typeof FEED;
