import type { LogEntry } from '../contract/diagnostics.ts';
import type { LogSink } from '../base/log.ts';

const MAX_ENTRIES = 50;
const MAX_TEXT_CHARS = 300;
export const MAX_LOG_LINES = 500;
/** Of all kept lines together. */
const MAX_LINES_CHARS = 256 * 1024;
/** Start of the lines to keep; `level` is their first field. */
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
 * Keeps the latest warnings and errors for the `diagnostics` report, and the latest lines of all levels, and passes every
 * line on to the sink. Equal warnings are one entry with a count; the 50 newest entries are kept. Lines are redacted before
 * they get here.
 */
export class RecentLog implements LogSink {
  readonly #sink: LogSink;
  readonly #entries = new Map<string, LogEntry>();
  readonly #lines: string[] = [];
  #linesChars = 0;

  constructor(sink: LogSink) {
    this.#sink = sink;
  }

  write(line: string): void {
    this.#sink.write(line);
    this.#keepLine(line.trimEnd());
    if (KEPT.test(line)) this.#remember(line);
  }

  /** Newest first. */
  entries(): readonly LogEntry[] {
    return [...this.#entries.values()].reverse();
  }

  /** The latest lines as JSON, at most 500 and 256 KiB, oldest first. */
  lines(limit: number): readonly string[] {
    return this.#lines.slice(-limit);
  }

  #keepLine(line: string): void {
    this.#lines.push(line);
    this.#linesChars += line.length;
    while (this.#lines.length > MAX_LOG_LINES || this.#linesChars > MAX_LINES_CHARS)
      this.#linesChars -= this.#lines.shift()?.length ?? 0;
  }

  #remember(line: string): void {
    const entry = readLine(line);
    if (!entry) return;
    const kind = [entry.level, entry.part, entry.message, entry.code].join('\n');
    const count = (this.#entries.get(kind)?.count ?? 0) + 1;
    // Deleted first, so that the entry becomes the newest.
    this.#entries.delete(kind);
    this.#entries.set(kind, { ...entry, count });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MAX_ENTRIES && oldest !== undefined) this.#entries.delete(oldest);
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
  return typeof value === 'string' ? value.slice(0, MAX_TEXT_CHARS) : otherwise;
}
