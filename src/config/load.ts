import { resolve } from 'node:path';
import convict from 'convict';
import { readCameras } from './cameras.ts';
import { checkCombinations } from './combinations.ts';
import { settingsDefinition } from './definition.ts';
import { readEnvironment } from './environment.ts';
import { configInvalid, shown, type ConfigFault } from './faults.ts';
import { readSettingsFile } from './file.ts';
import { keysOf, knownPart, nested } from './layers.ts';
import { isObject, overlaid } from './overlay.ts';
import type { Settings } from './schema.ts';
import { readSecret, secretPath, type SecretPlaces } from './secrets.ts';
import { SETTING_FORMAT, type Group, type Setting } from './setting.ts';

// Without a converter of its own a format lets convict guess: "80abc" becomes 80, and any text becomes true.
convict.addFormat({
  name: SETTING_FORMAT,
  validate: (value: unknown, schema: unknown) => (schema as Setting).check(value),
  coerce: (value: unknown) => value,
});

export interface SettingsInput {
  /** The configuration file; null for none. `SWELLSIGHT_CONFIG` is the caller's to look at. */
  readonly file: string | null;
  /** What the file was read as before; it is read anew otherwise. */
  readonly document?: unknown;
  readonly env: NodeJS.ProcessEnv;
  /** What remote commands have set, over all others. */
  readonly overlay?: unknown;
  /** Relative paths start here. */
  readonly cwd: string;
}

/** The values as convict gives them: defaults filled in, nothing read from files yet. */
type Values = Omit<Settings, 'mqtt' | 'http' | 'cameras'> & {
  readonly cameras: readonly unknown[];
  readonly mqtt: Omit<Settings['mqtt'], 'url' | 'clientId' | 'passwordFile'> & {
    readonly url: string | readonly string[];
    readonly clientId: string | null;
    readonly password_file: string | null;
  };
  readonly http: Settings['http'] & { readonly token_file: string | null };
};

/**
 * Reads the configuration: defaults < file < environment < overlay.
 * Throws `config_invalid` with every fault at once in `context.faults` (`ConfigFault[]`).
 */
export function loadSettings(input: SettingsInput): Settings {
  const faults: ConfigFault[] = [];
  const origins = new Map<string, string>();
  const broken = new Set<string>();
  const definition = settingsDefinition((key, value, wanted) => {
    broken.add(key);
    faults.push({ key, given: shown(key, value), wanted, origin: origins.get(key) ?? null });
  });
  const values = readValues(input, definition, origins, faults);
  for (const { key } of faults) broken.add(key);

  const credentialsDir = input.env['CREDENTIALS_DIRECTORY'] ?? null;
  const places: SecretPlaces = { cwd: input.cwd, credentialsDir };
  const cameras = broken.has('cameras')
    ? []
    : readCameras(values.cameras, origins.get('cameras') ?? 'default', places, faults);
  const settings = assemble(values, cameras, places, broken, faults);
  for (const { key } of faults) broken.add(key);
  checkCombinations(settings, broken, faults);
  if (faults.length > 0) throw configInvalid(faults);
  return deepFreeze(settings);
}

function readValues(
  input: SettingsInput,
  definition: Group,
  origins: Map<string, string>,
  faults: ConfigFault[],
): Values {
  const config = convict<object>(definition, { env: {}, args: [] });
  const lay = (document: unknown, origin: string): void => {
    const layer = knownPart(document, definition, origin, faults);
    for (const key of keysOf(layer, definition)) origins.set(key, origin);
    config.load(layer);
  };
  if (input.file !== null) {
    const file = resolve(input.cwd, input.file);
    lay(input.document === undefined ? readSettingsFile(file, faults) : input.document, input.file);
  }
  const fromEnvironment = readEnvironment(input.env, definition, faults);
  lay(nested(fromEnvironment), 'environment');
  const { overlay } = input;
  lay(isObject(overlay) ? overlaid(overlay, config.getProperties() as Values) : overlay, 'overlay');
  const before = faults.length;
  try {
    config.validate({ allowed: 'strict' });
  } catch (error) {
    // Each format has told its own fault; anything else that convict objects to is told in its words.
    if (faults.length === before)
      faults.push({ key: '(all)', given: '', wanted: String(error), origin: null });
  }
  return config.getProperties() as Values;
}

function assemble(
  values: Values,
  cameras: Settings['cameras'],
  places: SecretPlaces,
  broken: ReadonlySet<string>,
  faults: ConfigFault[],
): Settings {
  const secret = (key: string, value: string | null, file: string | null): string | null =>
    broken.has(key) || broken.has(`${key}_file`) ? null : readSecret({ key, value, file }, places, faults);
  const path = (value: string | null): string | null =>
    typeof value === 'string' ? resolve(places.cwd, value) : null;
  const { password_file, ...mqtt } = values.mqtt;
  const { token_file, ...http } = values.http;
  return {
    ...values,
    stateDir: path(values.stateDir) ?? places.cwd,
    cameras,
    mqtt: {
      ...mqtt,
      url: typeof mqtt.url === 'string' ? [mqtt.url] : broken.has('mqtt.url') ? [] : mqtt.url,
      clientId: mqtt.clientId ?? `swellsight-${values.site}-${values.device}`,
      password: secret('mqtt.password', mqtt.password, password_file),
      passwordFile: typeof password_file === 'string' ? secretPath(password_file, places) : null,
      ca: path(mqtt.ca),
      cert: path(mqtt.cert),
      key: path(mqtt.key),
    },
    model: { ...values.model, trustRoot: path(values.model.trustRoot) },
    http: { ...http, token: secret('http.token', http.token, token_file) },
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
