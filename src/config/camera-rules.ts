import { checkCronPattern } from '../base/cron-pattern.ts';
import { isTimeZone } from '../base/time-zone.ts';
import { shown, type ConfigFault } from './faults.ts';
import { isUrl } from './formats.ts';
import { polygonFault } from './polygon.ts';
import type { CameraInput, CameraKind } from './schema.ts';

type Origin = 'url' | 'path' | 'command';

/** Which of url, path, command a kind needs, and the schemes of its url. */
const ORIGIN_OF: Record<CameraKind, { readonly needs: Origin | null; readonly schemes: readonly string[] }> =
  {
    simulated: { needs: null, schemes: [] },
    rtsp: { needs: 'url', schemes: ['rtsp', 'rtsps'] },
    hls: { needs: 'url', schemes: ['http', 'https'] },
    http: { needs: 'url', schemes: ['http', 'https'] },
    v4l2: { needs: 'path', schemes: [] },
    video: { needs: 'path', schemes: [] },
    directory: { needs: 'path', schemes: [] },
    command: { needs: 'command', schemes: [] },
  };

/** What a JSON schema cannot say: keys that exclude or need each other, and values with a meaning. */
export function checkCamera(camera: CameraInput, key: string, origin: string, faults: ConfigFault[]): void {
  const fault = (name: string, value: unknown, wanted: string): void => {
    const full = name === '' ? key : `${key}.${name}`;
    faults.push({ key: full, given: shown(full, value), wanted, origin });
  };
  checkOrigin(camera, fault);
  checkSchedule(camera, fault);
  checkBurst(camera, fault);
  if (camera.roi) {
    const wanted = polygonFault(camera.roi);
    if (wanted !== null) fault('roi', camera.roi, wanted);
  }
  camera.privacyMasks?.forEach((mask, index) => {
    const wanted = polygonFault(mask);
    if (wanted !== null) fault(`privacyMasks[${String(index)}]`, mask, wanted);
  });
}

type Fault = (name: string, value: unknown, wanted: string) => void;

function checkOrigin(camera: CameraInput, fault: Fault): void {
  const { needs, schemes } = ORIGIN_OF[camera.kind];
  for (const name of ['url', 'path', 'command'] as const) {
    const value = camera[name];
    if (name === needs && value === undefined)
      fault(name, value, `a ${name}, because kind is ${camera.kind}`);
    if (name !== needs && value !== undefined)
      fault(name, value, `no ${name}, because kind is ${camera.kind}`);
  }
  if (needs === 'url' && camera.url !== undefined && !isUrl(camera.url, schemes))
    fault('url', camera.url, `a URL with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`);
  const loginKeys = (['username', 'password', 'password_file'] as const).filter(
    (name) => camera[name] !== undefined,
  );
  for (const name of loginKeys) {
    if (needs !== 'url') fault(name, camera[name], `no ${name}, because kind is ${camera.kind}`);
    else if (camera.url !== undefined && (URL.parse(camera.url)?.username ?? '') !== '')
      fault(name, camera[name], 'credentials in the url or beside it, not both');
  }
  if (camera.username === undefined && loginKeys.length > 0) fault('username', undefined, 'a user name');
  if (camera.replay !== undefined && camera.kind !== 'directory' && camera.kind !== 'video')
    fault('replay', camera.replay, `no replay, because kind is ${camera.kind}`);
  if (camera.simulation !== undefined && camera.kind !== 'simulated')
    fault('simulation', camera.simulation, `no simulation, because kind is ${camera.kind}`);
}

function checkSchedule(camera: CameraInput, fault: Fault): void {
  const { schedule } = camera;
  if (!schedule) return;
  const { cron, everyS, timezone, sun, jitterS } = schedule;
  if (cron !== undefined && everyS !== undefined) fault('schedule', schedule, 'cron or everyS, not both');
  if (cron !== undefined) {
    const wanted = checkCronPattern(cron);
    if (wanted !== null) fault('schedule.cron', cron, wanted);
  }
  if (timezone !== undefined && !isTimeZone(timezone))
    fault('schedule.timezone', timezone, 'an IANA time zone such as Europe/Lisbon');
  if (sun && camera.location === undefined)
    fault('location', undefined, '{lat, lon}, because schedule.sun is set');
  if (sun && sun.from === sun.to)
    fault('schedule.sun', sun, 'from and to that differ, or no sun for all day');
  if (everyS !== undefined && jitterS !== undefined && jitterS >= everyS)
    fault('schedule.jitterS', jitterS, `less than everyS (${String(everyS)})`);
}

function checkBurst(camera: CameraInput, fault: Fault): void {
  const everyS = camera.schedule?.everyS;
  const { frames, intervalS } = camera.burst ?? {};
  if (everyS === undefined || intervalS === undefined) return;
  const spanS = ((frames ?? 3) - 1) * intervalS;
  if (spanS >= everyS)
    fault('burst', camera.burst, `a burst shorter than everyS (it spans ${String(spanS)} s)`);
}
