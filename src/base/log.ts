import { pino, type Logger } from 'pino';

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

/** Writes synchronously, so that the last line before an exit is not lost. */
export const standardOutput = (): LogSink => pino.destination({ fd: 1, sync: true });

/** The root logger: JSON lines into the sink (standard output by default), secrets redacted. Parts take `log.child({ part })`. */
export function createLog(level: LogLevel, sink?: LogSink): Log {
  return new LevelledLog(level, sink).log;
}

/** A root logger whose level changes for all parts at once. In pino, a child keeps the level that it was created with. */
export class LevelledLog {
  readonly log: Log;
  /** Weak references: children of removed cameras must be collected. */
  #children: WeakRef<Log>[] = [];

  constructor(level: LogLevel, sink: LogSink = standardOutput()) {
    this.log = pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        redact: { paths: SECRET_PATHS, censor: '[redacted]' },
        formatters: { level: (label) => ({ level: label }) },
        onChild: (child) => this.#add(child),
      },
      sink,
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

/** A URL without credentials and without query values, which may be tokens. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^/\s]*@/g, '//***@').replace(/([?&][^=&\s]*=)[^&\s]*/g, '$1***');
}
