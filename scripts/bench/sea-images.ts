import { drawSea } from '../../src/camera/simulated/sea-painter.ts';
import { encodeJpeg } from '../../src/camera/simulated/sea-painter.ts';
import { sceneAt } from '../../src/camera/simulated/scene.ts';

/** JPEGs of the simulated sea at different times, by default at the size of a 4-megapixel camera. */
export function drawSeaImages(
  count: number,
  widthPx = 2560,
  heightPx = 1440,
  intervalS = 3600,
): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, index) =>
    encodeJpeg(drawSea(sceneAt({ seed: 7, widthPx, heightPx, seaTimeS: intervalS * index }))),
  );
}
