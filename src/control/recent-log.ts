import type { LogEntry } from '../contract/diagnostics.ts';
import { redactUrl, type LogSink } from '../base/log.ts';

const MAX_KINDS = 50;
const MAX_TEXT = 300;
/** How a line of a level that is kept begins: the level is the first of its fields. */
const KEPT = /^\{"level":"(?:warn|error|fatal)"/;

interface Line {
  readonly time?: unknown;
  readonly level?: unknown;
  readonly part?: unknown;
  readonly msg?: unknown;
  readonly code?: unknown;
  readonly reason?: unknown;
  readonly err?: { readonly code?: unknown; readonly message?: unknown };
}

/**
 * Remembers warnings and errors that pass on to the sink, one entry for each kind of line, newest last; the 50 kinds
 * that were seen last stay. What the log redacts never comes here.
 */
export class RecentLog implements LogSink {
  readonly #sink: LogSink;
  readonly #entries = new Map<string, LogEntry>();

  constructor(sink: LogSink) {
    this.#sink = sink;
  }

  write(line: string): void {
    this.#sink.write(line);
    if (KEPT.test(line)) this.#remember(line);
  }

  /** Newest first. */
  entries(): readonly LogEntry[] {
    return [...this.#entries.values()].reverse();
  }

  #remember(line: string): void {
    const entry = readLine(line);
    if (!entry) return;
    const kind = [entry.level, entry.part, entry.message, entry.code].join('\n');
    const count = (this.#entries.get(kind)?.count ?? 0) + 1;
    // Taken out first, so that it becomes the newest.
    this.#entries.delete(kind);
    this.#entries.set(kind, { ...entry, count });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MAX_KINDS && oldest !== undefined) this.#entries.delete(oldest);
  }
}

function readLine(line: string): Omit<LogEntry, 'count'> | null {
  let read: Line;
  try {
    read = JSON.parse(line) as Line;
  } catch {
    return null;
  }
  const { time, level, part, msg, code, reason, err } = read;
  return {
    at: textOr(time, ''),
    level: textOr(level, 'warn'),
    part: textOr(part, null),
    message: textOr(msg, ''),
    code: textOr(code ?? err?.code, null),
    detail: textOr(err?.message ?? reason, null),
  };
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' ? redactUrl(value).slice(0, MAX_TEXT) : otherwise;
}
