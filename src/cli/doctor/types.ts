import type { Settings } from '../../config/schema.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Terminal } from '../terminal.ts';

/** One line of the doctor's report. */
export interface Finding {
  /** What was looked at, such as `camera north`. */
  readonly check: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do about it; null when it is well. */
  readonly mend: string | null;
}

export interface DoctorContext {
  readonly settings: Settings;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
}

/** Looks at one thing. What it throws becomes a finding too. */
export type Check = (context: DoctorContext) => AsyncIterable<Finding>;

export const ok = (check: string, detail: string): Finding => ({ check, state: 'ok', detail, mend: null });
export const warn = (check: string, detail: string, mend: string): Finding => ({
  check,
  state: 'warn',
  detail,
  mend,
});
export const fail = (check: string, detail: string, mend: string): Finding => ({
  check,
  state: 'fail',
  detail,
  mend,
});

/** A failure as a finding: what happened, and the hint of its code. */
export function failed(check: string, thrown: unknown): Finding {
  const error = asAgentError(thrown);
  const reason = error.context['reason'];
  const detail = typeof reason === 'string' ? `${error.message} (${reason})` : error.message;
  return { check, state: 'fail', detail: `${detail} [${error.code}]`, mend: error.hint };
}
