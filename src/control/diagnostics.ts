import type { Camera, Settings } from '../config/schema.ts';
import { redactSettings } from '../config/redact.ts';
import { createRedact, publicTexts } from '../config/secret-keys.ts';
import type { Diagnostics, LastStop, LogEntry } from '../contract/diagnostics.ts';
import type { Health } from '../contract/health.ts';
import type { OutboxView } from '../contract/outbox.ts';
import type { Event, Info, Status } from '../contract/states.ts';
import { isoTime } from '../base/clock.ts';
import type { Scrub } from '../base/redact.ts';
import type { Link } from '../mqtt/types.ts';
import type { Store } from '../store/store.ts';

const BYTES_PER_MB = 1_048_576;
const MAX_EVENTS = 20;

export interface DiagnosticsInput {
  readonly nowMs: number;
  readonly settings: Settings;
  readonly state: Status['state'];
  readonly missing: readonly string[];
  readonly info: Info;
  readonly health: Health;
  readonly link: Pick<Link, 'connected' | 'stats' | 'maxPayloadBytes'>;
  readonly store: Pick<Store, 'stats' | 'events' | 'recovered'>;
  readonly outbox: () => OutboxView;
  readonly lastStop: LastStop | null;
  /** Newest first. */
  readonly log: readonly LogEntry[];
  readonly maxBytes: number;
}

/** The report of the `diagnostics` command: no secrets, at most `maxBytes`. Parts that do not fit are omitted and named. */
export function buildDiagnostics(input: DiagnosticsInput): Diagnostics {
  const { settings, store, link } = input;
  const events = orNull(() => store.events.recent(MAX_EVENTS)) ?? [];
  // An event may name a camera that the settings do not have any more. Its id is no secret.
  const ids = events.map(({ context }) => context['camera']).filter((id) => typeof id === 'string');
  const redact = createRedact(settings, [...publicTexts(settings), ...ids]);
  const { heapUsed, external } = process.memoryUsage();
  const report: Diagnostics = {
    schema: 'swellsight.diagnostics/1',
    at: isoTime(input.nowMs),
    status: input.state,
    missing: [...input.missing],
    info: input.info,
    health: input.health,
    runtime: {
      versions: Object.fromEntries(
        Object.entries(process.versions).filter((entry): entry is [string, string] => entry[1] !== undefined),
      ),
      pid: process.pid,
      heap_used_mb: Math.round((heapUsed / BYTES_PER_MB) * 10) / 10,
      external_mb: Math.round((external / BYTES_PER_MB) * 10) / 10,
    },
    last_stop: input.lastStop,
    link: {
      connected: link.connected,
      protocol_version: link.stats().protocolVersion,
      max_payload_bytes: link.maxPayloadBytes,
    },
    store: orNull(() => storeFigures(store)),
    outbox: orNull(input.outbox),
    events: events.map((event) => eventLine(event, redact)),
    log: input.log.map((entry) => ({
      ...entry,
      message: redact(entry.message),
      detail: entry.detail && redact(entry.detail),
    })),
    settings: shownSettings(settings),
    omitted: [],
  };
  return cutToSize(report, input.maxBytes);
}

function storeFigures(store: DiagnosticsInput['store']): NonNullable<Diagnostics['store']> {
  const figures = store.stats.read();
  return {
    rows: { ...figures.rows },
    database_bytes: figures.databaseBytes,
    free_bytes: figures.freeBytes,
    log_bytes: figures.logBytes,
    integrity: figures.integrity,
    integrity_of: figures.integrityOf,
    recovered: store.recovered?.reason ?? null,
  };
}

const eventLine = (
  { seq, at, severity, code, message }: Event,
  redact: Scrub,
): Diagnostics['events'][number] => ({ seq, at, severity, code, message: redact(message) });

/** Null for a part that cannot be read: the report matters most when something is broken. */
function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/** The settings without secrets, and with the number of corners instead of the polygons. */
export function shownSettings(settings: Settings): Record<string, unknown> {
  const shown = redactSettings(settings);
  return {
    ...shown,
    cameras: shown.cameras.map((camera: Camera) => ({
      ...camera,
      roi: camera.roi && `${camera.roi.length} corners`,
      privacyMasks: `${camera.privacyMasks.length} masks`,
    })),
  };
}

/** Cuts in the order in which they are made, until the report fits. */
const CUTS: readonly (readonly [string, (report: Diagnostics) => Partial<Diagnostics>])[] = [
  ['log', ({ log }) => ({ log: log.slice(0, 10) })],
  ['events', ({ events }) => ({ events: events.slice(0, 5) })],
  ['settings', () => ({ settings: null })],
  ['outbox', () => ({ outbox: null })],
  ['info', () => ({ info: null })],
  ['log', () => ({ log: [] })],
  ['events', () => ({ events: [] })],
  ['health.cameras', ({ health }) => ({ health: { ...health, cameras: [], degraded: [] } })],
];

function cutToSize(report: Diagnostics, maxBytes: number): Diagnostics {
  let fitted = report;
  for (const [part, cut] of CUTS) {
    if (Buffer.byteLength(JSON.stringify(fitted)) <= maxBytes) return fitted;
    const omitted = [...new Set([...fitted.omitted, part])];
    fitted = { ...fitted, ...cut(fitted), omitted };
  }
  return fitted;
}
