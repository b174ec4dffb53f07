import { pino, type Logger } from 'pino';

export type Log = Logger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Names under which secrets travel in objects that may be logged. */
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

/** Takes finished JSON lines. */
export interface LogSink {
  write(line: string): void;
}

/** Written at once, so that the last line before an end is not lost. */
export const standardOutput = (): LogSink => pino.destination({ fd: 1, sync: true });

/** The root logger: JSON lines into the sink (standard output by default), secrets redacted. Parts take `log.child({ part })`. */
export function createLog(level: LogLevel, sink?: LogSink): Log {
  return new LevelledLog(level, sink).log;
}

/** A root logger whose level can be changed for every part at once: by itself a child keeps the level of its birth. */
export class LevelledLog {
  readonly log: Log;
  /** Children come and go with cameras and restarts: none is kept alive by this list. */
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

/** A URL without its credentials and without query values that may carry tokens. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^/\s]*@/g, '//***@').replace(/([?&][^=&\s]*=)[^&\s]*/g, '$1***');
}
