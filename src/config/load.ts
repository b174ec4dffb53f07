import { resolve } from 'node:path';
import convict from 'convict';
import { AgentError, asAgentError } from '../base/errors.ts';
import { zoneOfVariable } from '../base/time-zone.ts';
import { readCameras } from './cameras.ts';
import { checkCombinations, checkPemFiles } from './combinations.ts';
import { settingsDefinition } from './definition.ts';
import { configInvalid, formatValue, getConfigFaults, type ConfigFault } from './faults.ts';
import { isObject, listSetKeys, nestKeys, pickKnown } from './layers.ts';
import { OverlayFiles, type SavedOverlay } from './overlay-files.ts';
import { applyOverlay, type Overlay } from './overlay.ts';
import { findMisfits, findRefusedCameras, withoutCameras, type RefusedCamera } from './remote-cameras.ts';
import { listDottedKeys } from './remote-settings.ts';
import type { Settings } from './schema.ts';
import { findPlaceholders } from './placeholders.ts';
import { SETTING_FORMAT, type Group, type Setting } from './setting.ts';
import { readEnvironment, readSecret, readSettingsFile, secretPath, type SecretPlaces } from './sources.ts';

// `coerce` must return the value unchanged: without it, convict guesses ("80abc" becomes 80, any text becomes true).
convict.addFormat({
  name: SETTING_FORMAT,
  validate: (value: unknown, schema: unknown) => (schema as Setting).check(value),
  coerce: (value: unknown) => value,
});

export interface SettingsInput {
  /** The configuration file; null for none. The caller evaluates `SWELLSIGHT_CONFIG`. */
  readonly file: string | null;
  /** The parsed content of the file, if it was read before. */
  readonly document?: unknown;
  readonly env: NodeJS.ProcessEnv;
  /** The settings of remote commands; they override all other sources. */
  readonly overlay?: unknown;
  /** Base of relative paths. */
  readonly cwd: string;
  /**
   * Receives the faults of the files of the broker: certificates, key and password. Without it, they are thrown as all others.
   * The connection reads these files again: a renewal may have been interrupted, and the agent must observe nevertheless.
   */
  readonly fileFaults?: ConfigFault[];
  /** Receives the origin of each key that is set, those of cameras under their ids: the file, `environment` or `overlay`. */
  readonly origins?: Map<string, string>;
}

/** The values from convict: with defaults, but without the content of secret files. */
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
 * Loads the configuration: defaults < file < environment < overlay.
 * Throws `config_invalid` with all faults in `context.faults` (`ConfigFault[]`).
 */
