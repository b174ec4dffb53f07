import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawSea } from '../../src/camera/simulated/sea-painter.ts';
import { encodeJpeg } from '../../src/camera/simulated/sea-painter.ts';
import { sceneAt } from '../../src/camera/simulated/scene.ts';

const PICTURES = 4;

/** Small, and drawn once: what a camera that draws each frame takes of the machine is not there for what is tested. */
const drawSeas = (): readonly Uint8Array[] =>
  Array.from({ length: PICTURES }, (_, index) =>
    encodeJpeg(drawSea(sceneAt({ seed: 7, widthPx: 320, heightPx: 240, seaTimeS: 3600 * index }))),
  );

function makeFolder(dir: string, name: string, files: readonly Uint8Array[]): string {
  const path = join(dir, 'pictures', name);
  mkdirSync(path, { recursive: true });
  files.forEach((bytes, index) => writeFileSync(join(path, `${index}.jpg`), bytes));
  return path;
}

/** A folder of pictures of a sea that moves; its absolute path. */
export const makeMovingSea = (dir: string): string => makeFolder(dir, 'moving', drawSeas());

/**
 * Folders for the cameras: a sea that moves, a picture that never changes, one that is no picture, and none at all.
 * So there are records of every kind, and cameras that fail, and events that tell of it.
 */
export function makePictures(dir: string): readonly string[] {
  const sea = drawSeas();
  const moving = makeFolder(dir, 'moving', sea);
  const broken = sea.map((bytes) => bytes.subarray(0, bytes.length >> 1));
  return [
    moving,
    moving,
    moving,
    makeFolder(dir, 'still', sea.slice(0, 1)),
    makeFolder(dir, 'broken', broken),
    makeFolder(dir, 'empty', []),
  ];
}
