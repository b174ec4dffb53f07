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
  #canvas: Canvas = createCanvas(0, 0);

  constructor(seed: number) {
    this.seed = seed;
    this.#tiles = drawTiles(seed);
    this.#field = new WaveField(seed);
  }

  /** The picture is valid until the next one is painted. */
  paint(scene: Scene): Picture {
    const { widthPx, heightPx } = scene;
    if (this.#canvas.widthPx !== widthPx || this.#canvas.heightPx !== heightPx) {
      this.#canvas = createCanvas(widthPx, heightPx);
    }
    const canvas = this.#canvas;
    const view = viewOf(scene);
    const light = lightOf(scene);
    const tiles = this.#tiles;
    const mesh = buildWaterMesh(scene, view, light, this.#field);
    paintSky(canvas, scene, view, light, tiles.soft);
    paintSand(canvas, view, light, tiles, mesh.swash);
    paintWater(canvas, view, light, mesh, tiles, scene.motionS);
    paintHeadland(canvas, scene, view, light, tiles);
    paintPier(canvas, scene, view, light);
    paintForeground(canvas, scene, view, light);
    spoil(canvas, scene, view, light, tiles.grain);
    return { widthPx, heightPx, rgb: new Uint8Array(canvas.rgb.buffer) };
  }
}

/** One picture of the sea; equal scenes give equal bytes. */
export const drawSea = (scene: Scene): Picture => new SeaPainter(scene.seed).paint(scene);
