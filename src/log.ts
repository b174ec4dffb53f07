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

/** The root logger: JSON lines on the given file descriptor, secrets redacted. Parts take `log.child({ part })`. */
export function createLog(level: LogLevel, fd: 1 | 2 = 1): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_PATHS, censor: '[redacted]' },
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd, sync: true }),
  );
}

/** A URL without its credentials and without query values that may carry tokens. */
export function redactUrl(url: string): string {
  return url.replace(/\/\/[^/@\s]*@/g, '//***@').replace(/([?&][^=&\s]*=)[^&\s]*/g, '$1***');
}
