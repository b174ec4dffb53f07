import { settingsOf, isSetting, type Group } from './setting.ts';
import { shown, type ConfigFault } from './faults.ts';
import { nearest } from './suggest.ts';

export type Layer = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The part of a document that the definition knows. Unknown keys, and values where a group should stand, become
 * faults: convict would take the one in silence and break on the other.
 */
export function knownPart(
  document: unknown,
  definition: Group,
  origin: string,
  faults: ConfigFault[],
): Layer {
  if (document === undefined || document === null) return {};
  if (!isObject(document)) {
    faults.push({ key: '(all)', given: shown('', document), wanted: 'keys and values', origin });
    return {};
  }
  return pick(document, definition, '', origin, faults);
}

function pick(
  document: Readonly<Record<string, unknown>>,
  group: Group,
  prefix: string,
  origin: string,
  faults: ConfigFault[],
): Layer {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(document)) {
    const key = `${prefix}${name}`;
    const node = Object.hasOwn(group, name) ? group[name] : undefined;
    if (node === undefined)
      faults.push({ key, given: 'an unknown key', wanted: wantedFor(name, group), origin });
    else if (isSetting(node)) {
      // No setting is an object; convict would merge one into the default.
      if (isObject(value)) faults.push({ key, given: shown(key, value), wanted: node.wanted, origin });
      else kept[name] = value;
    } else if (isObject(value)) kept[name] = pick(value, node, `${key}.`, origin, faults);
    else if (value !== null)
      faults.push({
        key,
        given: shown(key, value),
        wanted: `a group of ${Object.keys(node).join(', ')}`,
        origin,
      });
  }
  return kept;
}

function wantedFor(name: string, group: Group): string {
  const meant = nearest(name, Object.keys(group));
  return meant === null ? `one of ${Object.keys(group).join(', ')}` : `perhaps ${meant}`;
}

/** Dotted keys of the settings that a layer sets. */
export function keysOf(layer: Layer, definition: Group): string[] {
  return settingsOf(definition)
    .map(({ key }) => key)
    .filter((key) => {
      let node: unknown = layer;
      for (const part of key.split('.')) node = isObject(node) ? node[part] : undefined;
      return node !== undefined;
    });
}

/** `{"a.b": 1}` as `{a: {b: 1}}`. */
export function nested(values: ReadonlyMap<string, unknown>): Layer {
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
