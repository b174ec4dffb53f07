import { useEffect, useState } from 'preact/hooks';
import { requestImage } from '../../shared/api.ts';
import { cameras } from '../device-store.ts';

/**
 * The address of the newest frame of a camera; null without a camera or a frame. Read when the view is opened, and again after
 * `everyMs` when there is a newer one.
 */
export function useFrame(camera: string | null, widthPx: number, everyMs = Infinity): string | null {
  const [url, setUrl] = useState<string | null>(null);
  const view = cameras.value.find(({ id }) => id === camera);
  const { latest = null } = view ?? {};
  const hasFrame =
    view !== undefined &&
    (view.state.last_frame_age_s !== null || (latest !== null && latest.burst.used > 0));
  const version = latest === null ? 0 : Math.floor(Date.parse(latest.captured_at) / everyMs);
  useEffect(() => {
    if (camera === null || !hasFrame) return;
    const stop = new AbortController();
    const path = `/api/v1/cameras/${encodeURIComponent(camera)}/latest.jpg?max_width_px=${String(widthPx)}`;
    // Without the frame, people draw on an empty one.
    requestImage(path, stop.signal).then(setUrl, () => undefined);
    return () => stop.abort();
  }, [camera, widthPx, hasFrame, version]);
  useEffect(() => (url === null ? undefined : () => URL.revokeObjectURL(url)), [url]);
  return url;
}
