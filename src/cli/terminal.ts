import type { AgentError } from '../base/errors.ts';
import { toPrintableJson } from '../base/printable.ts';
import { renderLine, type Line } from './line.ts';
import { HangUp } from './signals.ts';

/** The environment of a command. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Fires on Ctrl-C, SIGTERM, and SIGHUP unless `hangUp` reloads. */
  readonly signal: AbortSignal;
  readonly hangUp: HangUp;
  /** Whether to draw progress bars and tables on standard error. */
  readonly hasBars: boolean;
  /** Prints lines on standard output. Replaces control characters, also line breaks, within a line by `?`. */
  out(lines: Line | readonly Line[]): void;
  /** Prints lines on standard error, like `out`. */
  err(lines: Line | readonly Line[]): void;
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
    hasBars: process.stderr.isTTY && env['TERM'] !== 'dumb',
    out: printer(process.stdout, isPlain),
    err: printer(process.stderr, isPlain),
  };
}

const printer =
  (stream: NodeJS.WriteStream, isPlain: boolean): Terminal['out'] =>
  (lines) => {
    const isColoured = stream.isTTY && !isPlain;
    stream.write(
      [lines]
        .flat()
        .map((one) => `${renderLine(one, isColoured)}\n`)
        .join(''),
    );
  };

/** The output format of `--json`: lines with two spaces of indentation, without unprintable characters. */
export const toJson = (value: unknown): string[] =>
  toPrintableJson(JSON.stringify(value, null, 2)).split('\n');

/** JSON on one line, for output that is one document for each change. */
export const toJsonLine = (value: unknown): string => toPrintableJson(JSON.stringify(value));

/** Prints the whole output of a command with `--json`. Returns the exit code. */
export function printJson(terminal: Terminal, value: unknown): number {
  terminal.out(toJson(value));
  return EXIT.ok;
}
