import type { Format } from './formats.ts';

/** The name under which `load.ts` makes convict call `check` on a value, and leave its type alone. */
export const SETTING_FORMAT = 'swellsight-setting';

/** A leaf of the convict schema. `wanted` is for the docs; `check` throws it. */
export interface Setting {
  readonly doc: string;
  readonly default: unknown;
  readonly env: string;
  readonly wanted: string;
  readonly nullable: boolean;
  readonly sensitive: boolean;
  readonly format: typeof SETTING_FORMAT;
  readonly check: (value: unknown) => void;
}
export interface Group {
  readonly [key: string]: Setting | Group;
}
/** Told of each value that a format refuses. */
export type Refuse = (key: string, value: unknown, wanted: string) => void;

/** `mqtt.homeAssistant.enabled` -> `SWELLSIGHT_MQTT_HOME_ASSISTANT_ENABLED`. */
export const variableName = (key: string): string =>
  `SWELLSIGHT_${key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`;

export const isSetting = (node: Setting | Group): node is Setting => typeof node['check'] === 'function';

/** Makes leaves; `refuse` is told of what one does not take. */
export const settingMaker =
  (refuse: Refuse) =>
  (
    key: string,
    value: unknown,
    format: Format,
    doc: string,
    more: { readonly sensitive?: boolean; readonly nullable?: boolean } = {},
  ): Setting => ({
    doc,
    default: value,
    env: variableName(key),
    wanted: format.wanted,
    nullable: more.nullable ?? value === null,
    sensitive: more.sensitive ?? false,
    format: SETTING_FORMAT,
    check: (given) => {
      if (format.accepts(given)) return;
      refuse(key, given, format.wanted);
      throw new TypeError(`wanted ${format.wanted}`);
    },
  });

/** Every leaf with its dotted key, in the order of the definition. */
export function settingsOf(group: Group, prefix = ''): { readonly key: string; readonly setting: Setting }[] {
  return Object.entries(group).flatMap(([name, node]) => {
    const key = `${prefix}${name}`;
    return isSetting(node) ? [{ key, setting: node }] : settingsOf(node, `${key}.`);
  });
}
