import { Type, type TSchema } from '@sinclair/typebox';
import { Health } from '../health.ts';
import { ModelProgress } from '../model.ts';
import { Observation } from '../observation.ts';
import { OutboxView } from '../outbox.ts';
import { StringEnum, closed } from '../schema-parts.ts';
import { CameraState, Event, ModelState } from '../states.ts';
import { CameraId, json, other, STORE_READ, type Operation } from './operation.ts';
import { ObservationPage } from './views.ts';

export const FeedGap = Type.Object(
  {
    reason: StringEnum(['unknown_id', 'too_many']),
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

/** Rows of a table at most. */
export const CSV_ROWS = 100_000;

const When = Type.String({ format: 'date-time', maxLength: 64 });
const filter = {
  camera: Type.Optional(CameraId),
  from: Type.Optional({ ...When, description: 'captured then or later' }),
  to: Type.Optional({ ...When, description: 'captured before' }),
  status: Type.Optional(Observation.properties.status),
};

export const ObservationsQuery = Type.Object(
  {
    ...filter,
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 50 }),
    cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 256, description: 'of the page before' })),
  },
  closed,
);

export const CsvQuery = Type.Object(
  { ...filter, limit: Type.Integer({ minimum: 1, maximum: CSV_ROWS, default: CSV_ROWS }) },
  closed,
);

const EventsHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({ maxLength: 128, description: 'the last `id` that was received: goes on from there' }),
  ),
});

export const HISTORY_OPERATIONS = {
  observations: {
    method: 'GET',
    path: '/api/v1/observations',
    tag: 'observations',
    summary: 'History, newest first.',
    query: ObservationsQuery,
    answers: [json(200, 'A page.', ObservationPage)],
    errors: ['usage', ...STORE_READ],
  },
  observationsCsv: {
    method: 'GET',
    path: '/api/v1/observations.csv',
    tag: 'observations',
    summary: 'The same as a table, newest first.',
    description:
      'RFC 4180 with a line of names; what is not known is empty, lists are joined by spaces. Text that a spreadsheet would ' +
      "take for a formula has a `'` before it. A transfer that breaks off was not finished.",
    query: CsvQuery,
    answers: [other(200, 'The table.', 'text/csv')],
    errors: STORE_READ,
  },
  events: {
    method: 'GET',
    path: '/api/v1/events',
    tag: 'observations',
    summary: 'What happens, as it happens: server-sent events.',
    description: [
      'First the states as they are, then what is new, one JSON document in each `data`:',
      ...Object.entries(FEED).map(([name, { summary }]) => `- \`${name}\`: ${summary}`),
      'Records and events carry an `id`. Sent back as `Last-Event-ID` it brings those that came since, from the store. A',
      'comment every 15 s keeps the connection; who reads too slowly is cut off, and may come back with the last `id`.',
    ].join('\n'),
    headers: EventsHeaders,
    answers: [other(200, 'Until one side ends it.', 'text/event-stream')],
    errors: ['request_streams_full', ...STORE_READ],
  },
  outbox: {
    method: 'GET',
    path: '/api/v1/outbox',
    tag: 'observations',
    summary: 'What waits for the broker, and what the broker would not take.',
    answers: [json(200, 'Counts, and the next of each.', OutboxView)],
    errors: STORE_READ,
  },
} as const satisfies Record<string, Operation>;
