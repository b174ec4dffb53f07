import { resolve } from 'node:path';
import { schemaChecker, type ErrorObject } from '../base/schema-checker.ts';
import { readConnection, type CameraConnection } from './camera-connection.ts';
import { checkCamera } from './camera-rules.ts';
import { formatValue, unknownKeyFault, type ConfigFault } from './faults.ts';
import { ID_WANTED } from './formats.ts';
import { isObject, type Layer } from './layers.ts';
import {
  CameraSettings,
  type Camera,
  type CameraInput,
  type GeometrySettings,
  type SeaStateSettings,
} from './schema.ts';
import { readSecret, type SecretPlaces } from './sources.ts';

const DEFAULTS = {
  simulated: { everyS: 4, intervalS: 0.5, timeoutS: 15 },
  other: { everyS: 60, intervalS: 2, timeoutS: 15 },
} as const;
const DEFAULT_FRAMES = 3;
const CLIP_DEFAULTS = { everyS: 1800, fps: 2, durationS: 512 } as const;
/** The simulated sea changes every half minute, so that the first minutes show different heights. */
const DEFAULT_SPEED = 3600;

const checker = schemaChecker({ allErrors: true, verbose: true, strict: false });

/** Checks all of `cameras[]` and fills in the defaults. Use the result only if no fault was added. */
export function readCameras(
  inputs: readonly unknown[],
  origin: string,
  places: SecretPlaces,
  faults: ConfigFault[],
): readonly Camera[] {
  const firstWithId = new Map<string, number>();
  return checkShapes(inputs, origin, faults).flatMap(({ index, camera, broken }) => {
    const key = `cameras[${String(index)}]`;
    const id = camera.id?.toLowerCase();
    const twin = id === undefined ? undefined : firstWithId.get(id);
    if (id !== undefined && twin === undefined) firstWithId.set(id, index);
    if (twin !== undefined)
      faults.push({
        key: `${key}.id`,
        given: JSON.stringify(camera.id),
        wanted: `another id than that of cameras[${String(twin)}]`,
        origin,
      });
    const ruleFaults: ConfigFault[] = [];
    const input = camera as CameraInput;
    checkCamera(input, key, origin, ruleFaults);
    const { password: value = null, password_file: file = null } = camera;
    const password = readSecret(
      { key: `${key}.password`, value, file, mayBeEmpty: true },
      places,
      ruleFaults,
    );
    const connection = readConnection(input, key, origin, places, ruleFaults);
    // Of a broken key, only the shape fault is reported.
    faults.push(...ruleFaults.filter((fault) => !broken.some((path) => areNested(path, fault.key))));
    if (broken.length > 0) return [];
    return [withDefaults(input, { password, ...connection }, places.cwd)];
  });
}

function withDefaults(
  camera: CameraInput,
  connection: CameraConnection & { readonly password: string | null },
  cwd: string,
): Camera {
  const defaults = camera.kind === 'simulated' ? DEFAULTS.simulated : DEFAULTS.other;
  const schedule =
    camera.schedule?.cron === undefined
      ? { ...camera.schedule, everyS: camera.schedule?.everyS ?? defaults.everyS }
      : camera.schedule;
  const frames = camera.burst?.frames ?? DEFAULT_FRAMES;
  // A burst takes at most a quarter of a short period, so that `everyS: 1` works without burst settings.
  const maxIntervalS = (schedule.everyS ?? 60) / 4 / Math.max(1, frames - 1);
  return {
    id: camera.id,
    kind: camera.kind,
    url: camera.url ?? null,
    path: camera.path === undefined ? null : resolve(cwd, camera.path),
    command: camera.command ?? null,
    username: camera.username ?? null,
    ...connection,
    transport: camera.transport ?? 'auto',
    schedule,
    burst: { frames, intervalS: camera.burst?.intervalS ?? Math.min(defaults.intervalS, maxIntervalS) },
    timeoutS: camera.timeoutS ?? defaults.timeoutS,
    roi: camera.roi ?? null,
    privacyMasks: camera.privacyMasks ?? [],
    seaState: camera.seaState ? seaStateWithDefaults(camera.seaState, schedule) : null,
    geometry: camera.geometry ? withAbsoluteFiles(camera.geometry, cwd) : null,
    location: camera.location ?? null,
    units: camera.units ?? 'metric',
    recursive: camera.recursive ?? false,
    replay: camera.replay ?? 'watch',
    simulation: {
      seed: camera.simulation?.seed ?? 1,
      selfLabel: camera.simulation?.selfLabel ?? camera.kind === 'simulated',
      speed: camera.simulation?.speed ?? DEFAULT_SPEED,
    },
  };
}

function withAbsoluteFiles(geometry: GeometrySettings, cwd: string): GeometrySettings {
  const { pose, tide } = geometry;
  return {
    ...geometry,
    ...(pose === undefined ? {} : { pose: resolve(cwd, pose) }),
    ...(tide?.station === undefined ? {} : { tide: { ...tide, station: resolve(cwd, tide.station) } }),
  };
}

