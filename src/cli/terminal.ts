import type { AgentError } from '../base/errors.ts';

/** What a command sees of the world outside. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Fires on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
  /** Colours are welcome on this stream. */
  readonly colour: { readonly out: boolean; readonly err: boolean };
  /** Progress bars are welcome on standard error. */
  readonly bars: boolean;
  /** One line, or several, on standard output. */
  out(text: string): void;
  /** The same on standard error. */
  err(text: string): void;
}

/** Exit codes. Source: sysexits.h for 69 and 78. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unavailable: 69, config: 78 } as const;

const CODES: Partial<Record<AgentError['code'], number>> = {
  usage: EXIT.usage,
  request_invalid: EXIT.usage,
  config_invalid: EXIT.config,
  agent_unreachable: EXIT.unavailable,
  request_stopping: EXIT.unavailable,
  request_overload: EXIT.unavailable,
  mqtt_unreachable: EXIT.unavailable,
  mqtt_port_taken: EXIT.unavailable,
  http_listen: EXIT.unavailable,
  store_locked: EXIT.unavailable,
};

export const exitCodeOf = (error: AgentError): number => CODES[error.code] ?? EXIT.failed;

const RED = '\u001b[31m';
const GREEN = '\u001b[32m';
const YELLOW = '\u001b[33m';
const DIM = '\u001b[2m';
const RESET = '\u001b[0m';

export interface Paint {
  readonly good: (text: string) => string;
  readonly warn: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly dim: (text: string) => string;
}

export function paint(colour: boolean): Paint {
  const by = (code: string) => (text: string) => (colour ? `${code}${text}${RESET}` : text);
  return { good: by(GREEN), warn: by(YELLOW), bad: by(RED), dim: by(DIM) };
}

/** The process as a terminal. Colour only on a terminal, and never with NO_COLOR (no-color.org). */
export function processTerminal(env: NodeJS.ProcessEnv, signal: AbortSignal): Terminal {
  const plain = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return {
    env,
    cwd: process.cwd(),
    signal,
    colour: { out: process.stdout.isTTY && !plain, err: process.stderr.isTTY && !plain },
    bars: process.stderr.isTTY && env['TERM'] !== 'dumb',
    out: (text) => void process.stdout.write(`${text}\n`),
    err: (text) => void process.stderr.write(`${text}\n`),
  };
}

/** A document as the commands print it with `--json`: two spaces, one line break at the end. */
export const jsonText = (value: unknown): string => JSON.stringify(value, null, 2);
