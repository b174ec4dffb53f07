import { Type, type Static } from '@sinclair/typebox';
import { Health } from './health.ts';
import { Count, Nullable, Time, closed } from './schema-parts.ts';
import { OutboxView } from './outbox.ts';
import { Info, Status } from './states.ts';

/** What the log said lately, told once for each kind of line. */
export const LogEntry = Type.Object(
  {
    at: { ...Time, description: 'of the newest line of this kind' },
    level: Type.String({ description: 'warn, error or fatal' }),
    part: Nullable(Type.String()),
    message: Type.String(),
    code: Nullable(Type.String()),
    detail: Nullable(Type.String()),
    count: Type.Integer({ minimum: 1 }),
  },
  closed,
);
export type LogEntry = Static<typeof LogEntry>;

/** The result of `diagnostics`: all that helps to find a cause from afar, and no secret. */
export const Diagnostics = Type.Object(
  {
    schema: Type.Literal('swellsight.diagnostics/1'),
    at: Time,
    status: Status.properties.state,
    missing: Type.Array(Type.String(), { description: 'what is missing for work' }),
    info: Nullable(Type.Object(Info.properties, closed)),
    health: Type.Object(Health.properties, closed),
    runtime: Type.Object(
      {
        versions: Type.Record(Type.String(), Type.String()),
        pid: Count,
        heap_used_mb: Type.Number({ minimum: 0 }),
        external_mb: Type.Number({ minimum: 0 }),
      },
      closed,
    ),
    link: Type.Object(
      {
        connected: Type.Boolean(),
        protocol_version: Nullable(Type.Integer()),
        max_payload_bytes: Count,
      },
      closed,
    ),
    store: Nullable(
      Type.Object(
        {
          rows: Type.Record(Type.String(), Count),
          database_bytes: Count,
          free_bytes: { ...Count, description: 'within the file' },
          log_bytes: { ...Count, description: 'of the write-ahead log' },
          integrity: Type.String({ description: 'ok, or what was found' }),
          integrity_of: Type.String({ description: '`file`, or the tables that were looked at' }),
          recovered: Nullable(Type.String({ description: 'why this run began with a new database' })),
        },
        closed,
      ),
    ),
    outbox: Nullable(Type.Object(OutboxView.properties, closed)),
    events: Type.Array(
      Type.Object(
        {
          seq: Type.Integer({ minimum: 1 }),
          at: Time,
          severity: Type.String(),
          code: Type.String(),
          message: Type.String(),
        },
        closed,
      ),
      { description: 'newest first' },
    ),
    log: Type.Array(LogEntry, { description: 'warnings and errors of this run, newest first' }),
    settings: Nullable(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'without secrets, addresses cut to the host',
      }),
    ),
    omitted: Type.Array(Type.String(), { description: 'parts that were left out or cut for their size' }),
  },
  { ...closed, $id: 'swellsight.diagnostics/1', title: 'Diagnostics' },
);
export type Diagnostics = Static<typeof Diagnostics>;
