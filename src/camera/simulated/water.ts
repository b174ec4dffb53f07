import type { Canvas } from './canvas.ts';
import type { Light } from './light.ts';
import { TILE, type Tile, type Tiles, WRAP } from './noise.ts';
import type { View } from './view.ts';
import { COLUMN_PX, type WaterMesh } from './water-mesh.ts';

/** Texture scale by mesh row: a texel spans at least a pixel, so that the distance does not flicker. */
function texelsPerM(mesh: WaterMesh, view: View, finestM: number, stretch: number): Float32Array {
  return mesh.distanceM.map((z) => {
    const rowM = (z * z) / (view.cameraHeightM * view.focalPx);
    const level = Math.max(0, Math.round(Math.log2((stretch * rowM) / finestM)));
    return 1 / (finestM * 2 ** level);
  });
}

const texel = (tile: Tile, row: number, column: number): number =>
  tile[((row & WRAP) * TILE) | (column & WRAP)] ?? 0;

/** A mesh value inside the cell of `was` and `at` (the rows before and here) and their right neighbours. */
function between(
  values: Float32Array,
  was: number,
  at: number,
  a: number,
  b: number,
  c: number,
  d: number,
): number {
  return (
    a * (values[was] ?? 0) + b * (values[was + 1] ?? 0) + c * (values[at] ?? 0) + d * (values[at + 1] ?? 0)
  );
}

/**
 * Fills each picture column from the bottom up with what is nearest, so that crests hide what lies behind them.
 * Where the mesh lies on the sand, the picture is left as it is.
 */
export function paintWater(
  canvas: Canvas,
  view: View,
  light: Light,
  mesh: WaterMesh,
  tiles: Tiles,
  motionS: number,
): void {
  const { widthPx, heightPx, rgb } = canvas;
  const { columns, distanceM, y, red, green, blue, foam, roller, wetM } = mesh;
  const { ripple, lace, soft } = tiles;
  const fine = texelsPerM(mesh, view, 0.11, 0.8);
  const net = texelsPerM(mesh, view, 0.07, 0.5);
  const [tintR, tintG, tintB] = light.tint;
  const rows = distanceM.length;
  const drift = motionS * 0.55;

  for (let x = 0; x < widthPx; x += 1) {
    const column = Math.floor(x / COLUMN_PX);
    const w = x / COLUMN_PX - column;
    const aside = (x - view.centreX) / view.focalPx;
    const sPerM = aside * view.cos - view.sin;
    const cPerM = view.cos + aside * view.sin;
    let filled = heightPx;
    let yBefore = heightPx + 1;
    for (let row = 0, at = column; row < rows && filled > 0; row += 1, at += columns) {
      const next = at + 1;
      const y0 = y[at] ?? 0;
      const yHere = y0 + ((y[next] ?? 0) - y0) * w;
      if (yHere < filled && row > 0) {
        const top = Math.max(0, Math.ceil(yHere));
        const scale = fine[row] ?? 1;
        const netScale = net[row] ?? 1;
        const zHere = distanceM[row] ?? 1;
        const zBefore = distanceM[row - 1] ?? 1;
        const was = at - columns;
        for (let pixel = filled - 1; pixel >= top; pixel -= 1) {
          const t = Math.min(1, Math.max(0, (yBefore - pixel) / (yBefore - yHere + 1e-6)));
          const a = (1 - t) * (1 - w);
          const b = (1 - t) * w;
          const c = t * (1 - w);
          const d = t * w;
          const wet = between(wetM, was, at, a, b, c, d);
          if (wet <= 0) continue;
          const z = zBefore + (zHere - zBefore) * t;
          const s = z * sPerM;
          const out = z * cPerM;
          // Two layers of small waves that run at an angle to each other.
          const waves =
            texel(ripple, out * scale + drift * 2.1, s * scale * 0.42 + drift) +
            texel(ripple, out * scale * 0.61 + drift * 3.3 + 77, s * scale * 0.3 - drift) -
            255;
          const lift = waves * 0.085;
          const shallow = wet < 5 ? wet / 5 : 1;
          let r = between(red, was, at, a, b, c, d) + lift;
          let g = between(green, was, at, a, b, c, d) + lift;
          let bl = between(blue, was, at, a, b, c, d) + lift;
          const i = (pixel * widthPx + x) * 3;
          if (shallow < 1) {
            const clear = 0.75 * (1 - shallow);
            r += ((rgb[i] ?? 0) - r) * clear;
            g += ((rgb[i + 1] ?? 0) - g) * clear;
            bl += ((rgb[i + 2] ?? 0) - bl) * clear;
          }
          const cover = between(foam, was, at, a, b, c, d);
          const edge = wet < 0.9 ? 0.9 - wet : 0;
          const reach = cover + edge;
          if (reach > 0.02) {
            const white = (reach - texel(lace, out * netScale * 0.5 + drift, s * netScale) / 255) * 3.2;
            if (white > 0) {
              const alpha = white > 0.86 ? 0.86 : white;
              r += (226 * tintR - r) * alpha;
              g += (233 * tintG - g) * alpha;
              bl += (236 * tintB - bl) * alpha;
            }
          }
          const tumble = between(roller, was, at, a, b, c, d);
          if (tumble > 0.04) {
            const heap = texel(soft, pixel * 3 + drift * 20, x * 2.2 + s);
            const puff = texel(soft, out * netScale + drift * 4, s * netScale * 0.8);
            const white = (tumble * 1.7 - puff / 255) * 2.6;
            if (white > 0) {
              const alpha = white > 0.96 ? 0.96 : white;
              const bright = 198 + heap * 0.17;
              r += (bright * tintR - r) * alpha;
              g += ((bright + 3) * tintG - g) * alpha;
              bl += ((bright + 6) * tintB - bl) * alpha;
            }
          }
          rgb[i] = r;
          rgb[i + 1] = g;
          rgb[i + 2] = bl;
        }
        filled = top;
      }
      yBefore = yHere;
    }
  }
}
