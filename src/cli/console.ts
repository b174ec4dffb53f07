import { styleText } from 'node:util';
import type { LogSink } from '../base/log.ts';

interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly msg?: string;
  readonly part?: string;
  readonly [key: string]: unknown;
}

type Format = 'dim' | 'bold' | 'yellow' | 'red';
type Paint = (text: string, format: Format) => string;

const COLOURS: Readonly<Record<string, Format>> = { warn: 'yellow', error: 'red', fatal: 'red' };

/** A log for people: time, part, message, then all other fields as key=value. */
export function consoleSink(stream: NodeJS.WritableStream, colour: boolean): LogSink {
  return { write: (line) => void stream.write(`${formatLine(line, colour)}\n`) };
}

/** Formats one JSON log line for people. Returns a line that is not JSON unchanged. */
export function formatLine(line: string, colour: boolean): string {
  let parsed: LogLine;
  try {
    parsed = JSON.parse(line) as LogLine;
  } catch {
    return line.trimEnd();
  }
  const { time, level, msg = '', part = '', ...rest } = parsed;
  const paint: Paint = (text, format) =>
    colour && text !== '' ? styleText(format, text, { validateStream: false }) : text;
  const levelText = level === 'info' ? '' : `${paint(level.toUpperCase(), COLOURS[level] ?? 'dim')} `;
  const head = `${paint(`${time.slice(11, 19)} ${part.padEnd(8)}`, 'dim')} ${levelText}`;
  if (msg === 'observation') return head + formatObservationFields(rest, paint);
  const details = Object.entries(rest).map(([key, value]) => `${key}=${toText(value)}`);
  return `${head}${msg}${details.length === 0 ? '' : `  ${paint(details.join(' '), 'dim')}`}`;
}

const toText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** `north  1.42 m  (1.10 to 1.80, site_calibrated)  truth 1.38 m  12 labels` */
function formatObservationFields(fields: Readonly<Record<string, unknown>>, paint: Paint): string {
  const metres = (key: string): string => {
    const value = fields[key];
    return typeof value === 'number' ? value.toFixed(2) : '?';
  };
  const measured = typeof fields['height_m'] === 'number';
  const reading = measured
    ? `${paint(`${metres('height_m')} m`, 'bold')}  (${metres('low_m')} to ${metres('high_m')}, ${toText(fields['basis'])})`
    : `${paint('no height', 'bold')}  (${toText(fields['status'])}: ${toText(fields['reasons'] ?? 'none')})`;
  const truth = 'truth_m' in fields ? `  truth ${metres('truth_m')} m` : '';
  const details = `#${toText(fields['seq'])}  ${toText(fields['labels'])} labels  ${toText(fields['id'])}`;
  return `${toText(fields['camera'])}  ${reading}${truth}  ${paint(details, 'dim')}`;
}
