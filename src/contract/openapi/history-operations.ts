import { Type, type TSchema } from '@sinclair/typebox';
import { AgentProgress, AgentVersions } from '../agent-update.ts';
import { Health } from '../health.ts';
import { EventPage, FramePage, LabelQueue, Series, SERIES_POINTS } from '../history.ts';
import { ModelProgress } from '../model.ts';
import { Observation } from '../observation.ts';
import { OutboxView } from '../outbox.ts';
import { StringEnum, closed } from '../schema-parts.ts';
import { SeaStateRecord } from '../sea-state.ts';
import { CameraState, Event, ModelState } from '../states.ts';
import {
  CameraId,
  CameraParams,
  jsonAnswer,
  mediaAnswer,
  STORE_READ_ERRORS,
  VISION_ERRORS,
  operations,
} from './operation.ts';
import { ObservationPage } from './views.ts';

export const FeedGap = Type.Object(
  {
    reason: StringEnum(['unknown_id', 'too_many']),
  },
  { ...closed, title: 'FeedGap' },
);

/** All event names of `GET /api/v1/events` with the schema of their `data`. */
export const FEED = {
  health: { schema: Health, summary: 'a heartbeat' },
  camera: { schema: CameraState, summary: 'the state of a camera' },
  model: { schema: ModelState, summary: 'the active model and the state of installs' },
  progress: { schema: ModelProgress, summary: 'progress of the current install' },
  agent: { schema: AgentVersions, summary: 'the versions of the agent and its update, when they change' },
  agent_progress: { schema: AgentProgress, summary: 'progress of the update of the agent' },
  observation: { schema: Observation, summary: 'a stored record' },
  sea_state: {
    schema: SeaStateRecord,
    summary: 'the newest sea state of a camera, at the begin of the stream and when it changes',
  },
  event: { schema: Event, summary: 'a stored event for the operator' },
  gap: {
    schema: FeedGap,
    summary:
      'some records or events since the `Last-Event-ID` are missing; read records from `/api/v1/observations`',
  },
} as const satisfies Record<string, { readonly schema: TSchema; readonly summary: string }>;
export type FeedEventName = keyof typeof FEED;

export const MAX_CSV_ROWS = 100_000;

export const When = Type.String({ format: 'date-time', maxLength: 64 });
const filter = {
  camera: Type.Optional({
    ...CameraId,
    description: 'id of a camera, also of a removed one; an unknown id has no records',
  }),
  from: Type.Optional({ ...When, description: 'captured at this time or later' }),
  to: Type.Optional({ ...When, description: 'captured before this time' }),
  status: Type.Optional(Observation.properties.status),
};

export const ObservationsQuery = Type.Object(
  {
    ...filter,
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 50 }),
    cursor: Type.Optional(
      Type.String({ minLength: 1, maxLength: 256, description: 'the `cursor` of the previous page' }),
    ),
  },
  closed,
);

export const CsvQuery = Type.Object(
  { ...filter, limit: Type.Integer({ minimum: 1, maximum: MAX_CSV_ROWS, default: MAX_CSV_ROWS }) },
  closed,
);

const range = { from: filter.from, to: filter.to };
const SeriesQuery = Type.Object(
  {
    from: Type.Optional({ ...When, description: 'default: 24 hours before `to`' }),
    to: Type.Optional({ ...When, description: 'default: now' }),
    points: Type.Integer({ ...SERIES_POINTS, description: 'most steps that the client wants' }),
  },
  closed,
);
const FramesQuery = Type.Object(
  {
    ...range,
    limit: Type.Integer({ minimum: 1, maximum: 500, default: 100 }),
    cursor: ObservationsQuery.properties.cursor,
  },
  closed,
);
const QueueQuery = Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 100, default: 12 }) }, closed);
const EventLogQuery = Type.Object(
  {
    severity: Type.Optional({
      ...Event.properties.severity,
      description: 'only events of this severity or a worse one',
    }),
    before: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'only events with a lower `seq`',
      }),
    ),
    limit: Type.Integer({ minimum: 1, maximum: 500, default: 50 }),
  },
  closed,
);
const ObservationParams = Type.Object({ id: Observation.properties.id }, closed);
const ObservationImageQuery = Type.Object(
  { max_width_px: Type.Optional(Type.Integer({ minimum: 16, maximum: 4096 })) },
  closed,
);

const EventsHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({ maxLength: 128, description: 'the last received `id`; the stream continues after it' }),
  ),
});

