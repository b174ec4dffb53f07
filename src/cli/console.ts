import type { LogSink } from '../base/log.ts';
import { bad, bold, dim, line, warn, type Line } from './line.ts';
import type { Terminal } from './terminal.ts';

interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly msg?: string;
  readonly part?: string;
  readonly [key: string]: unknown;
}

const LEVEL_COLOURS: Readonly<Record<string, (text: string) => Line>> = { warn, error: bad, fatal: bad };

/** A log for people: time, part, message, then all other fields as key=value. */
export function consoleSink(terminal: Pick<Terminal, 'out'>): LogSink {
  return { write: (json) => terminal.out(formatLine(json)) };
}

/** Formats one JSON log line for people. Returns a line that is not JSON unchanged. */
export function formatLine(json: string): Line {
  let parsed: LogLine;
  try {
    parsed = JSON.parse(json) as LogLine;
  } catch {
    return json.trimEnd();
  }
  const { time, level, msg = '', part = '', ...rest } = parsed;
  const levelText = level === 'info' ? '' : line`${(LEVEL_COLOURS[level] ?? dim)(level.toUpperCase())} `;
  const head = line`${dim(`${time.slice(11, 19)} ${part.padEnd(8)}`)} ${levelText}`;
  if (msg === 'sea state') return line`${head}${formatSeaStateFields(rest)}`;
  if (msg === 'observation') return line`${head}${formatObservationFields(rest)}`;
  const details = Object.entries(rest).map(([key, value]) => `${key}=${toText(value)}`);
  return line`${head}${msg}${details.length === 0 ? '' : line`  ${dim(details.join(' '))}`}`;
}

const toText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** `north  1.42 m  (1.10 to 1.80, site_calibrated)  truth 1.38 m  12 labels` */
function formatObservationFields(fields: Readonly<Record<string, unknown>>): Line {
  const metres = (key: string): string => {
    const value = fields[key];
    return typeof value === 'number' ? value.toFixed(2) : '?';
  };
  const measured = typeof fields['height_m'] === 'number';
  const reading = measured
    ? line`${bold(`${metres('height_m')} m`)}  (${metres('low_m')} to ${metres('high_m')}, ${toText(fields['basis'])})`
    : line`${bold('no height')}  (${toText(fields['status'])}: ${toText(fields['reasons'] ?? 'none')})`;
  const truth = 'truth_m' in fields ? `  truth ${metres('truth_m')} m` : '';
  const simulated = fields['simulated'] === true ? '  simulated' : '';
  const details = `#${toText(fields['seq'])}  ${toText(fields['labels'])} labels  ${toText(fields['id'])}`;
  return line`${toText(fields['camera'])}  ${reading}${truth}${simulated}  ${dim(details)}`;
}

/** `north  period 10.2 s  (9.6 to 10.9)  truth 10.0 s  simulated` */
function formatSeaStateFields(fields: Readonly<Record<string, unknown>>): Line {
  const seconds = (key: string): string => {
    const value = fields[key];
    return typeof value === 'number' ? value.toFixed(1) : '?';
  };
  const reading =
    typeof fields['period_s'] === 'number'
      ? line`${bold(`period ${seconds('period_s')} s`)}  (${seconds('low_s')} to ${seconds('high_s')})`
      : line`${bold('no period')}  (${toText(fields['status'])}: ${toText(fields['reasons'] ?? 'none')})`;
  const truth = 'truth_s' in fields ? `  truth ${seconds('truth_s')} s` : '';
  const simulated = fields['simulated'] === true ? '  simulated' : '';
  const details = `#${toText(fields['seq'])}  ${toText(fields['id'])}`;
  return line`${toText(fields['camera'])}  ${reading}${truth}${simulated}  ${dim(details)}`;
}
