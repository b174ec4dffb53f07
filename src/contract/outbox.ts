import { Type, type Static } from '@sinclair/typebox';
import { Count, Nullable, Time, closed } from './schema-parts.ts';

/** A waiting or a rejected message. */
const Message = {
  topic: Type.String({ description: 'relative to the topic of the device' }),
  stream: Type.String({ description: '`camera:{id}`, `camera:{id}/sea_state` or `events`' }),
  seq: Type.Integer({ minimum: 1 }),
  size_bytes: Count,
};

/** Messages that wait for the broker, and messages that it rejected. */
export const OutboxView = Type.Object(
  {
    depth: Count,
    oldest_age_s: Nullable(Type.Number({ minimum: 0 })),
    dropped_total: Count,
    next: Type.Array(Type.Object({ ...Message, queued_at: Time }, closed), {
      description: 'the oldest waiting messages',
    }),
    rejected: Type.Object(
      {
        count: { ...Count, description: 'stored rejected messages; at most 1000' },
        newest: Type.Array(Type.Object({ ...Message, reason: Type.String(), at: Time }, closed)),
      },
      closed,
    ),
  },
  { ...closed, $id: 'swellsight.outbox/1', title: 'Outbox' },
);
export type OutboxView = Static<typeof OutboxView>;
