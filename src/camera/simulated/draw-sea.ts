import { type Canvas, createCanvas } from './canvas.ts';
import { paintForeground, paintHeadland, paintPier, paintSand } from './land.ts';
import { spoil } from './lens.ts';
import { lightOf } from './light.ts';
import { type Tiles, drawTiles } from './noise.ts';
import type { Scene } from './scene.ts';
import { paintSky } from './sky.ts';
import { viewOf } from './view.ts';
import { paintWater } from './water.ts';
import { buildWaterMesh } from './water-mesh.ts';
import { WaveField } from './wave-field.ts';

export interface Picture {
  readonly widthPx: number;
  readonly heightPx: number;
  /** Row-major, three bytes a pixel. */
  readonly rgb: Uint8Array;
}

/** Draws scenes of one seed; keeps what they share (textures, refraction tables). */
export class SeaPainter {
  readonly seed: number;
  readonly #tiles: Tiles;
  readonly #field: WaveField;

  constructor(seed: number) {
    this.seed = seed;
    this.#tiles = drawTiles(seed);
    this.#field = new WaveField(seed);
  }

  paint(scene: Scene): Picture {
    const canvas: Canvas = createCanvas(scene.widthPx, scene.heightPx);
    const view = viewOf(scene);
    const light = lightOf(scene);
    const tiles = this.#tiles;
    const mesh = buildWaterMesh(scene, view, light, this.#field);
    paintSky(canvas, scene, view, light, tiles.soft);
    paintSand(canvas, scene, view, light, tiles, mesh.swash);
    paintWater(canvas, view, light, mesh, tiles, scene.motionS);
    paintHeadland(canvas, scene, view, light, tiles);
    paintPier(canvas, scene, view, light);
    paintForeground(canvas, scene, view, light);
    spoil(canvas, scene, view, light, tiles.grain);
    return { widthPx: canvas.widthPx, heightPx: canvas.heightPx, rgb: new Uint8Array(canvas.rgb.buffer) };
  }
}

/** One picture of the sea; equal scenes give equal bytes. */
export const drawSea = (scene: Scene): Picture => new SeaPainter(scene.seed).paint(scene);
