import { createCanvas } from '../../src/camera/simulated/canvas.ts';
import { paintSand } from '../../src/camera/simulated/land.ts';
import { computeLight } from '../../src/camera/simulated/light.ts';
import { drawTiles } from '../../src/camera/simulated/noise.ts';
import type { Scene } from '../../src/camera/simulated/scene.ts';
import { computeView, type View } from '../../src/camera/simulated/view.ts';
import { paintWater } from '../../src/camera/simulated/water.ts';
import { buildWaterMesh } from '../../src/camera/simulated/water-mesh.ts';
import { WaveField } from '../../src/camera/simulated/wave-field.ts';

/** Noise of the camera, grey levels to each side. */
const NOISE = 4;

export interface ColumnClip {
  readonly seed: number;
  readonly columnsPx: readonly number[];
  readonly samples: number;
  readonly sceneOf: (sample: number) => Scene;
  /** Uniform, 0..1. */
  readonly random: () => number;
}

/**
 * Draws columns of the images of a clip, from the first row of water down: ten times faster than whole images. Leaves out the
 * sky, the pier and the effects of the lens, which do not change the waves. `values`: grey levels `[samples, rows, columns]`.
 */
export function drawColumns({ seed, columnsPx, samples, sceneOf, random }: ColumnClip): {
  readonly view: View;
  readonly firstRow: number;
  readonly rows: number;
  readonly values: Uint8Array;
} {
  const first = sceneOf(0);
  const view = computeView(first);
  const light = computeLight(first);
  const { widthPx, heightPx } = first;
  const firstRow = Math.ceil(view.horizonY) + 1;
  const rows = heightPx - firstRow;
  const field = new WaveField(seed);
  const tiles = drawTiles(seed);
  const canvas = createCanvas(widthPx, heightPx);
  paintSand(canvas, view, light, tiles, buildWaterMesh(first, view, light, field, []));
  const sand = canvas.rgb.slice();
  const values = new Uint8Array(samples * rows * columnsPx.length);
  let to = 0;
  for (let sample = 0; sample < samples; sample += 1) {
    const scene = sceneOf(sample);
    canvas.rgb.set(sand);
    paintWater(
      canvas,
      view,
      light,
      buildWaterMesh(scene, view, light, field, columnsPx),
      tiles,
      scene,
      columnsPx,
    );
    for (let row = firstRow; row < heightPx; row += 1)
      for (const x of columnsPx) {
        const at = (row * widthPx + x) * 3;
        const [red = 0, green = 0, blue = 0] = canvas.rgb.subarray(at, at + 3);
        const noise = NOISE * (2 * random() - 1);
        values[to++] = Math.max(0, Math.min(255, 0.3 * red + 0.59 * green + 0.11 * blue + noise));
      }
  }
  return { view, firstRow, rows, values };
}
