import { useEffect, useState } from 'preact/hooks';
import { requestImage } from '../../shared/api.ts';

const WIDTH_PX = 1280;

/**
 * The address of the newest frame of a camera, read again whenever `version` changes; the last one until the next has
 * arrived. Null before the first. A null version: the camera has no frame yet.
 */
export function useLatestImage(camera: string, version: string | null): string | null {
  const [shown, setShown] = useState<{ readonly camera: string; readonly url: string } | null>(null);
  useEffect(() => {
    if (version === null) return;
    const stop = new AbortController();
    const path = `/api/v1/cameras/${encodeURIComponent(camera)}/latest.jpg?max_width_px=${String(WIDTH_PX)}`;
    requestImage(path, stop.signal).then(
      (url) => {
        if (url !== null) setShown({ camera, url });
      },
      // The age beside the frame says that it is old.
      () => undefined,
    );
    return () => stop.abort();
  }, [camera, version]);
  // Release the memory of the former frame.
  useEffect(() => (shown === null ? undefined : () => URL.revokeObjectURL(shown.url)), [shown]);
  return shown?.camera === camera ? shown.url : null;
}
