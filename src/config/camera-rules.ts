import { checkCronPattern, shortestCronIntervalS } from '../base/cron-pattern.ts';
import { percentDecode } from '../base/redact.ts';
import { isTimeZone } from '../base/time-zone.ts';
import { formatValue, type ConfigFault } from './faults.ts';
import { isUrl } from './formats.ts';
import type { CameraInput, CameraKind, Polygon } from './schema.ts';

type SourceKey = 'url' | 'path' | 'command';

/** The key that each kind of camera needs, and the schemes of its url. */
const SOURCES: Record<CameraKind, { readonly needs: SourceKey | null; readonly schemes: readonly string[] }> =
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

type AddFault = (name: string, value: unknown, wanted: string) => void;

/** Checks the rules that a JSON schema cannot express: keys that exclude or need each other, patterns, polygons. */
export function checkCamera(camera: CameraInput, key: string, origin: string, faults: ConfigFault[]): void {
  const addFault: AddFault = (name, value, wanted) => {
    const full = name === '' ? key : `${key}.${name}`;
    faults.push({ key: full, given: formatValue(full, value), wanted, origin });
  };
  // A kind that does not fit the schema is missing here.
  if (Object.hasOwn(SOURCES, camera.kind)) checkSource(camera, addFault);
  checkSchedule(camera.schedule, 'schedule', camera, addFault);
  checkBurst(camera, addFault);
  checkSeaState(camera, addFault);
  checkGeometry(camera, addFault);
  if (camera.roi) {
    const wanted = describePolygonFault(camera.roi);
    if (wanted !== null) addFault('roi', camera.roi, wanted);
  }
  camera.privacyMasks?.forEach((mask, index) => {
    const wanted = describePolygonFault(mask);
    if (wanted !== null) addFault(`privacyMasks[${String(index)}]`, mask, wanted);
  });
}

function checkSource(camera: CameraInput, addFault: AddFault): void {
  const { needs, schemes } = SOURCES[camera.kind];
  for (const name of ['url', 'path', 'command'] as const) {
    const value = camera[name];
    if (name === needs && value === undefined)
      addFault(name, value, `a ${name}, because kind is ${camera.kind}`);
    if (name !== needs && value !== undefined)
      addFault(name, value, `no ${name}, because kind is ${camera.kind}`);
  }
  if (needs === 'url' && camera.url !== undefined) checkUrl(camera.url, schemes, addFault);
  const loginKeys = (['username', 'password', 'password_file'] as const).filter(
    (name) => camera[name] !== undefined,
  );
  for (const name of loginKeys) {
    if (needs !== 'url') addFault(name, camera[name], `no ${name}, because kind is ${camera.kind}`);
    else if (hasLogin(camera.url))
      addFault(name, camera[name], 'credentials in the url or in username and password, not in both');
  }
  // They could end a header line, and begin another request.
  for (const name of ['username', 'password'] as const)
    if (/\p{Cc}/u.test(camera[name] ?? '')) addFault(name, camera[name], 'text without control characters');
  if (camera.username === undefined && loginKeys.length > 0) addFault('username', undefined, 'a user name');
  checkConnection(camera, addFault);
  if (camera.recursive !== undefined && camera.kind !== 'directory')
    addFault('recursive', camera.recursive, `no recursive, because kind is ${camera.kind}`);
  if (camera.replay !== undefined && camera.kind !== 'directory' && camera.kind !== 'video')
    addFault('replay', camera.replay, `no replay, because kind is ${camera.kind}`);
  if (camera.simulation !== undefined && camera.kind !== 'simulated')
    addFault('simulation', camera.simulation, `no simulation, because kind is ${camera.kind}`);
}

