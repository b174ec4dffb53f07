import { pino, type Logger } from 'pino';
import { toPrintableJson } from './printable.ts';
import { mapTexts, redactAddresses, type Scrub } from './redact.ts';

export type Log = Logger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Names of secrets in objects that may be logged. */
const SECRET_PATHS = [
  'password',
  'token',
  'username',
  'key',
  'authorization',
  '*.password',
  '*.token',
  '*.authorization',
];

/** Receives complete JSON lines. */
export interface LogSink {
  write(line: string): void;
}

/** Writes synchronously, so that the last line before an exit is not lost. A terminal may show the lines. */
export function standardOutput(): LogSink {
  const output = pino.destination({ fd: 1, sync: true });
  return { write: (line) => void output.write(toPrintableJson(line)) };
}

/** The root logger: JSON lines into the sink (standard output by default), secrets redacted. Parts take `log.child({ part })`. */
export function createLog(level: LogLevel, sink?: LogSink): Log {
  return new LevelledLog(level, sink).log;
}

/** Fields of each line that the agent itself writes. A reader of the log needs them even if a password is one of their words. */
const OWN_FIELDS = new Set(['level', 'time', 'part']);

/** Passes lines on without the secrets that `redact` finds in their values. */
const redactingSink = (sink: LogSink, redact: Scrub): LogSink => ({
  write: (line) => {
    // Most lines have no secret and need not be parsed. `redact` also finds a secret in its JSON form.
    if (redact(line) === line) {
      sink.write(line);
      return;
    }
    const fields = Object.entries(JSON.parse(line) as Record<string, unknown>).map(([name, value]) => [
      name,
      OWN_FIELDS.has(name) ? value : mapTexts(value, redact),
    ]);
    sink.write(`${JSON.stringify(Object.fromEntries(fields))}\n`);
  },
});

/** A root logger whose level changes for all parts at once. In pino, a child keeps the level that it was created with. */
export class LevelledLog {
  readonly log: Log;
  /** Weak references: children of removed cameras must be collected. */
  #children: WeakRef<Log>[] = [];

  /** `redact` removes the secrets of the settings; addresses are always reduced to scheme, host and port. */
  constructor(level: LogLevel, sink: LogSink = standardOutput(), redact: Scrub = redactAddresses) {
    this.log = pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        redact: { paths: SECRET_PATHS, censor: '[redacted]' },
        formatters: { level: (label) => ({ level: label }) },
        onChild: (child) => this.#add(child),
      },
      redactingSink(sink, redact),
    );
  }

  get level(): LogLevel {
    return this.log.level as LogLevel;
  }

  set level(level: LogLevel) {
    this.log.level = level;
    for (const child of this.#children) {
      const log = child.deref();
      if (log) log.level = level;
    }
  }

  #add(child: Log): void {
    if (this.#children.length % 32 === 31) this.#children = this.#children.filter((one) => one.deref());
    this.#children.push(new WeakRef(child));
  }
}
