import { basename } from 'node:path';
import { formatValue, type ConfigFault } from './faults.ts';
import { isObject } from './layers.ts';

const NAME = /\$\([A-Za-z_]\w*\)|^\$[A-Z_][A-Z0-9_]+$|^%[A-Z_][A-Z0-9_]+%$/;

/** Forms that other programs replace: `${NAME}`, `$(NAME)`, `{{ … }}`, and a value that is only `$NAME` or `%NAME%`. */
const hasPlaceholder = (text: string): boolean =>
  NAME.test(text) || hasBrackets(text, '${', '}') || hasBrackets(text, '{{', '}}');

/** In linear time, in contrast to a regular expression: the text may come from a remote command. */
function hasBrackets(text: string, open: string, close: string): boolean {
  const start = text.indexOf(open);
  return start >= 0 && text.includes(close, start + open.length);
}
const SHELLS = new Set(['sh', 'ash', 'bash', 'dash', 'ksh', 'zsh', 'busybox']);

/**
 * Faults of values that contain a placeholder. The agent replaces none, and would use the text itself, for example as a
 * password. The command of a camera may contain them when its program is a shell.
 */
export function findPlaceholders(document: unknown, origin: string): readonly ConfigFault[] {
  const faults: ConfigFault[] = [];
  const visit = (value: unknown, key: string, name: string): void => {
    if (typeof value === 'string') {
      if (hasPlaceholder(value))
        faults.push({
          key,
          given: formatValue(key, value),
          wanted:
            'the value itself: placeholders are not replaced; use an environment variable SWELLSIGHT_… or a …_file key',
          origin,
        });
    } else if (Array.isArray(value)) {
      if (name === 'command' && SHELLS.has(basename(String(value[0])))) return;
      value.forEach((item, index) => visit(item, `${key}[${String(index)}]`, ''));
    } else if (isObject(value))
      for (const [child, item] of Object.entries(value))
        visit(item, key === '' ? child : `${key}.${child}`, child);
  };
  visit(document, '', '');
  return faults;
}
