import { AgentError } from '../base/errors.ts';
import { MASK, redactAddresses } from '../base/redact.ts';
import { mapSecrets, redactSecret } from './secret-keys.ts';

/** One fault of the configuration. */
export interface ConfigFault {
  /** The key as in the file, such as `cameras[0].schedule.cron`. */
  readonly key: string;
  /** The value as text; secrets are masked. */
  readonly given: string;
  /** What the value must be. */
  readonly wanted: string;
  /** Source of the value: the file, `SWELLSIGHT_…`, `overlay`; null for a default or a combination of values. */
  readonly origin: string | null;
}

const MAX_VALUE_CHARS = 120;

/** A value as one short line of text, without secrets. */
export function formatValue(key: string, value: unknown): string {
  if (value === undefined) return 'nothing';
  let text: string;
  try {
    const shown = mapSecrets(value, (secret, kind) => (secret === '' ? '' : redactSecret(secret, kind)), key);
    if (shown === MASK) return MASK;
    text = JSON.stringify(shown, (_key, inner: unknown) =>
      typeof inner === 'bigint' ? inner.toString() : inner,
    );
  } catch {
    text = Object.prototype.toString.call(value);
  }
  text = redactAddresses(text);
  return text.length > MAX_VALUE_CHARS ? `${text.slice(0, MAX_VALUE_CHARS)}…` : text;
}

/** A fault as one line of text. */
export function formatFault(fault: ConfigFault): string {
  const origin = fault.origin === null ? '' : ` (${fault.origin})`;
  return `${fault.key}: given ${fault.given}, wanted ${fault.wanted}${origin}`;
}

export const countFaults = (faults: readonly ConfigFault[]): string =>
  faults.length === 1 ? '1 fault' : `${String(faults.length)} faults`;

/** One error for all faults. Its `context.faults` holds the list. */
export function configInvalid(faults: readonly ConfigFault[]): AgentError {
  const lines = faults.map(formatFault).join('\n');
  return new AgentError('config_invalid', `the configuration has ${countFaults(faults)}\n${lines}`, {
    context: { faults },
  });
}

/** The faults that a `config_invalid` error holds; an empty list for any other error. */
export function getConfigFaults(error: AgentError): readonly ConfigFault[] {
  return error.code === 'config_invalid' && Array.isArray(error.context['faults'])
    ? (error.context['faults'] as ConfigFault[])
    : [];
}

export const UNKNOWN_KEY = 'an unknown key';

/** The fault of a key that the schema does not have. It suggests the nearest known key. */
export function unknownKeyFault(
  prefix: string,
  name: string,
  knownNames: readonly string[],
  origin: string,
): ConfigFault {
  const suggestion = findNearest(name, knownNames);
  const wanted = suggestion === null ? `one of ${knownNames.join(', ')}` : `perhaps ${suggestion}`;
  return { key: `${prefix}${name}`, given: UNKNOWN_KEY, wanted, origin };
}

/** The known word with the smallest edit distance, or null when all distances are too large. */
export function findNearest(word: string, known: readonly string[]): string | null {
  const normalize = (text: string): string => text.toLowerCase().replace(/[_.-]/g, '');
  const wanted = normalize(word).slice(0, 200);
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 4)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, normalize(candidate));
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Number of edits (insert, delete, replace, swap of neighbours). Source: Damerau 1964, restricted form. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      next.push(cost);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? a.length;
}
