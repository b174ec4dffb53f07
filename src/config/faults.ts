import { AgentError } from '../base/errors.ts';

/** One thing that is wrong with the configuration. */
export interface ConfigFault {
  /** The key as in the file, such as `cameras[0].schedule.cron`. */
  readonly key: string;
  /** What was found, as text; secrets masked. */
  readonly given: string;
  /** What would be right. */
  readonly wanted: string;
  /** Where the value came from: the file, `SWELLSIGHT_…`, `overlay`; null for a default or a combination. */
  readonly origin: string | null;
}

const SECRET_KEY = /(^|[._\]])(password|token)$/i;
const CREDENTIALS_IN_URL = /\/\/[^/@\s]*@/g;
const MAX_TEXT = 120;

/** A value as text for a person: short, on one line, without secrets. */
export function shown(key: string, value: unknown): string {
  if (value === undefined) return 'nothing';
  if (SECRET_KEY.test(key) && value !== null && value !== '') return '***';
  let text: string;
  try {
    text = JSON.stringify(value, maskInner);
  } catch {
    text = Object.prototype.toString.call(value);
  }
  text = text.replace(CREDENTIALS_IN_URL, '//***@');
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

function maskInner(key: string, value: unknown): unknown {
  if (SECRET_KEY.test(key) && value !== null) return '***';
  return typeof value === 'bigint' ? value.toString() : value;
}

/** One line per fault. */
export function faultLine(fault: ConfigFault): string {
  const origin = fault.origin === null ? '' : ` (${fault.origin})`;
  return `${fault.key}: given ${fault.given}, wanted ${fault.wanted}${origin}`;
}

/** The one error that carries them all, in `context.faults`. */
export function configInvalid(faults: readonly ConfigFault[]): AgentError {
  const count = faults.length === 1 ? '1 fault' : `${String(faults.length)} faults`;
  return new AgentError(
    'config_invalid',
    `the configuration has ${count}\n${faults.map(faultLine).join('\n')}`,
    {
      context: { faults },
    },
  );
}

/** The faults that a `config_invalid` error carries; empty for any other error. */
export function faultsOf(error: AgentError): readonly ConfigFault[] {
  return error.code === 'config_invalid' && Array.isArray(error.context['faults'])
    ? (error.context['faults'] as ConfigFault[])
    : [];
}
