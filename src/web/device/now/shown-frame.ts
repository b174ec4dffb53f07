import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { KeptFrame } from '../../../contract/history.ts';
import type { Observation } from '../../../contract/observation.ts';
import type { CameraView } from '../../../contract/openapi/views.ts';
import { request, requestImage, requestJson } from '../../shared/api.ts';
import { isDisconnected } from '../device-store.ts';
import { recordOf } from './records.ts';

const WIDTH_PX = 1280;
const OBSERVATION_HEADER = 'swellsight-observation';

/** The frame on the page, and the record to which it belongs: labels go to this one. */
export interface ShownFrame {
  readonly camera: string;
  readonly url: string;
  readonly observationId: string;
  /** Null: the agent does not have it any more. */
  readonly record: Observation | null;
}

/** Null: there is none yet. */
export const shownFrame = signal<ShownFrame | null>(null);
/** The frame does not change, because a person reads it. */
export const isHeld = signal(false);

/** Shows the newest frame of the camera, and the next one when it arrives. */
export function useNewestFrame({ id: camera, latest, state }: CameraView): void {
  const isStill = isHeld.value || isDisconnected.value;
  // Other records have no frame.
  const version = useRef('');
  if (latest?.status === 'measured' || latest?.status === 'rejected') version.current = latest.id;
  // The newest record may be of a former run of the agent, whose frame is gone.
  const hasFrame = state.last_frame_age_s !== null;
  const reading = useRef<AbortController | null>(null);
  const [round, setRound] = useState(0);
  useEffect(
    () => () => {
      reading.current?.abort();
      reading.current = null;
    },
    [camera, hasFrame, isStill],
  );
  useEffect(() => {
    // A slow device may take longer for an image than from frame to frame: the reading of one is not given up for the next.
    if (isStill || reading.current !== null) return;
    const stop = new AbortController();
    reading.current = stop;
    const versionRead = version.current;
    const end = (next: ShownFrame | null): void => {
      if (reading.current !== stop) {
        if (next !== null) URL.revokeObjectURL(next.url);
        return;
      }
      reading.current = null;
      if (next !== null) show(next);
      if (version.current !== versionRead) setRound((count) => count + 1);
    };
    // After a failure, the age beside the frame says that it is old.
    readNewest(camera, hasFrame, stop.signal).then(end, () => end(null));
  }, [camera, version.current, hasFrame, isStill, round]);
  useEffect(() => () => show(null), [camera]);
}

function show(next: ShownFrame | null): void {
  const before = shownFrame.peek();
  if (before?.observationId === next?.observationId && before?.camera === next?.camera && before !== null) {
    if (next !== null) URL.revokeObjectURL(next.url);
    return;
  }
  shownFrame.value = next;
  if (before !== null) URL.revokeObjectURL(before.url);
}

/** The newest frame, or the newest kept one: after a start there may be no other for hours. */
async function readNewest(
  camera: string,
  hasFrame: boolean,
  signal: AbortSignal,
): Promise<ShownFrame | null> {
  const path = `/api/v1/cameras/${encodeURIComponent(camera)}`;
  const newest = hasFrame
    ? await readLatest(`${path}/latest.jpg?max_width_px=${String(WIDTH_PX)}`, signal)
    : null;
  if (newest !== null) return { camera, ...newest, record: await recordOf(newest.observationId, signal) };
  const { frames } = await requestJson<{ frames: readonly KeptFrame[] }>(`${path}/frames?limit=1`, {
    signal,
  });
  const observationId = frames[0]?.observation_id;
  if (observationId === undefined) return null;
  const url = await requestImage(`/api/v1/observations/${observationId}/image.jpg`, signal);
  if (url === null) return null;
  return { camera, url, observationId, record: await recordOf(observationId, signal) };
}

async function readLatest(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly url: string; readonly observationId: string } | null> {
  try {
    const response = await request(path, { signal });
    const observationId = response.headers.get(OBSERVATION_HEADER);
    if (observationId === null) return null;
    return { url: URL.createObjectURL(await response.blob()), observationId };
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return null;
  }
}