export const HISTORY_OPERATIONS = operations('observations', {
  observations: {
    method: 'GET',
    path: '/api/v1/observations',
    summary: 'Returns stored records, newest first.',
    query: ObservationsQuery,
    answers: [jsonAnswer(200, 'One page.', ObservationPage)],
    errors: ['usage', ...STORE_READ_ERRORS],
  },
  observationsCsv: {
    method: 'GET',
    path: '/api/v1/observations.csv',
    summary: 'Returns stored records as a table, newest first.',
    description:
      'RFC 4180 with a header line; an unknown value is empty, lists are separated by spaces. Text that a spreadsheet would ' +
      "evaluate as a formula has a leading `'`. When an error occurs during the transfer, the connection is closed early.",
    query: CsvQuery,
    answers: [mediaAnswer(200, 'The table.', 'text/csv')],
    errors: STORE_READ_ERRORS,
  },
  observation: {
    method: 'GET',
    path: '/api/v1/observations/{id}',
    summary: 'Returns one stored record.',
    params: ObservationParams,
    answers: [jsonAnswer(200, 'The record.', Observation)],
    errors: ['observation_unknown', ...STORE_READ_ERRORS],
  },
  observationImage: {
    method: 'GET',
    path: '/api/v1/observations/{id}/image.jpg',
    summary: 'Returns the kept frame of an observation as a JPEG, with privacy masks.',
    description:
      'The agent keeps a small image every quarter of an hour for a week, and that of each labelled newest observation. After a change ' +
      'of the privacy masks, former images are not returned and are deleted.',
    params: ObservationParams,
    query: ObservationImageQuery,
    answers: [mediaAnswer(200, 'The JPEG, at most 640 pixels wide.', 'image/jpeg')],
    errors: ['observation_unknown', 'observation_image_missing', ...STORE_READ_ERRORS, ...VISION_ERRORS],
  },
  series: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/series',
    summary:
      'Returns height, period, quality and tide of a camera in equal steps of time, and the readings of people.',
    description:
      'The steps are the shortest round length (5 minutes, 2 hours, …) of which `points` cover the time. They begin at multiples of it, so ' +
      'that a step has the same place in each answer. A camera that was removed keeps its history.',
    params: CameraParams,
    query: SeriesQuery,
    answers: [jsonAnswer(200, 'The steps with records.', Series)],
    errors: ['camera_unknown', ...STORE_READ_ERRORS],
  },
  frames: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/frames',
    summary: 'Returns the observations of a camera whose frame is kept, newest first.',
    params: CameraParams,
    query: FramesQuery,
    answers: [jsonAnswer(200, 'One page.', FramePage)],
    errors: ['camera_unknown', 'usage', ...STORE_READ_ERRORS],
  },
  labelQueue: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/label-queue',
    summary:
      'Returns kept frames without a label, in the order in which a reading of them helps the calibration most.',
    description:
      'Uncertain frames first, spread over times and over hours of the day that have no reading yet.',
    params: CameraParams,
    query: QueueQuery,
    answers: [jsonAnswer(200, 'The frames.', LabelQueue)],
    errors: ['camera_unknown', ...STORE_READ_ERRORS],
  },
  eventLog: {
    method: 'GET',
    path: '/api/v1/event-log',
    summary: 'Returns stored events for the operator, newest first.',
    query: EventLogQuery,
    answers: [
      jsonAnswer(200, 'One page. It may have fewer than `limit` events, and still a `cursor`.', EventPage),
    ],
    errors: STORE_READ_ERRORS,
  },
  events: {
    method: 'GET',
    path: '/api/v1/events',
    summary: 'Streams new records, events and states as server-sent events.',
    description: [
      'The stream begins with the current states, followed by everything new. Each `data` is one JSON document:',
      ...Object.entries(FEED).map(([name, { summary }]) => `- \`${name}\`: ${summary}`),
      'Records and events have an `id`. A client that sends the last one as `Last-Event-ID` receives those that it missed. A',
      'comment every 15 s keeps the connection open. A client that reads too slowly is disconnected; it may reconnect with the last `id`.',
    ].join('\n'),
    headers: EventsHeaders,
    answers: [mediaAnswer(200, 'The stream, until one side closes it.', 'text/event-stream')],
    errors: ['request_streams_full', ...STORE_READ_ERRORS],
  },
  outbox: {
    method: 'GET',
    path: '/api/v1/outbox',
    summary: 'Returns messages that wait for the broker, and messages that it rejected.',
    answers: [jsonAnswer(200, 'Counts, and the first messages of each.', OutboxView)],
    errors: STORE_READ_ERRORS,
  },
});
