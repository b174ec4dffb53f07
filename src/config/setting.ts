import type { Format } from './formats.ts';
import type { SecretKind } from './secret-kind.ts';

/** Name of the convict format that calls `check` and does not convert the value. */
export const SETTING_FORMAT = 'swellsight-setting';

/** A leaf of the convict schema. `wanted` describes the allowed values; `check` throws for all others. */
export interface Setting {
  readonly doc: string;
  readonly default: unknown;
  readonly env: string;
  readonly wanted: string;
  readonly nullable: boolean;
  /** Null for a value that everybody may see. */
  readonly secret: SecretKind | null;
  readonly format: typeof SETTING_FORMAT;
  readonly check: (value: unknown) => void;
}
export interface Group {
  readonly [key: string]: Setting | Group;
}
/** Is called for each value that a format does not accept. */
export type OnInvalid = (key: string, value: unknown, wanted: string) => void;

/** `mqtt.homeAssistant.enabled` -> `SWELLSIGHT_MQTT_HOME_ASSISTANT_ENABLED`. */
const variableName = (key: string): string =>
  `SWELLSIGHT_${key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`;

export const isSetting = (node: Setting | Group): node is Setting => typeof node['check'] === 'function';

/** A definition whose leaves do not have their keys yet. */
interface Unkeyed {
  readonly [name: string]: ((key: string) => Setting) | Unkeyed;
}

/** Gives each leaf its dotted key. */
export const withKeys = (group: Unkeyed, prefix = ''): Group =>
  Object.fromEntries(
    Object.entries(group).map(([name, node]) => {
      const key = `${prefix}${name}`;
      return [name, typeof node === 'function' ? node(key) : withKeys(node, `${key}.`)];
    }),
  );

/** Returns a function that makes leaves for `withKeys`. They call `onInvalid` for each value that they do not accept. */
export const settingFactory =
  (onInvalid: OnInvalid) =>
  (value: unknown, format: Format, doc: string) =>
  (key: string): Setting => ({
    doc,
    default: value,
    env: variableName(key),
    wanted: format.wanted,
    nullable: value === null,
    secret: format.secret ?? null,
    format: SETTING_FORMAT,
    check: (given) => {
      if (format.accepts(given)) return;
      onInvalid(key, given, format.wanted);
      throw new TypeError(`wanted ${format.wanted}`);
    },
  });

/** All leaves with their dotted keys, in the order of the definition. */
export function listSettings(
  group: Group,
  prefix = '',
): { readonly key: string; readonly setting: Setting }[] {
  return Object.entries(group).flatMap(([name, node]) => {
    const key = `${prefix}${name}`;
    return isSetting(node) ? [{ key, setting: node }] : listSettings(node, `${key}.`);
  });
}
