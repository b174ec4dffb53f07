import { encode } from 'jpeg-js';
import { type Canvas, createCanvas, rotate } from './canvas.ts';
import { paintForeground, paintHeadland, paintPier, paintSand } from './land.ts';
import { applyLensEffects } from './lens.ts';
import { computeLight } from './light.ts';
import { type Tiles, drawTiles } from './noise.ts';
import type { Scene } from './scene.ts';
import { paintSky } from './sky.ts';
import { computeView } from './view.ts';
import { paintWater } from './water.ts';
import { buildWaterMesh } from './water-mesh.ts';
import { WaveField } from './wave-field.ts';

export interface RawImage {
  readonly widthPx: number;
  readonly heightPx: number;
  /** Row-major, three bytes per pixel. */
  readonly rgb: Uint8Array;
  /** Share of the water in the image that is white, 0..1, before fog and other effects of the lens. */
  readonly white01: number;
}

const JPEG_QUALITY = 82;

/** Draws scenes of one seed. Keeps their common textures and refraction tables. */
export class SeaPainter {
  readonly seed: number;
  readonly #tiles: Tiles;
  readonly #field: WaveField;
  /** Of full images and of clips: a new one for each image would leave garbage of megabytes. */
  #canvases: readonly Canvas[] = [];

  constructor(seed: number) {
    this.seed = seed;
    this.#tiles = drawTiles(seed);
    this.#field = new WaveField(seed);
  }

  /** The image is valid until the next call with its size. */
  paint(scene: Scene): RawImage {
    const { widthPx, heightPx } = scene;
    const canvas =
      this.#canvases.find((one) => one.widthPx === widthPx && one.heightPx === heightPx) ??
      createCanvas(widthPx, heightPx);
    this.#canvases = [canvas, ...this.#canvases.filter((one) => one !== canvas)].slice(0, 2);
    const view = computeView(scene);
    const light = computeLight(scene);
    const tiles = this.#tiles;
    const mesh = buildWaterMesh(scene, view, light, this.#field);
    paintSky(canvas, scene, view, light, tiles.soft);
    paintSand(canvas, view, light, tiles, mesh);
    const white01 = paintWater(canvas, view, light, mesh, tiles, scene);
    paintHeadland(canvas, scene, view, light, tiles);
    paintPier(canvas, scene, view, light);
    paintForeground(canvas, scene, view, light);
    if (scene.conditions.rollDeg) rotate(canvas, (scene.conditions.rollDeg * Math.PI) / 180);
    applyLensEffects(canvas, scene, view, light, tiles.grain);
    return { widthPx, heightPx, rgb: new Uint8Array(canvas.rgb.buffer), white01 };
  }
}

/** Encodes images as baseline JPEG. Reuses its input buffer for images of the same size. */
export class JpegEncoder {
  #rgba = new Uint8Array(0);

  encode({ widthPx, heightPx, rgb }: Omit<RawImage, 'white01'>): Uint8Array {
    const sizeBytes = widthPx * heightPx * 4;
    if (this.#rgba.length !== sizeBytes) this.#rgba = new Uint8Array(sizeBytes);
    const rgba = this.#rgba;
    for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
      rgba[to] = rgb[from] ?? 0;
      rgba[to + 1] = rgb[from + 1] ?? 0;
      rgba[to + 2] = rgb[from + 2] ?? 0;
    }
    return encode({ width: widthPx, height: heightPx, data: rgba }, JPEG_QUALITY).data;
  }
}

/** One image of the sea. Equal scenes give equal bytes. */
export const drawSea = (scene: Scene): RawImage => new SeaPainter(scene.seed).paint(scene);

export const encodeJpeg = (image: RawImage): Uint8Array => new JpegEncoder().encode(image);
