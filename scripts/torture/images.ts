import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawSea } from '../../src/camera/simulated/sea-painter.ts';
import { encodeJpeg } from '../../src/camera/simulated/sea-painter.ts';
import { sceneAt } from '../../src/camera/simulated/scene.ts';

const IMAGES = 4;

/** Small images, drawn once: drawing each frame would take CPU time from the programs under test. */
const drawSeas = (): readonly Uint8Array[] =>
  Array.from({ length: IMAGES }, (_, index) =>
    encodeJpeg(drawSea(sceneAt({ seed: 7, widthPx: 320, heightPx: 240, seaTimeS: 3600 * index }))),
  );

function writeImages(dir: string, name: string, files: readonly Uint8Array[]): string {
  const path = join(dir, 'images', name);
  mkdirSync(path, { recursive: true });
  files.forEach((bytes, index) => writeFileSync(join(path, `${index}.jpg`), bytes));
  return path;
}

/** Creates a directory with images of a moving sea. Returns its absolute path. */
export const makeMovingSea = (dir: string): string => writeImages(dir, 'moving', drawSeas());

/**
 * Creates directories for the cameras: a moving sea, one image that never changes, truncated images, and no image. They
 * cause records of every status, camera failures and events.
 */
export function makeImageDirectories(dir: string): readonly string[] {
  const sea = drawSeas();
  const moving = writeImages(dir, 'moving', sea);
  const broken = sea.map((bytes) => bytes.subarray(0, bytes.length >> 1));
  return [
    moving,
    moving,
    moving,
    writeImages(dir, 'still', sea.slice(0, 1)),
    writeImages(dir, 'broken', broken),
    writeImages(dir, 'empty', []),
  ];
}
