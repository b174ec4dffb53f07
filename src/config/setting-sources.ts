import { isDeepStrictEqual } from 'node:util';
import { isObject, omitKeys } from './layers.ts';
import type { LocalConfiguration } from './load.ts';
import { redactSettings } from './redact.ts';
import { listDottedKeys } from './remote-settings.ts';
import type { Settings } from './schema.ts';

type Loaded = Pick<LocalConfiguration, 'settings' | 'local' | 'saved'>;

/** Dotted keys by the source that sets them; all other keys have their defaults. Remote settings override the other sources. */
export interface SettingSources {
  readonly file: readonly string[];
  readonly environment: readonly string[];
  readonly remote: readonly string[];
}

const ENVIRONMENT = 'environment';

export function listSources({ local, saved }: Pick<Loaded, 'local' | 'saved'>): SettingSources {
  const keys = [...local.origins].filter(([key]) => !key.startsWith('cameras.'));
  const from = (isFromEnvironment: boolean): readonly string[] =>
    keys.filter(([, origin]) => (origin === ENVIRONMENT) === isFromEnvironment).map(([key]) => key);
  return { file: from(false), environment: from(true), remote: listDottedKeys(saved.overlay) };
}

/** One setting in force, without secrets. */
export interface SourcedSetting {
  /** Keys of a camera stand under its id: `cameras.north.schedule.everyS`. */
  readonly key: string;
  readonly value: unknown;
  readonly source: 'default' | 'file' | 'environment' | 'remote';
  /** What the other sources give; null unless a remote command has set the value. */
  readonly local: { readonly value: unknown; readonly source: 'default' | 'file' | 'environment' } | null;
}

/** All settings in force with their sources. */
export function describeSettings({ settings, local, saved }: Loaded): readonly SourcedSetting[] {
  const remote = new Set(listDottedKeys(saved.overlay));
  const localValues = new Map(listValues(local.settings));
  return listValues(settings).map(([key, value]) => {
    const origin = namesOf(key)
      .map((name) => local.origins.get(name))
      .find((found) => found !== undefined);
    const source = origin === undefined ? 'default' : origin === ENVIRONMENT ? ENVIRONMENT : 'file';
    const before = { value: localValues.get(key) ?? null, source } as const;
    // A remote address drops the local login: such a value differs too.
    const isRemote = namesOf(key).some((name) => remote.has(name)) || !isDeepStrictEqual(value, before.value);
    return isRemote ? { key, value, source: 'remote', local: before } : { key, value, source, local: null };
  });
}

/** The key itself, those of the groups around it, and each with `_file`: a secret may come from its file. */
function namesOf(key: string): readonly string[] {
  const names = key.split('.');
  const groups = names.map((_, index) => names.slice(0, names.length - index).join('.'));
  // The list of cameras is set as a whole, but not each key of a camera.
  return groups.filter((name) => name !== 'cameras').flatMap((name) => [name, `${name}_file`]);
}

function listValues(settings: Settings): readonly (readonly [string, unknown])[] {
  const { cameras, mqtt, ...rest } = redactSettings(settings);
  // Its password is shown.
  const broker = omitKeys({ ...mqtt }, ['passwordFile']);
  return [
    ...flatten({ ...rest, mqtt: broker }, ''),
    ...cameras.flatMap(({ id, ...camera }) => flatten(camera, `cameras.${id}.`)),
  ];
}

const flatten = (group: object, prefix: string): readonly (readonly [string, unknown])[] =>
  Object.entries(group).flatMap(([name, value]: [string, unknown]) =>
    isObject(value) ? flatten(value, `${prefix}${name}.`) : [[`${prefix}${name}`, value] as const],
  );
