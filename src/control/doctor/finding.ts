import { asAgentError } from '../../base/errors.ts';
import type { Settings } from '../../config/schema.ts';

/** All names in the report; `ID` stands for the name of a part, as in `camera north`. docs/doctor.md has the same list. */
export const CHECK_NAMES = [
  'configuration',
  'node',
  'hardware',
  'gpu',
  'memory',
  'memory limit',
  'heat',
  'power supply',
  'disk',
  'state',
  'eMMC',
  'journal',
  'clock',
  'hardware clock',
  'time zone',
  'slots of ID',
  'ffmpeg',
  'http',
  'broker',
  'model',
  'provider ID',
  'camera',
  'camera ID',
  'geometry ID',
] as const;
type WithId<Name> = Name extends `${infer Part} ID` ? `${Part} ${string}` : Name;
export type CheckName = WithId<(typeof CHECK_NAMES)[number]>;

/** One line of the report. */
export interface Finding {
  /** The checked part. */
  readonly check: CheckName;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** How to fix it; null for `ok`. The JSON output has this name, so it must not change. */
  readonly mend: string | null;
}

export interface CheckContext {
  readonly settings: Settings;
  readonly signal: AbortSignal;
}

export const okFinding = (check: CheckName, detail: string): Finding => ({
  check,
  state: 'ok',
  detail,
  mend: null,
});

const faultFinding =
  (state: 'warn' | 'fail') =>
  (check: CheckName, detail: string, mend: string): Finding => ({ check, state, detail, mend });
export const warnFinding = faultFinding('warn');
export const failFinding = faultFinding('fail');

/** Converts an error to a finding with the message, the code, the hint of the code, and what a camera answered. */
export function errorFinding(check: CheckName, thrown: unknown): Finding {
  const error = asAgentError(thrown);
  const { reason, answer } = error.context;
  const message = typeof answer === 'string' && answer !== '' ? `${error.message}: ${answer}` : error.message;
  const detail = typeof reason === 'string' ? `${message} (${reason})` : message;
  return failFinding(check, `${detail} [${error.code}]`, error.hint);
}
