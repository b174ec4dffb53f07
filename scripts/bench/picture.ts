import { drawSea } from '../../src/camera/simulated/sea-painter.ts';
import { encodeJpeg } from '../../src/camera/simulated/sea-painter.ts';
import { sceneAt } from '../../src/camera/simulated/scene.ts';

/** JPEGs of the drawn sea at the size of a common 4-megapixel camera, each of another moment. */
export function seaPictures(count: number, widthPx = 2560, heightPx = 1440): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, index) =>
    encodeJpeg(drawSea(sceneAt({ seed: 7, widthPx, heightPx, seaTimeS: 3600 * index }))),
  );
}
