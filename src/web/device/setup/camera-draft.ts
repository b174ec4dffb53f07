import { EMPTY_DRAWING, hasFault, type Drawing, type Points } from './drawing.ts';

export const KINDS = ['rtsp', 'http', 'hls', 'simulated'] as const;
/** The kinds that a page may set. Others run programs or read files: only the device itself sets them. */
export type Kind = (typeof KINDS)[number];

/** A camera of `settings.cameras` in `GET /api/v1/config`, as far as the page shows it. */
export interface CameraSettings {
  readonly id: string;
  readonly kind: string;
  /** Scheme, host and port. */
  readonly url: string | null;
  readonly username: string | null;
  readonly schedule: {
    readonly everyS?: number;
    readonly cron?: string;
    readonly timezone?: string;
    readonly sun?: { readonly from: string; readonly to: string };
  };
  readonly roi: Points | null;
  readonly privacyMasks: readonly Points[];
  readonly seaState: { readonly lines: readonly Points[] | null } | null;
  readonly location: { readonly lat: number; readonly lon: number } | null;
  readonly units: 'metric' | 'imperial';
}

/** What decides where the frames come from. */
export interface SourceDraft {
  readonly kind: Kind;
  readonly url: string;
  readonly username: string;
  readonly password: string;
}

export const HOURS = ['all', 'daylight', 'dawn'] as const;
/** All day, from sunrise to sunset, from dawn to dusk, or other events of the sun, which stay as they are. */
export type Hours = (typeof HOURS)[number] | 'other';

/** The texts of the form. */
export interface CameraDraft {
  readonly id: string;
  /** Null: the source of a configured camera stays as it is. */
  readonly source: SourceDraft | null;
  readonly rhythm: 'every' | 'cron';
  readonly everyS: string;
  readonly cron: string;
  readonly hours: Hours;
  readonly timezone: string;
  readonly lat: string;
  readonly lon: string;
  readonly units: 'metric' | 'imperial';
}

export type DraftField = 'id' | 'url' | 'everyS' | 'cron' | 'hours' | 'timezone' | 'lat' | 'lon';
export type DraftFault =
  'missing' | 'id' | 'taken' | 'url' | 'number' | 'seconds' | 'place' | 'zone' | 'lat' | 'lon';

const SUN: Readonly<Record<Exclude<Hours, 'all' | 'other'>, { from: string; to: string }>> = {
  daylight: { from: 'sunrise', to: 'sunset' },
  dawn: { from: 'dawn', to: 'dusk' },
};
const SCHEMES: Readonly<Record<Kind, readonly string[]>> = {
  rtsp: ['rtsp:', 'rtsps:'],
  http: ['http:', 'https:'],
  hls: ['http:', 'https:'],
  simulated: [],
};
const MAX_EVERY_S = 86_400;
const WHOLE_FRAME: Points = [
  [0, 0],
  [1, 0],
  [1, 1],
  [0, 1],
];
const NEW_SOURCE: SourceDraft = { kind: 'rtsp', url: '', username: '', password: '' };

export const newSource = (kind: string): SourceDraft => ({
  ...NEW_SOURCE,
  kind: KINDS.find((one) => one === kind) ?? 'rtsp',
});

/** The form of a configured camera, or of a new one. */
export function startDraft(camera: CameraSettings | null): CameraDraft {
  const { everyS, cron, timezone, sun } = camera?.schedule ?? {};
  return {
    id: camera?.id ?? '',
    source: camera === null ? NEW_SOURCE : null,
    rhythm: cron === undefined ? 'every' : 'cron',
    everyS: String(everyS ?? 60),
    cron: cron ?? '*/5 * * * *',
    hours: hoursOf(sun),
    timezone: timezone ?? '',
    lat: camera?.location ? String(camera.location.lat) : '',
    lon: camera?.location ? String(camera.location.lon) : '',
    units: camera?.units ?? 'metric',
  };
}

function hoursOf(sun: CameraSettings['schedule']['sun']): Hours {
  if (!sun) return 'all';
  const known = (['daylight', 'dawn'] as const).find(
    (name) => SUN[name].from === sun.from && SUN[name].to === sun.to,
  );
  return known ?? 'other';
}

/** The drawing of a configured camera without the masks that only the device itself may change. */
export function startDrawing(camera: CameraSettings | null, localMasks: readonly Points[]): Drawing {
  if (camera === null) return EMPTY_DRAWING;
  const locked = new Set(localMasks.map((mask) => JSON.stringify(mask)));
  return {
    region: camera.roi && !isSame(camera.roi, WHOLE_FRAME) ? [camera.roi] : [],
    masks: camera.privacyMasks.filter((mask) => !locked.has(JSON.stringify(mask))),
    lines: camera.seaState?.lines ?? [],
  };
}

