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

/** The root logger: JSON lines into the sink (standard output by default), secrets redacted. Parts take `log.child({ part })`. */
export function createLog(level: LogLevel, sink: LogSink = pino.destination({ fd: 1, sync: true })): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_PATHS, censor: '[redacted]' },
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  );
}

/** A URL without its credentials and without query values that may carry tokens. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^/\s]*@/g, '//***@').replace(/([?&][^=&\s]*=)[^&\s]*/g, '$1***');
}
