import { Type, type Static } from '@sinclair/typebox';
import { Health } from './health.ts';
import { Count, Nullable, Time, closed } from './schema-parts.ts';
import { OutboxView } from './outbox.ts';
import { Info, Status } from './states.ts';

/** Recent lines of the log, one entry for all lines with the same message. */
export const LogEntry = Type.Object(
  {
    at: { ...Time, description: 'time of the newest of these lines' },
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

const STOP = {
  at: { ...Time, description: 'by the clock of that moment, which may have been wrong' },
  service_result: Type.String({
    pattern: '^[a-z-]{1,32}$',
    description:
      '$SERVICE_RESULT of systemd.exec(5): success, exit-code, signal, watchdog, oom-kill, timeout, …',
  }),
  exit_code: Type.String({ pattern: '^[a-z]{0,16}$', description: '$EXIT_CODE: exited, killed or dumped' }),
  exit_status: Type.String({
    pattern: '^[A-Z0-9+-]{0,16}$',
    description: '$EXIT_STATUS: an exit status or the name of a signal',
  }),
};

/** How the service ended the last time. */
const LastStop = Type.Object(STOP, closed);
export type LastStop = Static<typeof LastStop>;

/** The file that `systemd/record-stop` writes. */
export const StopFile = Type.Object({
  ...STOP,
  format: Type.Literal(1),
  id: Type.String({ pattern: '^[0-9a-f-]{1,36}$', description: '$INVOCATION_ID: one run of the service' }),
});
export type StopFile = Static<typeof StopFile>;

/** The result of `diagnostics`: facts for remote troubleshooting, without secrets. */
export const Diagnostics = Type.Object(
  {
    schema: Type.Literal('swellsight.diagnostics/1'),
    at: Time,
    status: Status.properties.state,
    missing: Type.Array(Type.String(), {
      description: 'missing parts, without which the agent is not ready',
    }),
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
    last_stop: Nullable(LastStop),
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
          free_bytes: { ...Count, description: 'unused space within the database file' },
          log_bytes: { ...Count, description: 'size of the write-ahead log' },
          integrity: Type.String({ description: 'ok, or a description of the damage' }),
          integrity_of: Type.String({ description: '`file`, or the checked tables' }),
          recovered: Nullable(Type.String({ description: 'why this run started with a new database' })),
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
        description: 'without secrets; addresses are reduced to the host',
      }),
    ),
    omitted: Type.Array(Type.String(), {
      description: 'parts that are missing or shortened because of the size limit',
    }),
  },
  { ...closed, $id: 'swellsight.diagnostics/1', title: 'Diagnostics' },
);
export type Diagnostics = Static<typeof Diagnostics>;
