import { AgentError, asAgentError } from '../base/errors.ts';
import { settingsDefinition } from './definition.ts';
import {
  countFaults,
  formatValue,
  getConfigFaults,
  UNKNOWN_KEY,
  unknownKeyFault,
  type ConfigFault,
} from './faults.ts';
import { getValue, isObject, mergeValues, omitKeys, pickKnown, type Layer } from './layers.ts';
import { dropBrokerLogin, dropCameraLogin, indexCameras, type Overlay } from './overlay.ts';
import { CameraSettings, type Settings } from './schema.ts';
import { isRedacted, secretKindOf } from './secret-keys.ts';

/** The origin of the faults of a patch. */
const PATCH = 'patch';
/** A larger overlay is refused, because every start reads it. */
export const MAX_OVERLAY_BYTES = 128 * 1024;
/** Key of a camera in a patch: undo everything that remote commands have set for it. */
const REMOVE = 'remove';
const MAX_FAULTS = 20;
const MAX_LINE_CHARS = 300;
/** No setting is nested this deep. Deeper documents would overflow the stack of the recursive functions below. */
const MAX_DEPTH = 12;

/**
 * Keys that need access to the device: places of files, identity, trust, programs, files to read. Otherwise the right to
 * send commands would become the right to control the device.
 */
export const LOCAL_KEYS: readonly string[] = [
  'site',
  'device',
  'stateDir',
  'mqtt.base',
  'mqtt.clientId',
  'mqtt.homeAssistant.prefix',
  'mqtt.password_file',
  'mqtt.ca',
  'mqtt.cert',
  'mqtt.key',
  'model.trustRoot',
  'model.repository',
  'model.allowUnsigned',
  'update.trustRoot',
  'update.repository',
  'http.host',
  'http.token',
  'http.token_file',
  'http.cors',
  'http.allowedHosts',
  'remote.cameraHosts',
];
export const LOCAL_CAMERA_KEYS: readonly string[] = [
  'path',
  'command',
  'password_file',
  'headers_file',
  'tls.ca',
  'recursive',
];
const LOCAL_CAMERA_KINDS: readonly string[] = ['command', 'v4l2', 'video', 'directory'];

/**
 * Checks the shape and the keys of a patch. Its values are checked when the settings are loaded with it. `knownCameras`:
 * ids of the configured cameras. Throws `config_locked` for local keys, `config_invalid` for other faults.
 */
export function checkPatch(patch: unknown, knownCameras: ReadonlySet<string>): Layer {
  if (isTooDeep(patch))
    throw patchInvalid([{ key: '(all)', given: '', wanted: 'less nesting', origin: PATCH }]);
  if (!isObject(patch)) throw patchInvalid([patchFault('(all)', patch, 'keys and values')]);
  const faults: ConfigFault[] = [];
  pickKnown(omitKeys(patch, ['cameras']), settingsDefinition(), PATCH, faults);
  // A null for a whole group is allowed: it only removes remote settings.
  const locked = LOCAL_KEYS.filter((key) => getValue(patch, key) !== undefined);
  const { cameras } = patch;
  if (cameras !== undefined && cameras !== null) checkCameras(cameras, knownCameras, faults, locked);
  if (locked.length > 0) {
    const keys = locked.slice(0, MAX_FAULTS).join(', ').slice(0, MAX_LINE_CHARS);
    throw new AgentError('config_locked', `only the device itself may set ${keys}`);
  }
  if (faults.length > 0) throw patchInvalid(faults);
  return patch;
}

function checkCameras(
  cameras: unknown,
  known: ReadonlySet<string>,
  faults: ConfigFault[],
  locked: string[],
): void {
  if (!Array.isArray(cameras)) {
    faults.push(patchFault('cameras', cameras, 'a list of cameras, each with its id'));
    return;
  }
  const seen = new Set<string>();
  (cameras as readonly unknown[]).forEach((camera, index) => {
    const key = `cameras[${String(index)}]`;
    if (!isObject(camera) || typeof camera['id'] !== 'string') {
      faults.push(patchFault(`${key}.id`, undefined, 'the id of a camera'));
      return;
    }
    const { id, kind } = camera;
    if (seen.has(id)) faults.push(patchFault(`${key}.id`, id, 'each camera once'));
    seen.add(id);
    if (camera[REMOVE] === true) return;
    checkKeys(camera, CameraSettings, `${key}.`, faults);
    if (!known.has(id) && (kind === undefined || kind === null))
      faults.push(
        patchFault(`${key}.id`, id, `one of ${[...known].join(', ')}; or a kind, for a new camera`),
      );
    for (const name of LOCAL_CAMERA_KEYS)
      if (getValue(camera, name) !== undefined) locked.push(`${key}.${name}`);
    if (typeof kind === 'string' && LOCAL_CAMERA_KINDS.includes(kind)) locked.push(`${key}.kind`);
  });
}

