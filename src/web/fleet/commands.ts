import { connection, listen } from './fleet-store.ts';
import { login } from './login.ts';

const PICTURE_TIMEOUT_MS = 20_000;
/** A JPEG of `image` has 256 KiB at most. */
const MAX_PICTURE_BYTES = 524_288;
const PICTURE_WIDTH_PX = 960;

/** Asks a device for the newest picture of a camera. Rejects when none comes in time. */
export async function askForPicture(device: string, camera: string): Promise<Blob> {
  const opened = connection.value;
  const base = login.value?.base;
  if (opened === null || base === undefined) throw new Error('no connection');
  const topic = `${base}/${device}/camera/${camera}/image`;
  const picture = new Promise<Blob>((resolve, reject) => {
    const timer = setTimeout(() => {
      stop();
      reject(new Error('no answer'));
    }, PICTURE_TIMEOUT_MS);
    const stop = listen((received, payload) => {
      if (received !== topic || payload.length > MAX_PICTURE_BYTES || payload[0] !== 0xff) return;
      clearTimeout(timer);
      stop();
      resolve(new Blob([payload.slice()], { type: 'image/jpeg' }));
    });
  });
  await opened.subscribe([topic]);
  await opened.publish(`${base}/${device}/cmd/image`, {
    id: crypto.randomUUID(),
    args: { camera, max_width_px: PICTURE_WIDTH_PX, annotate: false },
  });
  return picture.finally(() => opened.unsubscribe([topic]));
}
