import { formatValue, unknownKeyFault, type ConfigFault } from './faults.ts';
import { isSetting, listSettings, type Group } from './setting.ts';

/** A part of a settings document. */
export type Layer = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Layer =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Returns the part of a document that the definition has. Unknown keys, and values in place of a group, become faults:
 * convict would ignore the first and throw on the second.
 */
export function pickKnown(
  document: unknown,
  definition: Group,
  origin: string,
  faults: ConfigFault[],
): Layer {
  if (document === undefined || document === null) return {};
  if (!isObject(document)) {
    faults.push({ key: '(all)', given: formatValue('', document), wanted: 'keys and values', origin });
    return {};
  }
  return pickFromGroup(document, definition, '', origin, faults);
}

function pickFromGroup(
  document: Layer,
  group: Group,
  prefix: string,
  origin: string,
  faults: ConfigFault[],
): Layer {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(document)) {
    const key = `${prefix}${name}`;
    const node = Object.hasOwn(group, name) ? group[name] : undefined;
    if (node === undefined) faults.push(unknownKeyFault(prefix, name, Object.keys(group), origin));
    else if (isSetting(node)) {
      // No setting is an object. Convict would merge an object into the default.
      if (isObject(value)) faults.push({ key, given: formatValue(key, value), wanted: node.wanted, origin });
      else kept[name] = value;
    } else if (isObject(value)) kept[name] = pickFromGroup(value, node, `${key}.`, origin, faults);
    else if (value !== null)
      faults.push({
        key,
        given: formatValue(key, value),
        wanted: `a group of ${Object.keys(node).join(', ')}`,
        origin,
      });
  }
  return kept;
}

/** Dotted keys of the settings that a layer sets. */
export const listSetKeys = (layer: Layer, definition: Group): string[] =>
  listSettings(definition)
    .map(({ key }) => key)
    .filter((key) => getValue(layer, key) !== undefined);

/** `{"a.b": 1}` as `{a: {b: 1}}`. */
export function nestKeys(values: ReadonlyMap<string, unknown>): Layer {
  const root: Record<string, unknown> = {};
  for (const [key, value] of values) {
    const parts = key.split('.');
    const last = parts.pop() ?? '';
    let node = root;
    for (const part of parts) node = (node[part] ??= {}) as Record<string, unknown>;
    node[last] = value;
  }
  return root;
}

/** The value under a dotted key; undefined when the key does not exist. */
export function getValue(layer: unknown, key: string): unknown {
  let node = layer;
  for (const part of key.split('.'))
    node = isObject(node) && Object.hasOwn(node, part) ? node[part] : undefined;
  return node;
}

export const omitKeys = (layer: Layer, keys: readonly string[]): Layer =>
  Object.fromEntries(Object.entries(layer).filter(([key]) => !keys.includes(key)));

/** Merges objects; replaces all other values. */
export function mergeValues(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over;
  const entries = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) entries.set(key, mergeValues(entries.get(key), value));
  return Object.fromEntries(entries);
}
