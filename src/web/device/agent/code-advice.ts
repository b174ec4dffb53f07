import type { Event } from '../../../contract/states.ts';
import texts from './code-texts.json' with { type: 'json' };

export interface Advice {
  /** Sentences; empty when there is nothing to say. */
  readonly meaning: string;
  readonly remedy: string;
}

const NOTHING: Advice = { meaning: '', remedy: '' };
/** Remedies that tell a reader of this page nothing. */
const EMPTY_REMEDIES = ['nothing to do', 'see the remedy of the code'];

const lookUp = (table: Readonly<Record<string, readonly string[]>>, code: string): Advice | null => {
  const found = Object.hasOwn(table, code) ? table[code] : undefined;
  if (found === undefined) return null;
  const [meaning = '', remedy = ''] = found;
  return { meaning: sentence(meaning), remedy: EMPTY_REMEDIES.includes(remedy) ? '' : sentence(remedy) };
};

/** What an error code or a reason means, and what to do about it; empty texts for a code of a newer agent. */
export const adviceOf = (code: string): Advice => lookUp(texts.codes, code) ?? NOTHING;

/** What to do about an event: the remedy of its code, or of its type. */
export function eventRemedy({ code, type }: Pick<Event, 'code' | 'type'>): string {
  const ofCode = code === type ? '' : adviceOf(code).remedy;
  return ofCode === '' ? (lookUp(texts.event_types, type) ?? NOTHING).remedy : ofCode;
}

/** A text of the agent as a sentence. It stays small where it begins with a name, such as `depth 1.0.0 is installed`. */
export function sentence(text: string): string {
  if (text === '') return '';
  const [first = '', second = ''] = text.split(' ', 2);
  const isName = /[-.\d]\w/.test(first) || /^\d/.test(second);
  const start = isName ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}