export function loadSettings(input: SettingsInput): Settings {
  const faults: ConfigFault[] = [];
  const { origins = new Map<string, string>() } = input;
  const broken = new Set<string>();
  const definition = settingsDefinition((key, value, wanted) => {
    broken.add(key);
    faults.push({ key, given: formatValue(key, value), wanted, origin: origins.get(key) ?? null });
  });
  const values = readValues(input, definition, origins, faults);
  const camerasOrigin = origins.get('cameras');
  if (camerasOrigin !== undefined)
    for (const key of listDottedKeys({ cameras: values.cameras })) origins.set(key, camerasOrigin);
  for (const { key } of faults) broken.add(key);

  const credentialsDir = input.env['CREDENTIALS_DIRECTORY'] ?? null;
  const places: SecretPlaces = { cwd: input.cwd, credentialsDir };
  const cameras = broken.has('cameras')
    ? []
    : readCameras(values.cameras, origins.get('cameras') ?? 'default', places, faults);
  const fileFaults: ConfigFault[] = [];
  const settings = buildSettings(values, cameras, places, broken, { faults, fileFaults });
  for (const { key } of [...faults, ...fileFaults]) broken.add(key);
  checkCombinations(settings, broken, faults);
  checkPemFiles(settings.mqtt, fileFaults);
  (input.fileFaults ?? faults).push(...fileFaults);
  const { TZ } = input.env;
  if (TZ !== undefined && TZ !== '' && zoneOfVariable(TZ) === null)
    faults.push({
      key: 'TZ',
      given: formatValue('TZ', TZ),
      wanted: 'an IANA time zone such as Europe/Lisbon',
      origin: 'environment',
    });
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
  const placeholders: ConfigFault[] = [];
  const addLayer = (document: unknown, origin: string): void => {
    const layer = pickKnown(document, definition, origin, faults);
    placeholders.push(...findPlaceholders(layer, origin));
    for (const key of listSetKeys(layer, definition)) origins.set(key, origin);
    config.load(layer);
  };
  if (input.file !== null) {
    const file = resolve(input.cwd, input.file);
    addLayer(input.document === undefined ? readSettingsFile(file, faults) : input.document, input.file);
  }
  addLayer(nestKeys(readEnvironment(input.env, definition, faults)), 'environment');
  const { overlay } = input;
  addLayer(isObject(overlay) ? applyOverlay(overlay, config.getProperties() as Values) : overlay, 'overlay');
  const faultsBefore = faults.length;
  try {
    config.validate({ allowed: 'strict' });
  } catch (error) {
    // The formats have added their own faults. Any other error of convict becomes one fault.
    if (faults.length === faultsBefore)
      faults.push({ key: '(all)', given: '', wanted: String(error), origin: null });
  }
  const faultyKeys = new Set(faults.map(({ key }) => key));
  faults.push(...placeholders.filter(({ key }) => !faultyKeys.has(key)));
  return config.getProperties() as Values;
}

function buildSettings(
  values: Values,
  cameras: Settings['cameras'],
  places: SecretPlaces,
  broken: ReadonlySet<string>,
  { faults, fileFaults }: { readonly faults: ConfigFault[]; readonly fileFaults: ConfigFault[] },
): Settings {
  const secret = (
    key: string,
    value: string | null,
    file: string | null,
    into: ConfigFault[],
  ): string | null =>
    broken.has(key) || broken.has(`${key}_file`) ? null : readSecret({ key, value, file }, places, into);
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
      password: secret(
        'mqtt.password',
        mqtt.password,
        password_file,
        mqtt.password === null ? fileFaults : faults,
      ),
      passwordFile: typeof password_file === 'string' ? secretPath(password_file, places) : null,
      ca: path(mqtt.ca),
      cert: path(mqtt.cert),
      key: path(mqtt.key),
    },
    model: { ...values.model, trustRoot: path(values.model.trustRoot) },
    update: { ...values.update, trustRoot: path(values.update.trustRoot) },
    http: { ...http, token: secret('http.token', http.token, token_file, faults) },
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}

type LoadedSettings = Pick<LocalConfiguration, 'settings' | 'fileFaults'>;

/** The local configuration (file and environment, read once), and the overlay of its state directory. */
export interface LocalConfiguration {
  readonly settings: Settings;
  readonly files: OverlayFiles;
  readonly saved: SavedOverlay;
  /** What the file of the overlay contains: `saved`, and the settings of refused cameras. */
  readonly stored: SavedOverlay;
  /** Why the saved overlay is not used; null when it is used. */
  readonly overlayFault: string | null;
  /** Cameras whose saved remote settings the local configuration does not allow. They are not in `saved`. */
  readonly refused: readonly RefusedCamera[];
  /** Faults of the files of the broker, where they are tolerated. */
  readonly fileFaults: readonly ConfigFault[];
  /** The settings without the overlay, and the origin of each key that they set: the file or `environment`. */
  readonly local: LoadedSettings & { readonly origins: ReadonlyMap<string, string> };
  /**
   * Loads the settings with another overlay over the same file and environment; reads the secret files again. Throws `config_invalid`, also for faults of
   * files that the settings in force do not have, and `config_locked` for cameras that the local configuration does not allow.
   */
  readonly loadWith: (overlay: Overlay) => Settings;
}

