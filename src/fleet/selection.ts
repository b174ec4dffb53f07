import { Type, type Static } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { AgentError } from '../base/errors.ts';

const Names = Type.Array(Type.String({ minLength: 1 }));
const FleetGroupsSchema = Type.Object(
  {
    /** Patterns of devices, by the name of the group. */
    groups: Type.Optional(Type.Record(Type.String(), Names)),
    /** Names of tags, by a pattern of devices. */
    tags: Type.Optional(Type.Record(Type.String(), Names)),
  },
  { additionalProperties: false },
);

/** The operator's own file of groups and tags. */
export type FleetGroups = Static<typeof FleetGroupsSchema>;

/** True for the name `site/device` of a selected device. */
export type DeviceFilter = (name: string) => boolean;

/** Throws `usage` for anything else than groups and tags. */
export function parseFleetGroups(value: unknown, path: string): FleetGroups {
  if (Value.Check(FleetGroupsSchema, value)) return value;
  const [fault] = [...Value.Errors(FleetGroupsSchema, value)];
  throw new AgentError('usage', `${path}${fault?.path ?? ''}: ${fault?.message ?? 'invalid'}`, {
    hint: 'wanted: groups: {NAME: [PATTERN, …]}, tags: {PATTERN: [NAME, …]}',
  });
}

/** True for selectors that need the file of groups and tags. */
export const isNamedSelection = (selector: string): boolean => /^(group|tag):/.test(selector);

/**
 * Selects the devices of any selector of `to`, without those of `except`. A selector is `group:NAME`, `tag:NAME` or a
 * pattern: `site/device` with `*` or `+` for any text, `?` for one character; a site alone: all of its devices. Throws
 * `usage` for an unknown group or tag, and for a pattern that can match no device. `unused` has the selectors that have
 * not matched any name so far.
 */
export function selectDevices(
  to: readonly string[],
  except: readonly string[] = [],
  groups: FleetGroups = {},
  unused = new Set<string>(),
): DeviceFilter {
  const compile = (selector: string): Selector => {
    unused.add(selector);
    return { selector, patterns: patternsOf(selector, groups).map(toRegExp) };
  };
  const wanted = to.map(compile);
  const unwanted = except.map(compile);
  const matches = (selectors: readonly Selector[], name: string): boolean => {
    const matching = selectors.filter(({ patterns }) => patterns.some((pattern) => pattern.test(name)));
    for (const { selector } of matching) unused.delete(selector);
    return matching.length > 0;
  };
  return (name) => {
    const isUnwanted = matches(unwanted, name);
    return matches(wanted, name) && !isUnwanted;
  };
}

interface Selector {
  readonly selector: string;
  readonly patterns: readonly RegExp[];
}

function patternsOf(selector: string, { groups = {}, tags = {} }: FleetGroups): readonly string[] {
  if (!isNamedSelection(selector)) return [selector];
  const name = selector.slice(selector.indexOf(':') + 1);
  const patterns = selector.startsWith('group:')
    ? Object.hasOwn(groups, name)
      ? groups[name]
      : undefined
    : Object.entries(tags).flatMap(([pattern, names]) => (names.includes(name) ? [pattern] : []));
  if (patterns !== undefined && patterns.length > 0) return patterns;
  throw new AgentError('usage', `there is no ${selector}`, { hint: 'name it in the file of --fleet' });
}

function toRegExp(text: string): RegExp {
  const pattern = text.includes('/') ? text : `${text}/*`;
  // A selector that can match no device must not silently leave out nothing.
  if (!/^[^/#]+\/[^/#]+$/.test(pattern))
    throw new AgentError('usage', `${JSON.stringify(text)} selects no device`, {
      hint: 'wanted: a site, or site/device with * and ?',
    });
  const escaped = pattern
    .replace(/[.^${}()|[\]\\]/g, '\\$&')
    // MQTT names cannot contain a plus: it is a wildcard.
    .replace(/[*+]+/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  return new RegExp(`^${escaped}$`);
}