/** `ids`: those of the configured cameras, which a new one may not have. */
export function findFaults(
  draft: CameraDraft,
  { isNew, ids }: { readonly isNew: boolean; readonly ids: readonly string[] },
): Partial<Record<DraftField, DraftFault>> {
  const faults: Partial<Record<DraftField, DraftFault>> = {};
  if (isNew) {
    if (draft.id === '') faults.id = 'missing';
    else if (!/^[A-Za-z0-9_.-]{1,64}$/.test(draft.id)) faults.id = 'id';
    else if (ids.some((id) => id.toLowerCase() === draft.id.toLowerCase())) faults.id = 'taken';
  }
  if (draft.source !== null && draft.source.kind !== 'simulated') {
    const url = URL.canParse(draft.source.url) ? new URL(draft.source.url) : null;
    if (draft.source.url.trim() === '') faults.url = 'missing';
    else if (url === null || url.hostname === '' || !SCHEMES[draft.source.kind].includes(url.protocol))
      faults.url = 'url';
  }
  if (draft.rhythm === 'every') {
    const everyS = readNumber(draft.everyS);
    if (everyS === null) faults.everyS = 'number';
    else if (everyS < 1 || everyS > MAX_EVERY_S) faults.everyS = 'seconds';
  } else if (draft.cron.trim() === '') faults.cron = 'missing';
  const [lat, lon] = [readNumber(draft.lat), readNumber(draft.lon)];
  const hasPlace = draft.lat.trim() !== '' || draft.lon.trim() !== '';
  if (hasPlace && (lat === null || Math.abs(lat) > 90)) faults.lat = 'lat';
  if (hasPlace && (lon === null || Math.abs(lon) > 180)) faults.lon = 'lon';
  if (draft.hours !== 'all' && !hasPlace) faults.hours = 'place';
  if (draft.timezone !== '' && !isTimeZone(draft.timezone)) faults.timezone = 'zone';
  return faults;
}

export const isDrawingValid = (drawing: Drawing): boolean => !hasFault(drawing);

/** A number as people write it; null for other texts. */
function readNumber(text: string): number | null {
  const trimmed = text.trim().replace(',', '.');
  return /^[+-]?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : null;
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

export interface DraftContext {
  /** Null for a new camera. */
  readonly before: CameraSettings | null;
  /** The camera is in the local configuration: a null then shows the local value again. */
  readonly isLocal: boolean;
  readonly drawingBefore: Drawing;
}

type Patch = Record<string, unknown>;

/**
 * The part of a patch for one camera: only what differs. A key that is left out keeps its value, so that no login is lost. Null
 * when nothing differs.
 */
export function buildPatch(draft: CameraDraft, drawing: Drawing, context: DraftContext): Patch | null {
  const { before } = context;
  const patch: Patch = { ...sourcePatch(draft, before), ...placePatch(draft, before) };
  const schedule = schedulePatch(draft, before);
  if (schedule !== null) patch['schedule'] = schedule;
  Object.assign(patch, drawingPatch(drawing, context));
  return Object.keys(patch).length === 0 ? null : { id: draft.id, ...patch };
}

/** The camera for a test: without the masks that the page may move, so that one sees what they cover. */
export function buildTest(draft: CameraDraft, before: CameraSettings | null): Patch {
  const id = before === null && !/^[A-Za-z0-9_.-]{1,64}$/.test(draft.id) ? 'new-camera' : draft.id;
  return { id, ...sourcePatch(draft, before), privacyMasks: null };
}

function sourcePatch({ source }: CameraDraft, before: CameraSettings | null): Patch {
  if (source === null) return {};
  const { kind, url, username, password } = source;
  const isOtherKind = before?.kind !== kind;
  if (kind === 'simulated') return isOtherKind ? { kind } : {};
  return {
    ...(isOtherKind ? { kind } : {}),
    url: url.trim(),
    ...(username === '' ? {} : { username, password }),
  };
}

function placePatch({ lat, lon, units }: CameraDraft, before: CameraSettings | null): Patch {
  const [newLat, newLon] = [readNumber(lat), readNumber(lon)];
  const location = newLat === null || newLon === null ? null : { lat: newLat, lon: newLon };
  return {
    ...(isSame(location, before?.location ?? null) ? {} : { location }),
    ...(units === (before?.units ?? 'metric') ? {} : { units }),
  };
}

function schedulePatch(draft: CameraDraft, before: CameraSettings | null): Patch | null {
  const known = before?.schedule ?? {};
  const patch: Patch = {};
  const everyS = readNumber(draft.everyS);
  // Of the two, the server keeps the one that the patch gives.
  if (draft.rhythm === 'cron') {
    if (draft.cron.trim() !== known.cron) Object.assign(patch, { cron: draft.cron.trim(), everyS: null });
  } else if (everyS !== (before === null ? null : (known.everyS ?? null)))
    Object.assign(patch, { everyS, ...(known.cron === undefined ? {} : { cron: null }) });
  if (draft.timezone !== (known.timezone ?? ''))
    patch['timezone'] = draft.timezone === '' ? null : draft.timezone;
  if (draft.hours !== 'other' && draft.hours !== hoursOf(known.sun))
    patch['sun'] = draft.hours === 'all' ? null : SUN[draft.hours];
  return Object.keys(patch).length === 0 ? null : patch;
}

function drawingPatch(drawing: Drawing, { before, isLocal, drawingBefore }: DraftContext): Patch {
  const patch: Patch = {};
  const [region = null] = drawing.region;
  // A null would show a region of the local configuration again.
  if (!isSame(drawing.region, drawingBefore.region)) patch['roi'] = region ?? (isLocal ? WHOLE_FRAME : null);
  if (!isSame(drawing.masks, drawingBefore.masks))
    patch['privacyMasks'] = drawing.masks.length === 0 ? null : drawing.masks;
  if (!isSame(drawing.lines, drawingBefore.lines))
    patch['seaState'] =
      drawing.lines.length === 0
        ? { lines: null }
        : { lines: drawing.lines, ...(before?.seaState ? { region: null } : {}) };
  return patch;
}

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