export interface LocalInput extends Omit<SettingsInput, 'overlay' | 'document' | 'fileFaults' | 'origins'> {
  /** True: faults of the files of the broker are only reported. Default: they are thrown. */
  readonly toleratesFileFaults?: boolean;
}

/** The local settings alone; `overlayFault` tells why. The overlay file stays as it is. */
export const withoutOverlay = (before: LocalConfiguration, overlayFault: string): LocalConfiguration => ({
  ...before,
  ...before.local,
  saved: { overlay: {}, trial: null },
  overlayFault,
});

/**
 * Loads the local configuration and the saved overlay. Writes nothing. Throws `config_invalid` for faults of file and
 * environment. An unusable overlay is reported in `overlayFault`: it must not keep the agent from starting.
 */
export function loadLocal({ toleratesFileFaults = false, ...input }: LocalInput): LocalConfiguration {
  // loadSettings reads a faulty file again and throws its faults.
  const documentFaults: ConfigFault[] = [];
  const document =
    input.file === null ? undefined : readSettingsFile(resolve(input.cwd, input.file), documentFaults);
  const parsed: SettingsInput =
    document === undefined || documentFaults.length > 0 ? input : { ...input, document };
  const load = (overlay: Overlay, origins = new Map<string, string>()): LoadedSettings => {
    const fileFaults: ConfigFault[] = [];
    const settings = loadSettings({
      ...parsed,
      origins,
      ...(Object.keys(overlay).length === 0 ? {} : { overlay }),
      ...(toleratesFileFaults ? { fileFaults } : {}),
    });
    return { settings, fileFaults };
  };
  const origins = new Map<string, string>();
  const local = { ...load({}, origins), origins };
  const files = new OverlayFiles({ stateDir: local.settings.stateDir });
  const withOverlay = (overlay: Overlay): LoadedSettings => {
    const [first] = findRefusedCameras(overlay, local.settings);
    if (first) throw new AgentError(first.code, `camera ${first.id}: ${first.reason}`);
    return load(overlay);
  };
  const loadOver =
    (before: readonly ConfigFault[]) =>
    (overlay: Overlay): Settings => {
      const { settings, fileFaults } = withOverlay(overlay);
      refuseNewFaults(fileFaults, before);
      return settings;
    };
  try {
    const read = files.read();
    let refused = findRefusedCameras(read.overlay, local.settings);
    // Each round removes the settings of one camera or more.
    for (;;) {
      const saved = { ...read, overlay: withoutCameras(read.overlay, refused) };
      try {
        const loaded = Object.keys(saved.overlay).length === 0 ? local : withOverlay(saved.overlay);
        const loadWith = loadOver(loaded.fileFaults);
        return { ...loaded, local, files, saved, stored: read, overlayFault: null, refused, loadWith };
      } catch (thrown) {
        const misfits = findMisfits(getConfigFaults(asAgentError(thrown)), saved.overlay, local.settings);
        if (misfits.length === 0) throw thrown;
        refused = [...refused, ...misfits];
      }
    }
  } catch (thrown) {
    const error = asAgentError(thrown);
    const keys = getConfigFaults(error).map(({ key }) => key);
    const overlayFault = keys.length > 0 ? `it does not fit: ${keys.slice(0, 10).join(', ')}` : error.message;
    const saved = { overlay: {}, trial: null };
    const loadWith = loadOver(local.fileFaults);
    return { ...local, local, files, saved, stored: saved, overlayFault, refused: [], loadWith };
  }
}

/** Throws `config_invalid` for the faults of keys that had none before: a change must not bring them. */
export function refuseNewFaults(faults: readonly ConfigFault[], before: readonly ConfigFault[]): void {
  const known = new Set(before.map(({ key }) => key));
  const added = faults.filter(({ key }) => !known.has(key));
  if (added.length > 0) throw configInvalid(added);
}
