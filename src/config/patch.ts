import { settingsDefinition } from './definition.ts';
import { shown, type ConfigFault } from './faults.ts';
import { knownPart, type Layer } from './layers.ts';
import { camerasById, isObject, merged, without, type Overlay } from './overlay.ts';
import { CameraSettings } from './schema.ts';
import { nearest } from './suggest.ts';

/** The origin of every fault that a patch has. */
export const PATCH = 'patch';
/** An overlay larger than this is refused: it is read at each start. */
export const MAX_OVERLAY_BYTES = 128 * 1024;
/** Takes back whatever was set for a camera. */
const REMOVE = 'remove';

/**
 * What only who has access to the device may set: where it keeps its things, who it is, whom it trusts, what it runs and
 * which files it reads. Whoever may send commands could otherwise make more of that right than it is.
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
  'http.host',
  'http.token',
  'http.token_file',
  'http.cors',
];
export const LOCAL_CAMERA_KEYS: readonly string[] = ['path', 'command', 'password_file'];
export const LOCAL_CAMERA_KINDS: readonly string[] = ['command', 'v4l2', 'video', 'directory'];

/** A patch that may be laid over the overlay. `locked` are the keys that it may not touch. */
export interface PatchVerdict {
  readonly faults: readonly ConfigFault[];
  readonly locked: readonly string[];
}

/**
 * Checks what a patch looks like and what it touches. Whether its values are right shows when the settings are read with
 * it. `known` are the ids of the cameras that there are.
 */
export function judgePatch(patch: unknown, known: ReadonlySet<string>): PatchVerdict {
  const faults: ConfigFault[] = [];
  if (!isObject(patch)) return { faults: [wrong('(all)', patch, 'keys and values')], locked: [] };
  knownPart(without(patch, ['cameras']), settingsDefinition(), PATCH, faults);
  const locked = LOCAL_KEYS.filter((key) => touches(patch, key));
  const { cameras } = patch;
  if (cameras !== undefined && cameras !== null) judgeCameras(cameras, known, faults, locked);
  return { faults, locked };
}

function judgeCameras(
  cameras: unknown,
  known: ReadonlySet<string>,
  faults: ConfigFault[],
  locked: string[],
): void {
  if (!Array.isArray(cameras)) {
    faults.push(wrong('cameras', cameras, 'a list of cameras, each with its id'));
    return;
  }
  const seen = new Set<string>();
  (cameras as readonly unknown[]).forEach((camera, index) => {
    const key = `cameras[${String(index)}]`;
    if (!isObject(camera) || typeof camera['id'] !== 'string') {
      faults.push(wrong(`${key}.id`, undefined, 'the id of a camera'));
      return;
    }
    const { id, kind } = camera;
    if (seen.has(id)) faults.push(wrong(`${key}.id`, id, 'each camera once'));
    seen.add(id);
    if (camera[REMOVE] === true) return;
    unknownKeys(camera, CameraSettings, `${key}.`, faults);
    if (!known.has(id) && (kind === undefined || kind === null))
      faults.push(wrong(`${key}.id`, id, `one of ${[...known].join(', ')}; or a kind, for a new camera`));
    for (const name of LOCAL_CAMERA_KEYS) if (camera[name] !== undefined) locked.push(`${key}.${name}`);
    if (typeof kind === 'string' && LOCAL_CAMERA_KINDS.includes(kind)) locked.push(`${key}.kind`);
  });
}

/** Also of keys that are to be taken back: a misspelt one would be taken for done. */
function unknownKeys(value: Layer, schema: object, prefix: string, faults: ConfigFault[]): void {
  const { properties } = schema as { properties?: Readonly<Record<string, object>> };
  if (!properties) return;
  for (const [name, inner] of Object.entries(value)) {
    if (Object.hasOwn(properties, name)) {
      if (isObject(inner)) unknownKeys(inner, properties[name] ?? {}, `${prefix}${name}.`, faults);
      continue;
    }
    const meant = nearest(name, Object.keys(properties));
    const wanted = meant === null ? `one of ${Object.keys(properties).join(', ')}` : `perhaps ${meant}`;
    faults.push({ key: `${prefix}${name}`, given: 'an unknown key', wanted, origin: PATCH });
  }
}

const wrong = (key: string, given: unknown, wanted: string): ConfigFault => ({
  key,
  given: shown(key, given),
  wanted,
  origin: PATCH,
});

/** A null for a group takes all of it back, which harms nothing. */
function touches(patch: Layer, key: string): boolean {
  let node: unknown = patch;
  for (const part of key.split('.')) {
    if (!isObject(node) || !Object.hasOwn(node, part)) return false;
    node = node[part];
  }
  return true;
}

/** The overlay with a judged patch in it: a null takes back what was set before. */
export function patched(overlay: Overlay, patch: Layer): Overlay {
  const { cameras, ...rest } = patch;
  const { cameras: before, ...others } = overlay;
  const next = pruned(merged(others, rest) as Layer);
  const list = cameras === null ? [] : patchedCameras(before, cameras);
  return list.length === 0 ? next : { ...next, cameras: list };
}

function patchedCameras(before: unknown, patch: unknown): readonly Layer[] {
  const byId = camerasById(before);
  for (const [id, change] of camerasById(patch)) {
    if (change[REMOVE] === true) byId.delete(id);
    else byId.set(id, pruned(merged(byId.get(id) ?? {}, change) as Layer));
  }
  // Nothing but its id: nothing is set for it any more.
  return [...byId.values()].filter((camera) => Object.keys(camera).length > 1);
}

/** Without nulls and what is empty without them. */
function pruned(layer: Layer): Layer {
  return Object.fromEntries(
    Object.entries(layer).flatMap(([key, value]) => {
      if (!isObject(value)) return value === null ? [] : [[key, value]];
      const inner = pruned(value);
      return Object.keys(inner).length === 0 ? [] : [[key, inner]];
    }),
  );
}