function seaStateWithDefaults(
  seaState: NonNullable<CameraInput['seaState']>,
  { timezone, sun }: Camera['schedule'],
): SeaStateSettings {
  const schedule = {
    ...(timezone === undefined ? {} : { timezone }),
    ...(sun === undefined ? {} : { sun }),
    ...seaState.schedule,
  };
  return {
    schedule:
      schedule.cron === undefined
        ? { ...schedule, everyS: schedule.everyS ?? CLIP_DEFAULTS.everyS }
        : schedule,
    fps: seaState.fps ?? CLIP_DEFAULTS.fps,
    durationS: seaState.durationS ?? CLIP_DEFAULTS.durationS,
    lines: seaState.lines ?? null,
    region: seaState.region ?? null,
    keepTimestacks: seaState.keepTimestacks ?? false,
  };
}

/** One entry of `cameras[]` without the keys that do not fit the schema; they are in `broken`, as in the faults. */
interface ShapedCamera {
  readonly index: number;
  readonly camera: Partial<CameraInput>;
  readonly broken: readonly string[];
}

/** Checks the entries against the schema. Adds all faults, and returns the valid keys of each camera. */
function checkShapes(
  cameras: readonly unknown[],
  origin: string,
  faults: ConfigFault[],
): readonly ShapedCamera[] {
  const validate = checker.compile<CameraInput>(CameraSettings);
  return cameras.flatMap((camera, index) => {
    if (validate(camera)) return [{ index, camera, broken: [] }];
    const key = `cameras[${String(index)}]`;
    const broken: string[] = [];
    for (const error of validate.errors ?? []) {
      const fault = toFault(error, key, origin);
      broken.push(fault.key);
      if (!faults.some((known) => known.key === fault.key && known.wanted === fault.wanted))
        faults.push(fault);
    }
    if (!isObject(camera)) return [];
    return [{ index, camera: omitBroken(camera, `${key}.`, broken), broken }];
  });
}

/** Without the keys that are broken, or that hold a list with a broken item. */
const omitBroken = (group: Layer, prefix: string, broken: readonly string[]): Layer =>
  Object.fromEntries(
    Object.entries(group).flatMap(([name, value]) => {
      const key = `${prefix}${name}`;
      if (broken.some((path) => path === key || path.startsWith(`${key}[`))) return [];
      return [[name, isObject(value) ? omitBroken(value, `${key}.`, broken) : value]];
    }),
  );

/** Whether one of two keys is the other one, or a part of it. */
const areNested = (a: string, b: string): boolean =>
  a === b ||
  [`${a}.`, `${a}[`].some((start) => b.startsWith(start)) ||
  [`${b}.`, `${b}[`].some((start) => a.startsWith(start));

function toFault(error: ErrorObject, prefix: string, origin: string): ConfigFault {
  const params = error.params as Record<string, unknown>;
  const key = prefix + toDottedPath(error.instancePath);
  if (error.keyword === 'required')
    return {
      key: `${key}.${String(params['missingProperty'])}`,
      given: 'nothing',
      wanted: 'a value',
      origin,
    };
  if (error.keyword === 'additionalProperties') {
    const known = Object.keys((error.parentSchema?.['properties'] ?? {}) as object);
    return unknownKeyFault(`${key}.`, String(params['additionalProperty']), known, origin);
  }
  return { key, given: formatValue(key, error.data), wanted: describeRule(error, params), origin };
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  integer: 'a whole number',
  object: '{…}',
  array: 'a list',
  string: 'text',
};

function describeRule(error: ErrorObject, params: Record<string, unknown>): string {
  const limit = String(params['limit']);
  switch (error.keyword) {
    case 'type':
      return TYPE_NAMES[String(params['type'])] ?? `a ${String(params['type'])}`;
    case 'enum':
      return `one of ${(params['allowedValues'] as unknown[]).map(String).join(', ')}`;
    case 'pattern':
      return params['pattern'] === CameraSettings.properties.id.pattern
        ? ID_WANTED
        : '64 hexadecimal digits, such as AB:CD:…';
    case 'minimum':
      return `at least ${limit}`;
    case 'maximum':
      return `at most ${limit}`;
    case 'exclusiveMinimum':
      return `more than ${limit}`;
    case 'minLength':
    case 'minItems':
      return `at least ${limit} of them`;
    case 'maxItems':
      return `at most ${limit} of them`;
    default:
      return error.message ?? 'another value';
  }
}

/** `/schedule/cron` as `.schedule.cron`, `/roi/1` as `.roi[1]`. */
const toDottedPath = (pointer: string): string =>
  pointer
    .split('/')
    .slice(1)
    .map((part) =>
      /^\d+$/.test(part) ? `[${part}]` : `.${part.replaceAll('~1', '/').replaceAll('~0', '~')}`,
    )
    .join('');
