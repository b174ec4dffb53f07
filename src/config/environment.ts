import { shown, type ConfigFault } from './faults.ts';
import { settingsOf, type Group, type Setting } from './setting.ts';
import { nearest } from './suggest.ts';

/** `SWELLSIGHT_` variables that are not settings: the file itself, the command line's, and the test frames. */
const OTHER_VARIABLES = [
  'SWELLSIGHT_CONFIG',
  'SWELLSIGHT_URL',
  'SWELLSIGHT_TOKEN',
  'SWELLSIGHT_TOKEN_FILE',
  'SWELLSIGHT_SURFCAM',
];

/** Values set by the environment, by dotted key. A variable that is set to nothing counts as not set. */
export function readEnvironment(
  env: NodeJS.ProcessEnv,
  definition: Group,
  faults: ConfigFault[],
): ReadonlyMap<string, unknown> {
  const byVariable = new Map(settingsOf(definition).map((entry) => [entry.setting.env, entry]));
  const values = new Map<string, unknown>();
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('SWELLSIGHT_') || text === undefined || text === '') continue;
    const found = byVariable.get(name);
    if (found) {
      const value = fromText(found.setting, text);
      if (value === undefined)
        faults.push({
          key: found.key,
          given: shown(found.key, text),
          wanted: 'a list as JSON',
          origin: name,
        });
      else values.set(found.key, value);
    } else if (!OTHER_VARIABLES.includes(name)) {
      const meant = nearest(name, [...byVariable.keys(), ...OTHER_VARIABLES]);
      const wanted = meant === null ? 'no such variable' : `perhaps ${meant}`;
      faults.push({ key: name, given: 'a variable that is no setting', wanted, origin: 'environment' });
    }
  }
  return values;
}

/** The text as the type that the setting's default has, where it reads as one; `undefined` for broken JSON. */
function fromText(setting: Setting, text: string): unknown {
  const fallback = setting.default;
  const trimmed = text.trim();
  if (Array.isArray(fallback) || fallback === 'auto') {
    if (!/^[[{"]/.test(trimmed)) return numberOr(trimmed, fallback === 'auto') ?? text;
    try {
      return JSON.parse(trimmed) as unknown;
    } catch {
      return undefined;
    }
  }
  if (typeof fallback === 'boolean') {
    if (/^(true|1|yes|on)$/i.test(trimmed)) return true;
    if (/^(false|0|no|off)$/i.test(trimmed)) return false;
    return text;
  }
  return numberOr(trimmed, typeof fallback === 'number') ?? text;
}

function numberOr(text: string, wanted: boolean): number | null {
  return wanted && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : null;
}
