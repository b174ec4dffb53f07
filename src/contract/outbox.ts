import { Type, type Static } from '@sinclair/typebox';
import { Count, Nullable, Time, closed } from './schema-parts.ts';

/** A message as it waits, or as it was set aside. */
const Message = {
  topic: Type.String({ description: 'below the topic of the device' }),
  stream: Type.String({ description: '`camera:{id}` or `events`' }),
  seq: Type.Integer({ minimum: 1 }),
  size_bytes: Count,
};

/** What waits for the broker, and what the broker would not take. */
export const OutboxView = Type.Object(
  {
    depth: Count,
    oldest_age_s: Nullable(Type.Number({ minimum: 0 })),
    dropped_total: Count,
    next: Type.Array(Type.Object({ ...Message, queued_at: Time }, closed), {
      description: 'the oldest that wait',
    }),
    rejected: Type.Object(
      {
        count: { ...Count, description: 'kept; at most 1000' },
        newest: Type.Array(Type.Object({ ...Message, reason: Type.String(), at: Time }, closed)),
      },
      closed,
    ),
  },
  { ...closed, $id: 'swellsight.outbox/1', title: 'Outbox' },
);
export type OutboxView = Static<typeof OutboxView>;
