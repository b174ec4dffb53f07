import type { LogSink } from '../log.ts';

interface Line {
  readonly time: string;
  readonly level: string;
  readonly msg?: string;
  readonly part?: string;
  readonly [key: string]: unknown;
}

const DIM = '\u001b[2m';
const RESET = '\u001b[0m';
const COLOURS: Readonly<Record<string, string>> = {
  warn: '\u001b[33m',
  error: '\u001b[31m',
  fatal: '\u001b[31m',
};

/** Log lines for people: time, part, message, then what else is in the object as key=value. */
export function consoleSink(stream: NodeJS.WritableStream, colour: boolean): LogSink {
  return { write: (line) => void stream.write(`${formatLine(line, colour)}\n`) };
}

/** One JSON log line as a line for people; a line that is no JSON passes unchanged. */
export function formatLine(line: string, colour: boolean): string {
  let parsed: Line;
  try {
    parsed = JSON.parse(line) as Line;
  } catch {
    return line.trimEnd();
  }
  const { time, level, msg, part, ...rest } = parsed;
  const paint = (text: string, code: string): string => (colour ? `${code}${text}${RESET}` : text);
  const details = Object.entries(rest)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  const head = `${time.slice(11, 19)} ${level === 'info' ? '' : `${paint(level.toUpperCase(), COLOURS[level] ?? '')} `}${part ?? ''}`;
  return `${paint(head, level === 'info' ? DIM : '')}  ${msg ?? ''}${details ? `  ${paint(details, DIM)}` : ''}`;
}
