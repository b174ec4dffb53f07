import { asAgentError } from '../../base/errors.ts';
import type { Settings } from '../../config/schema.ts';
import type { Terminal } from '../terminal.ts';

/** One line of the report. */
export interface Finding {
  /** The checked part, such as `camera north`. */
  readonly check: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** How to fix it; null for `ok`. The JSON output has this name, so it must not change. */
  readonly mend: string | null;
}

export interface DoctorContext {
  readonly settings: Settings;
  readonly terminal: Terminal;
}

/** Checks one part. An error that it throws becomes a finding. */
export type Check = (context: DoctorContext) => Iterable<Finding> | AsyncIterable<Finding>;

export const okFinding = (check: string, detail: string): Finding => ({
  check,
  state: 'ok',
  detail,
  mend: null,
});

const faultFinding =
  (state: 'warn' | 'fail') =>
  (check: string, detail: string, mend: string): Finding => ({ check, state, detail, mend });
export const warnFinding = faultFinding('warn');
export const failFinding = faultFinding('fail');

/** Converts an error to a finding with the message, the code, and the hint of the code. */
export function errorFinding(check: string, thrown: unknown): Finding {
  const error = asAgentError(thrown);
  const reason = error.context['reason'];
  const detail = typeof reason === 'string' ? `${error.message} (${reason})` : error.message;
  return failFinding(check, `${detail} [${error.code}]`, error.hint);
}
