import { setImmediate as nextTurn } from 'node:timers/promises';
import { isoTime, type Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { AgentApi } from '../contract/api.ts';
import type { KeptFrame } from '../contract/history.ts';
import type { Event } from '../contract/states.ts';
import { loadGeometry } from '../geometry/camera-geometry.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { LabelledImages } from '../observation/labelled-images.ts';
import type { WaterLevel } from '../observation/water-level.ts';
import type { ModelServer } from '../serving/model-server.ts';
import type { RecordValues } from '../store/record-values.ts';
import type { Store } from '../store/store.ts';
import { orderLabelQueue } from './label-queue.ts';
import { readSeries } from './series.ts';

export interface HistoryParts {
  readonly clock: Clock;
  readonly store: Pick<Store, 'observations' | 'values' | 'labels' | 'events'>;
  readonly images: Pick<LabelledImages, 'list' | 'readOwn'>;
  readonly server: Pick<ModelServer, 'lease'>;
  readonly waterLevel: Pick<WaterLevel, 'levelAt'>;
  /** Null for an unknown camera. */
  readonly settingsOf: (camera: string) => CameraSettings | null;
}

type HistoryApi = Pick<
  AgentApi,
  'observation' | 'observationImage' | 'series' | 'frames' | 'labelQueue' | 'eventLog'
>;

const DAY_MS = 86_400_000;
/** Events that one synchronous query reads. */
const EVENT_PAGE = 200;
/** Events that one request reads, of any severity. */
const MAX_READ_EVENTS = 5000;
/** Unlabelled frames from which the queue is chosen: the newest. */
const MAX_CANDIDATES = 1000;
const SEVERITIES: readonly Event['severity'][] = ['info', 'warning', 'error'];

/** What pages show of the past: charts, kept frames, frames to label, events. */
export function createHistoryApi(parts: HistoryParts): HistoryApi {
  const { clock, store, images } = parts;

  const settings = (camera: string): CameraSettings => {
    const found = parts.settingsOf(camera);
    if (found) return found;
    throw new AgentError('camera_unknown', `there is no camera ${camera}`);
  };

  const labelledIds = (camera: string): ReadonlySet<string> =>
    new Set(store.labels.list(camera).map(({ observationId }) => observationId));

  const observation: HistoryApi['observation'] = (id) => {
    const found = store.observations.find(id);
    if (found) return found;
    throw new AgentError('observation_unknown', 'no observation has this id');
  };

  return {
    observation,
    observationImage: async (id, maxWidthPx, signal) => {
      const { camera } = observation(id);
      const present = parts.settingsOf(camera);
      const jpeg = present && (await images.readOwn(present, id));
      if (!jpeg) throw new AgentError('observation_image_missing', 'no image of this observation is kept');
      if (maxWidthPx === null) return jpeg;
      using lease = parts.server.lease();
      const { privacyMasks } = present;
      return await lease.render(jpeg, { privacyMasks, roi: null, maxWidthPx, lines: [] }, signal);
    },
    series: async ({ camera, toMs = Math.ceil(clock.nowMs()), fromMs = toMs - DAY_MS, points }, signal) => {
      if (fromMs >= toMs) throw new AgentError('request_invalid', 'from is not before to');
      // A camera that was removed keeps its history.
      const present = parts.settingsOf(camera);
      if (!present && store.observations.newest(camera) === null) settings(camera);
      const predictTideM = await tidePrediction(present, parts.waterLevel);
      const { values, labels } = store;
      return readSeries({ camera, fromMs, toMs, points }, { values, labels, predictTideM }, signal);
    },
    frames: async ({ camera, ...query }) => {
      const ids = await images.list(settings(camera));
      const labelled = labelledIds(camera);
      const { values, cursor } = store.values.ofIds(ids, query);
      return { frames: values.map((one) => keptFrame(one, labelled.has(one.id))), cursor };
    },
    labelQueue: async (camera, limit) => {
      const ids = await images.list(settings(camera));
      const labelled = labelledIds(camera);
      const unlabelled = ids.filter((id) => !labelled.has(id));
      const { values } = store.values.ofIds(unlabelled, { limit: MAX_CANDIDATES });
      const readAtMs = store.labels.captured(camera, -Infinity, Infinity).map((one) => one.capturedAtMs);
      return {
        frames: orderLabelQueue(values, readAtMs, limit).map(({ record, reason }) => ({
          ...keptFrame(record, false),
          reason,
        })),
      };
    },
    eventLog: async ({ severity = 'info', before, limit }, signal) => {
      const shown = SEVERITIES.slice(SEVERITIES.indexOf(severity));
      const events: Event[] = [];
      let beforeSeq = before;
      for (let read = 0; read < MAX_READ_EVENTS; read += EVENT_PAGE) {
        const page = store.events.recent(EVENT_PAGE, beforeSeq);
        for (const event of page) {
          if (events.length === limit) return { events, cursor: beforeSeq ?? null };
          if (shown.includes(event.severity)) events.push(event);
          beforeSeq = event.seq;
        }
        if (page.length < EVENT_PAGE) return { events, cursor: null };
        await nextTurn();
        signal.throwIfAborted();
      }
      return { events, cursor: beforeSeq ?? null };
    },
  };
}

const keptFrame = (values: RecordValues, labelled: boolean): KeptFrame => ({
  observation_id: values.id,
  captured_at: isoTime(values.capturedAtMs),
  status: values.status,
  height_m: values.heightM,
  low_m: values.lowM,
  high_m: values.highM,
  height_basis: values.basis,
  labelled,
});

/** The tide as predicted from the constituents of the camera; no value when it has none, or its files cannot be used. */
async function tidePrediction(
  settings: CameraSettings | null,
  waterLevel: HistoryParts['waterLevel'],
): Promise<(atMs: number) => number | null> {
  const tide = settings?.geometry?.tide;
  if (!settings?.geometry || (tide?.station === undefined && tide?.constituents === undefined))
    return () => null;
  // The clips report files that cannot be used.
  const geometry = await loadGeometry(settings.geometry).catch(() => null);
  return (atMs) => geometry && waterLevel.levelAt(geometry, atMs);
}
