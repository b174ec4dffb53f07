import { styleText } from 'node:util';
import type { AgentError } from '../base/errors.ts';
import { HangUp } from './signals.ts';

/** The environment of a command. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Fires on Ctrl-C, SIGTERM, and SIGHUP unless `hangUp` reloads. */
  readonly signal: AbortSignal;
  readonly hangUp: HangUp;
  /** Whether to use colours on each stream. */
  readonly colour: { readonly out: boolean; readonly err: boolean };
  /** Whether to draw progress bars and tables on standard error. */
  readonly hasBars: boolean;
  /** Prints one or several lines on standard output. */
  out(text: string): void;
  /** Prints one or several lines on standard error. */
  err(text: string): void;
}

/** Exit codes. Source: sysexits.h for 69 and 78. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unavailable: 69, config: 78 } as const;

const EXIT_CODES: Partial<Record<AgentError['code'], number>> = {
  usage: EXIT.usage,
  request_invalid: EXIT.usage,
  config_invalid: EXIT.config,
  agent_unreachable: EXIT.unavailable,
  request_stopping: EXIT.unavailable,
  request_overload: EXIT.unavailable,
  capture_busy: EXIT.unavailable,
  mqtt_unreachable: EXIT.unavailable,
  mqtt_port_taken: EXIT.unavailable,
  http_listen: EXIT.unavailable,
  store_locked: EXIT.unavailable,
};

export const exitCodeOf = (error: AgentError): number => EXIT_CODES[error.code] ?? EXIT.failed;

type Paint = (text: string) => string;

/** Functions that colour a text, or return it unchanged. */
export function createPalette(isColoured: boolean): Record<'good' | 'warn' | 'bad' | 'dim', Paint> {
  const paint = (format: 'green' | 'yellow' | 'red' | 'dim') => (text: string) =>
    isColoured ? styleText(format, text, { validateStream: false }) : text;
  return { good: paint('green'), warn: paint('yellow'), bad: paint('red'), dim: paint('dim') };
}

/** The terminal of this process. No colours without a terminal or with NO_COLOR (no-color.org). */
export function processTerminal(
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
  hangUp = new HangUp(),
): Terminal {
  const isPlain = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return {
    env,
    cwd: process.cwd(),
    signal,
    hangUp,
    colour: { out: process.stdout.isTTY && !isPlain, err: process.stderr.isTTY && !isPlain },
    hasBars: process.stderr.isTTY && env['TERM'] !== 'dumb',
    out: (text) => void process.stdout.write(`${text}\n`),
    err: (text) => void process.stderr.write(`${text}\n`),
  };
}

/** Replaces control characters by `?`: text of other parties must not control the terminal. */
export const toPrintable = (text: string): string => text.replace(/\p{Cc}/gu, '?');

/** The output format of `--json`: two spaces of indentation. */
export const toJson = (value: unknown): string => JSON.stringify(value, null, 2);

/** Prints the whole output of a command with `--json`. Returns the exit code. */
export function printJson(terminal: Terminal, value: unknown): number {
  terminal.out(toJson(value));
  return EXIT.ok;
}