/** Reports unknown keys, also with a null value: a misspelt key would look like a successful removal. */
function checkKeys(value: Layer, schema: object, prefix: string, faults: ConfigFault[]): void {
  const { properties } = schema as { properties?: Readonly<Record<string, object>> };
  if (!properties) return;
  for (const [name, inner] of Object.entries(value)) {
    if (!Object.hasOwn(properties, name))
      faults.push(unknownKeyFault(prefix, name, Object.keys(properties), PATCH));
    else if (isObject(inner)) checkKeys(inner, properties[name] ?? {}, `${prefix}${name}.`, faults);
  }
}

const patchFault = (key: string, given: unknown, wanted: string): ConfigFault => ({
  key,
  given: formatValue(key, given),
  wanted,
  origin: PATCH,
});

/**
 * The patch without the values that a sender copied from `config.get`, such as `***`: they stand for the present value and
 * change nothing. `shown`: the redacted settings in force. Throws `config_invalid` for such a text that does not match them,
 * because it must never become a setting.
 */
export function dropRedacted(patch: Layer, shown: Layer): Layer {
  const faults: ConfigFault[] = [];
  const kept = dropRedactedIn(patch, shown, '', faults);
  if (faults.length > 0) throw patchInvalid(faults);
  return kept;
}

function dropRedactedIn(group: Layer, shown: unknown, prefix: string, faults: ConfigFault[]): Layer {
  return Object.fromEntries(
    Object.entries(group).flatMap(([name, value]) => {
      const key = `${prefix}${name}`;
      const present = isObject(shown) ? shown[name] : undefined;
      const kind = secretKindOf(key);
      if (kind !== null) {
        if (!toList(value).some((item) => isRedacted(item, kind))) return [[name, value]];
        if (JSON.stringify(toList(value)) === JSON.stringify(toList(present))) return [];
        const wanted = 'the value itself, or not this key: *** stands for what is not shown';
        faults.push(patchFault(key, value, wanted));
        return [];
      }
      if (key === 'cameras' && Array.isArray(value)) {
        const cameras = indexCameras(present);
        return [
          [
            name,
            value.map((camera: Layer, index) =>
              dropRedactedIn(camera, cameras.get(String(camera['id'])), `cameras[${String(index)}].`, faults),
            ),
          ],
        ];
      }
      return [[name, isObject(value) ? dropRedactedIn(value, present, `${key}.`, faults) : value]];
    }),
  );
}

const toList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [value]);

function isTooDeep(patch: unknown): boolean {
  let level: unknown[] = [patch];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) return true;
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null ? (Object.values(value) as unknown[]) : [],
    );
  }
  return false;
}

/** The error does not contain the given values: the sender has them, and nobody else may see them. */
function patchInvalid(faults: readonly ConfigFault[]): AgentError {
  const lines = faults.slice(0, MAX_FAULTS).map(({ key, given, wanted }) => {
    const text = given === UNKNOWN_KEY ? `${given}, ${wanted}` : `wanted ${wanted}`;
    return `${key.slice(0, 100)}: ${text}`.slice(0, MAX_LINE_CHARS);
  });
  const moreCount = faults.length - lines.length;
  if (moreCount > 0) lines.push(`and ${String(moreCount)} more`);
  return new AgentError('config_invalid', `the change has ${countFaults(faults)}\n${lines.join('\n')}`);
}

/** The overlay with a checked patch: a null removes a remote setting. */
export function patchOverlay(overlay: Overlay, patch: Layer): Overlay {
  const { cameras, ...rest } = patch;
  const { cameras: camerasBefore, ...others } = overlay;
  const next = dropNulls(mergeValues(dropBrokerLogin(others, rest), rest) as Layer);
  const list = cameras === null ? [] : patchCameras(camerasBefore, cameras);
  return list.length === 0 ? next : { ...next, cameras: list };
}

function patchCameras(before: unknown, patch: unknown): readonly Layer[] {
  const byId = indexCameras(before);
  for (const [id, change] of indexCameras(patch)) {
    if (change[REMOVE] === true) byId.delete(id);
    else byId.set(id, dropNulls(mergeValues(dropCameraLogin(byId.get(id) ?? {}, change), change) as Layer));
  }
  // Drop a camera that only has its id: it has no remote settings left.
  return [...byId.values()].filter((camera) => Object.keys(camera).length > 1);
}

/** Removes nulls, and groups that are empty without them. */
function dropNulls(layer: Layer): Layer {
  return Object.fromEntries(
    Object.entries(layer).flatMap(([key, value]) => {
      if (!isObject(value)) return value === null ? [] : [[key, value]];
      const inner = dropNulls(value);
      return Object.keys(inner).length === 0 ? [] : [[key, inner]];
    }),
  );
}

/** Loads the settings with the overlay. Throws `config_invalid`, also for an overlay that is too large. */
export function loadWithOverlay(overlay: Overlay, load: (overlay: Overlay) => Settings): Settings {
  if (Buffer.byteLength(JSON.stringify(overlay)) > MAX_OVERLAY_BYTES) {
    const wanted = `at most ${String(MAX_OVERLAY_BYTES)} bytes of settings by remote command`;
    throw patchInvalid([{ key: '(all)', given: '', wanted, origin: PATCH }]);
  }
  try {
    return load(overlay);
  } catch (thrown) {
    const faults = getConfigFaults(asAgentError(thrown));
    throw faults.length > 0 ? patchInvalid(faults) : thrown;
  }
}