function checkUrl(url: string, schemes: readonly string[], addFault: AddFault): void {
  const wanted = `a URL with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`;
  const isValid = isUrl(url, schemes);
  const { username = '', password = '' } = URL.parse(url) ?? {};
  if (/\p{Cc}/u.test(percentDecode(username) + percentDecode(password)))
    addFault('url', url, 'a login without control characters');
  if (isValid && !hasCutLogin(url)) return;
  if (!url.includes('@')) addFault('url', url, wanted);
  // Any part of the text may belong to a password, so none is shown.
  else
    addFault(
      'url',
      '***',
      `${wanted}; write a login with characters such as @ # / ? : % or a space in the keys username and password` +
        (isValid ? ', and @ behind the host as %40' : ''),
    );
}

/**
 * True for `rtsp://me:12/34@cam.lan/live`: the password has `/`, `?`, `#` or a backslash, so its first part passes for the
 * port, and the user for the host. An address with `@` behind a true host, such as `rtsp://10.0.0.9/live@1`, is none.
 */
function hasCutLogin(url: string): boolean {
  const [, authority = '', rest = ''] = /^[^:]+:\/\/([^/?#\\]*)(.*)$/s.exec(url) ?? [];
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  const looksLikeHost = /^(localhost|\[.*|[^:]+\.[^:]+)(:\d+)?$/i.test(host);
  return !looksLikeHost && /@(localhost|\[[\da-f:]+\]|[\w-]+(\.[\w-]+)+)(:\d+)?([/?#]|$)/i.test(rest);
}

function checkConnection(camera: CameraInput, addFault: AddFault): void {
  const { kind, url, tls } = camera;
  const { needs, schemes } = SOURCES[kind];
  for (const name of ['headers', 'headers_file'] as const)
    if (camera[name] !== undefined && !schemes.includes('http'))
      addFault(name, camera[name], `no ${name}, because kind is ${kind}`);
  if (camera.transport !== undefined && kind !== 'rtsp')
    addFault('transport', camera.transport, `no transport, because kind is ${kind}`);
  else if (camera.transport === 'udp' && /^rtsps:/i.test(url ?? ''))
    addFault('transport', camera.transport, 'tcp, because UDP is outside the encryption of rtsps://');
  if (tls === undefined) return;
  if (needs !== 'url') addFault('tls', tls, `no tls, because kind is ${kind}`);
  // An http camera may redirect to https, but rtsp:// stays without encryption.
  else if (/^rtsp:/i.test(url ?? '')) addFault('tls', tls, 'a url with rtsps://');
  if (tls.insecure === true && (tls.ca !== undefined || tls.fingerprint256 !== undefined))
    addFault('tls.insecure', true, 'false, because tls.ca or tls.fingerprint256 is set');
}

/** Whether a URL has a user name. */
export const hasLogin = (url: string | undefined): boolean =>
  url !== undefined && (URL.parse(url)?.username ?? '') !== '';

function checkSchedule(
  schedule: CameraInput['schedule'],
  key: string,
  camera: CameraInput,
  addFault: AddFault,
): void {
  if (!schedule) return;
  const { cron, everyS, timezone, sun, jitterS } = schedule;
  if (cron !== undefined && everyS !== undefined) addFault(key, schedule, 'cron or everyS, not both');
  if (cron !== undefined) {
    const wanted = checkCronPattern(cron);
    if (wanted !== null) addFault(`${key}.cron`, cron, wanted);
  }
  if (timezone !== undefined && !isTimeZone(timezone))
    addFault(`${key}.timezone`, timezone, 'an IANA time zone such as Europe/Lisbon');
  if (sun && camera.location === undefined)
    addFault('location', undefined, `{lat, lon}, because ${key}.sun is set`);
  if (sun && sun.from === sun.to)
    addFault(
      `${key}.sun`,
      sun,
      'different values for from and to; without sun, the schedule applies all day',
    );
  if (everyS !== undefined && jitterS !== undefined && jitterS >= everyS)
    addFault(`${key}.jitterS`, jitterS, `less than everyS (${String(everyS)})`);
}

function checkBurst(camera: CameraInput, addFault: AddFault): void {
  const everyS = camera.schedule?.everyS;
  const { frames, intervalS } = camera.burst ?? {};
  if (everyS === undefined || intervalS === undefined) return;
  const spanS = ((frames ?? 3) - 1) * intervalS;
  if (spanS >= everyS)
    addFault('burst', camera.burst, `a burst shorter than everyS (it spans ${String(spanS)} s)`);
}

/** Shortest line of `seaState.lines`, as a share of the frame. */
const MIN_LINE_LENGTH01 = 0.05;

function checkSeaState(camera: CameraInput, addFault: AddFault): void {
  const { seaState } = camera;
  if (!seaState) return;
  if (camera.kind === 'command')
    addFault('seaState', seaState, 'no seaState, because a program for each frame is too slow');
  const { schedule, durationS = 512, lines, region } = seaState;
  checkSchedule(schedule, 'seaState.schedule', camera, addFault);
  const everyS = schedule?.cron === undefined ? schedule?.everyS : shortestCronIntervalS(schedule.cron);
  if (everyS !== undefined && everyS !== null && everyS <= durationS)
    addFault(
      'seaState.schedule',
      schedule,
      `more than seaState.durationS (${String(durationS)} s) between two clips`,
    );
  lines?.forEach(([[fromX, fromY], [toX, toY]], index) => {
    if (Math.hypot(toX - fromX, toY - fromY) < MIN_LINE_LENGTH01)
      addFault(`seaState.lines[${String(index)}]`, lines[index], 'two points that are not close together');
  });
  if (lines && region)
    addFault('seaState.region', region, 'lines or a region, not both: only the lines would be used');
  const wanted = region && describePolygonFault(region);
  if (wanted) addFault('seaState.region', region, wanted);
}

function checkGeometry({ geometry }: CameraInput, addFault: AddFault): void {
  if (!geometry) return;
  const { pose, cameraHeightM, horizonRow, tiltDeg, fovDeg, tide } = geometry;
  if (pose === undefined) {
    const ways = [horizonRow, tiltDeg].filter((value) => value !== undefined);
    if (cameraHeightM === undefined || ways.length !== 1)
      addFault('geometry', geometry, 'a pose, or cameraHeightM with one of horizonRow and tiltDeg');
    else if (tiltDeg !== undefined && fovDeg === undefined)
      addFault('geometry.fovDeg', fovDeg, 'a field of view, because tiltDeg is set');
  } else {
    for (const [name, value] of Object.entries({ cameraHeightM, horizonRow, tiltDeg, fovDeg }))
      if (value !== undefined) addFault(`geometry.${name}`, value, `no ${name}, because the pose has it`);
  }
  if (tide?.station !== undefined && tide.constituents !== undefined)
    addFault('geometry.tide.constituents', tide.constituents, 'a station or constituents, not both');
}

/** Smallest area, as a share of the frame. A smaller polygon is a typing error. */
const MIN_POLYGON_AREA01 = 1e-5;

/** Area of a polygon as a share of the frame, 0..1 (shoelace formula). */
function polygonArea01(polygon: Polygon): number {
  let twice = 0;
  polygon.forEach(([x, y], index) => {
    const [nextX, nextY] = polygon[(index + 1) % polygon.length] ?? [x, y];
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2;
}

/** The fault of a polygon, as text for `wanted`; null when it is valid. */
function describePolygonFault(polygon: Polygon): string | null {
  if (hasCrossingSides(polygon)) return 'a polygon whose sides do not cross';
  if (polygonArea01(polygon) < MIN_POLYGON_AREA01) return 'a polygon with an area';
  return null;
}

type Point = readonly [number, number];

function hasCrossingSides(polygon: Polygon): boolean {
  const count = polygon.length;
  for (let i = 0; i < count; i += 1)
    for (let j = i + 2; j < count; j += 1) {
      if (i === 0 && j === count - 1) continue;
      const [a, b, c, d] = [polygon[i], polygon[i + 1], polygon[j], polygon[(j + 1) % count]];
      if (a && b && c && d && doSegmentsCross(a, b, c, d)) return true;
    }
  return false;
}

/** True for proper crossings only: sides may touch. */
function doSegmentsCross(a: Point, b: Point, c: Point, d: Point): boolean {
  const side = (p: Point, q: Point, r: Point): number =>
    Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}
