import { resolve } from 'node:path';
import { checkCamera } from './camera-rules.ts';
import { checkCameraShapes } from './camera-shape.ts';
import type { ConfigFault } from './faults.ts';
import type { Camera, CameraInput } from './schema.ts';
import { readSecret, type SecretPlaces } from './secrets.ts';

const DEFAULTS = {
  simulated: { everyS: 4, intervalS: 0.5, timeoutS: 15 },
  other: { everyS: 60, intervalS: 2, timeoutS: 15 },
} as const;
const DEFAULT_FRAMES = 3;
/** A drawn sea changes its mood in half a minute, so that a first start shows more than one height. */
const DEFAULT_SPEED = 3600;

/** Checks `cameras[]` whole and fills in what is not given. The result counts only when no fault was added. */
export function readCameras(
  inputs: readonly unknown[],
  origin: string,
  places: SecretPlaces,
  faults: ConfigFault[],
): readonly Camera[] {
  const firstWithId = new Map<string, number>();
  return checkCameraShapes(inputs, origin, faults).flatMap(({ index, camera, broken }) => {
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
    if (broken.has('kind')) return [];
    // What rests on a broken key is not judged.
    const told: ConfigFault[] = [];
    checkCamera(camera as CameraInput, key, origin, told);
    faults.push(
      ...told.filter((fault) => !broken.has(/^\.(\w+)/.exec(fault.key.slice(key.length))?.[1] ?? '')),
    );
    if (broken.size > 0) return [];
    const { password: value = null, password_file: file = null } = camera;
    const password = readSecret({ key: `${key}.password`, value, file }, places, faults);
    return [withDefaults(camera as CameraInput, password, places.cwd)];
  });
}

function withDefaults(camera: CameraInput, password: string | null, cwd: string): Camera {
  const defaults = camera.kind === 'simulated' ? DEFAULTS.simulated : DEFAULTS.other;
  const schedule =
    camera.schedule?.cron === undefined
      ? { ...camera.schedule, everyS: camera.schedule?.everyS ?? defaults.everyS }
      : camera.schedule;
  const frames = camera.burst?.frames ?? DEFAULT_FRAMES;
  // A burst takes at most a quarter of a short period, so that `everyS: 1` works without a word about bursts.
  const roomS = (schedule.everyS ?? 60) / 4 / Math.max(1, frames - 1);
  return {
    id: camera.id,
    kind: camera.kind,
    url: camera.url ?? null,
    path: camera.path === undefined ? null : resolve(cwd, camera.path),
    command: camera.command ?? null,
    username: camera.username ?? null,
    password,
    schedule,
    burst: { frames, intervalS: camera.burst?.intervalS ?? Math.min(defaults.intervalS, roomS) },
    timeoutS: camera.timeoutS ?? defaults.timeoutS,
    roi: camera.roi ?? null,
    privacyMasks: camera.privacyMasks ?? [],
    location: camera.location ?? null,
    units: camera.units ?? 'metric',
    replay: camera.replay ?? 'watch',
    simulation: {
      seed: camera.simulation?.seed ?? 1,
      selfLabel: camera.simulation?.selfLabel ?? camera.kind === 'simulated',
      speed: camera.simulation?.speed ?? DEFAULT_SPEED,
    },
  };
}
