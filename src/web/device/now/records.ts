import { effect, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Series } from '../../../contract/history.ts';
import type { Observation } from '../../../contract/observation.ts';
import type { CameraView } from '../../../contract/openapi/views.ts';
import type { SeaStateRecord } from '../../../contract/sea-state.ts';
import { agentNow, requestJson } from '../../shared/api.ts';
import { cameras } from '../device-store.ts';
import { TREND_HOURS, trendOf, type Trend } from './trend.ts';

/** Records of all cameras that the page remembers: enough to know that of the shown frame. */
const MAX_RECORDS = 50;
/** Records that are searched for the newest one with a height. */
const SEARCHED_RECORDS = 20;
/** The course of the height is read again at most this often, ms. */
const SERIES_INTERVAL_MS = 60_000;
const SERIES_POINTS = 36;

const records = new Map<string, Observation>();
/** The newest record with a height of each camera, if it is known. */
const lastHeights = signal<ReadonlyMap<string, Observation>>(new Map());
/** The newest clip with a period of each camera, if it is known. */
const lastPeriods = signal<ReadonlyMap<string, SeaStateRecord>>(new Map());

// The event stream brings one record at a time, so that none is missed here.
effect(() => {
  for (const { latest, sea_state: clip } of cameras.value) {
    if (latest !== null) rememberRecord(latest);
    if (clip?.period.peak_s != null) rememberClip(clip);
  }
});

function rememberRecord(record: Observation): void {
  records.set(record.id, record);
  for (const id of records.keys()) {
    if (records.size <= MAX_RECORDS) break;
    records.delete(id);
  }
  const known = lastHeights.peek().get(record.camera);
  if (record.wave.height_m === null || (known && known.captured_at >= record.captured_at)) return;
  lastHeights.value = new Map(lastHeights.peek()).set(record.camera, record);
}

function rememberClip(clip: SeaStateRecord): void {
  const known = lastPeriods.peek().get(clip.camera);
  if (known && known.captured_at >= clip.captured_at) return;
  lastPeriods.value = new Map(lastPeriods.peek()).set(clip.camera, clip);
}

const pathOf = (camera: string): string => `/api/v1/cameras/${encodeURIComponent(camera)}`;

/** A record by its id; null: the agent does not have it. Rejects with `AbortError`. */
export async function recordOf(id: string, signal: AbortSignal): Promise<Observation | null> {
  const known = records.get(id);
  if (known) return known;
  try {
    const record = await requestJson<Observation>(`/api/v1/observations/${id}`, { signal });
    records.set(id, record);
    return record;
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return null;
  }
}

/** Runs a request for as long as the component shows the same thing. A failure changes nothing: the page says that data are old. */
function useRead(key: string | null, read: (signal: AbortSignal) => Promise<void>): void {
  useEffect(() => {
    if (key === null) return undefined;
    const stop = new AbortController();
    read(stop.signal).catch(() => undefined);
    return () => stop.abort();
  }, [key]);
}

/** The newest record with a height, when the newest record of the camera has none. */
export function useLastMeasured({ id, latest }: CameraView): Observation | null {
  const known = lastHeights.value.get(id) ?? null;
  const isWanted = latest !== null && latest.wave.height_m === null && known === null;
  useRead(isWanted ? id : null, async (signal) => {
    const query = `camera=${encodeURIComponent(id)}&status=measured&limit=${String(SEARCHED_RECORDS)}`;
    const page = await requestJson<{ observations: readonly Observation[] }>(
      `/api/v1/observations?${query}`,
      {
        signal,
      },
    );
    const found = page.observations.find(({ wave }) => wave.height_m !== null);
    if (found) rememberRecord(found);
  });
  return known;
}

/** The newest clip with a period. */
export function useLastPeriod({ id, sea_state: newest }: CameraView): SeaStateRecord | null {
  const known = lastPeriods.value.get(id) ?? null;
  const isWanted = newest != null && newest.period.peak_s === null && known === null;
  useRead(isWanted ? id : null, async (signal) => {
    const page = await requestJson<{ sea_states: readonly SeaStateRecord[] }>(
      `${pathOf(id)}/sea-state?limit=${String(SEARCHED_RECORDS)}`,
      { signal },
    );
    const found = page.sea_states.find(({ period }) => period.peak_s !== null);
    if (found) rememberClip(found);
  });
  return known;
}

export interface Course {
  readonly series: Series;
  readonly trend: Trend | null;
}

const courses = signal<ReadonlyMap<string, Course & { readonly readMs: number }>>(new Map());

/** The height of the last hours, read again with new records; null before it was read. */
export function useCourse({ id, latest }: CameraView): Course | null {
  const known = courses.value.get(id);
  const isOld = known === undefined || agentNow() - known.readMs > SERIES_INTERVAL_MS;
  useRead(isOld ? `${id} ${latest?.id ?? ''}` : null, async (signal) => {
    const readMs = agentNow();
    const from = new Date(readMs - TREND_HOURS * 3_600_000).toISOString();
    const query = `from=${encodeURIComponent(from)}&points=${String(SERIES_POINTS)}`;
    const series = await requestJson<Series>(`${pathOf(id)}/series?${query}`, { signal });
    courses.value = new Map(courses.peek()).set(id, { series, trend: trendOf(series.points), readMs });
  });
  return known ?? null;
}
