import type { Canvas } from './canvas.ts';
import type { Light } from './light.ts';
import { TILE, type Tile, type Tiles, unit, WRAP } from './noise.ts';
import type { Scene } from './scene.ts';
import type { View } from './view.ts';
import { COLUMN_PX, type WaterMesh } from './water-mesh.ts';

/** Water is white when foam covers at least this share of the pixel. */
const MIN_WHITENESS = 0.5;
/** Small waves have their full contrast in images of this width. */
const FULL_WIDTH_PX = 1280;
const FINEST_RIPPLE_M = 0.045;
const FINEST_FOAM_M = 0.07;

/** Texels (texture pixels) per metre at texture level n. Each level is twice as coarse as the level before. */
const scalesFrom = (finestM: number): Float32Array =>
  Float32Array.from({ length: 16 }, (_, level) => 1 / (finestM * 2 ** level));

/**
 * Texture level of each mesh row, with a fraction. A texel is about as large as a pixel, which prevents flicker. A small image
 * has the textures of a full one: coarser ones would show the same ripple over many pixels.
 */
function levels(
  mesh: WaterMesh,
  { cameraHeightM, focalPx }: View,
  widthPx: number,
  finestM: number,
  stretch: number,
): Float32Array {
  const fullFocalPx = focalPx * Math.max(1, FULL_WIDTH_PX / widthPx);
  return mesh.distanceM.map((z) => {
    const rowM = (z * z) / (cameraHeightM * fullFocalPx);
    return Math.min(14, Math.max(0, Math.log2((stretch * rowM) / finestM)));
  });
}

const texel = (tile: Tile, row: number, column: number): number =>
  tile[((row & WRAP) * TILE) | (column & WRAP)] ?? 0;

/** Share of the next coarser level: 0 in the first third of the way to it, 1 in the last third. */
const coarserShare = (level: number): number => Math.min(1, Math.max(0, ((level % 1) - 0.33) * 3));

/** Small waves look different after this time. A texture that drifts would show waves of its own in a clip. */
const RIPPLE_S = 0.4;
/** Texels by which the textures of small waves are shifted at a moment. */
interface RippleShift {
  readonly out: number;
  readonly side: number;
}

/** Two layers of small waves at an angle to each other, -255..255. */
const ripples = ({ ripple }: Tiles, out: number, s: number, scale: number, shift: RippleShift): number =>
  texel(ripple, (out + 0.3 * s) * scale + shift.out, s * scale * 0.5 + shift.side) +
  texel(ripple, (out - 0.25 * s) * scale * 0.8 + shift.side + 77, s * scale * 0.45 - shift.out) -
  255;

/** Foam threshold, 0..1: a point has foam when its foam share is above this value. */
const foamNet = ({ lace, ripple }: Tiles, out: number, s: number, scale: number, drift: number): number =>
  texel(lace, out * scale * 0.45 + drift, s * scale) * 0.0029 +
  texel(ripple, out * scale * 1.1 + drift, s * scale * 1.7) * 0.001;

/** Interpolates a mesh value between a column and its right neighbour. */
function interpolate(values: Float32Array, at: number, w: number): number {
  const value = values[at] ?? 0;
  return value + ((values[at + 1] ?? 0) - value) * w;
}

/**
 * Fills each image column from the bottom up, nearest rows first, so that crests hide the water behind them.
 * Does not change the image where the mesh is on the sand. Returns the share of the water that is white.
 * `onlyPx`: the columns to draw; default: all.
 */
export function paintWater(
  canvas: Canvas,
  view: View,
  light: Light,
  mesh: WaterMesh,
  tiles: Tiles,
  { seed, motionS }: Scene,
  onlyPx: readonly number[] | null = null,
): number {
  const { widthPx, heightPx, rgb } = canvas;
  const { columns, distanceM, y, red, green, blue, foam, roller, wetM } = mesh;
  const { soft } = tiles;
  const fine = levels(mesh, view, widthPx, FINEST_RIPPLE_M, 0.8);
  const net = levels(mesh, view, widthPx, FINEST_FOAM_M, 0.5);
  const fineScales = scalesFrom(FINEST_RIPPLE_M);
  const netScales = scalesFrom(FINEST_FOAM_M);
  const [tintR, tintG, tintB] = light.tint;
  const rows = distanceM.length;
  const drift = motionS * 0.55;
  const epoch = Math.floor(motionS / RIPPLE_S);
  const shift = { out: TILE * unit(seed, 811, epoch), side: TILE * unit(seed, 812, epoch) };
  // A pixel of a small image is the mean of several ripples.
  const contrast = Math.sqrt(Math.min(1, widthPx / FULL_WIDTH_PX));

  let waterPx = 0;
  let whitePx = 0;
  const count = onlyPx?.length ?? widthPx;
  for (let one = 0; one < count; one += 1) {
    const x = onlyPx ? (onlyPx[one] ?? 0) : one;
    const column = Math.floor(x / COLUMN_PX);
    const w = x / COLUMN_PX - column;
    const aside = (x - view.centreX) / view.focalPx;
    const sPerM = aside * view.cos - view.sin;
    const cPerM = view.cos + aside * view.sin;
    let filled = heightPx;
    // Values of the previous mesh row at this column: the near end of each span of pixels.
    let yBefore = heightPx + 1;
    let wetBefore = 0;
    let redBefore = 0;
    let greenBefore = 0;
    let blueBefore = 0;
    let foamBefore = 0;
    let rollerBefore = 0;
    for (let row = 0, at = column; row < rows && filled > 0; row += 1, at += columns) {
      const yHere = interpolate(y, at, w);
      const wetHere = interpolate(wetM, at, w);
      const redHere = interpolate(red, at, w);
      const greenHere = interpolate(green, at, w);
      const blueHere = interpolate(blue, at, w);
      const foamHere = interpolate(foam, at, w);
      const rollerHere = interpolate(roller, at, w);
      if (yHere < filled && row > 0) {
        const top = Math.max(0, Math.ceil(yHere));
        const fineLevel = fine[row] ?? 0;
        const fineScale = fineScales[fineLevel | 0] ?? 1;
        const fineBlend = coarserShare(fineLevel);
        const netLevel = net[row] ?? 0;
        const netScale = netScales[netLevel | 0] ?? 1;
        const netBlend = coarserShare(netLevel);
        const zHere = distanceM[row] ?? 1;
        const zBefore = distanceM[row - 1] ?? 1;
        const perPixel = 1 / (yBefore - yHere + 1e-6);
        const from = wetBefore > 0 || wetHere > 0 ? filled - 1 : top - 1;
        for (let pixel = from; pixel >= top; pixel -= 1) {
          const t = Math.min(1, Math.max(0, (yBefore - pixel) * perPixel));
          const wet = wetBefore + (wetHere - wetBefore) * t;
          if (wet <= 0) continue;
          const z = zBefore + (zHere - zBefore) * t;
          const s = z * sPerM;
          const out = z * cPerM;
          let waves = fineBlend < 1 ? ripples(tiles, out, s, fineScale, shift) : 0;
          if (fineBlend > 0) waves += (ripples(tiles, out, s, fineScale / 2, shift) - waves) * fineBlend;
          waves *= contrast;
          let r = redBefore + (redHere - redBefore) * t + waves * 0.075;
          let g = greenBefore + (greenHere - greenBefore) * t + waves * 0.095;
          let bl = blueBefore + (blueHere - blueBefore) * t + waves * 0.1;
          const i = (pixel * widthPx + x) * 3;
          if (wet < 5) {
            const clear = 0.75 - 0.15 * wet;
            r += ((rgb[i] ?? 0) - r) * clear;
            g += ((rgb[i + 1] ?? 0) - g) * clear;
            bl += ((rgb[i + 2] ?? 0) - bl) * clear;
          }
          let whiteness = 0;
          const cover = foamBefore + (foamHere - foamBefore) * t;
          const reach = wet < 0.9 ? cover + 0.9 - wet : cover;
          if (reach > 0.02) {
            const patch = texel(soft, out * netScale * 0.13 + drift, s * netScale * 0.22);
            let net01 = netBlend < 1 ? foamNet(tiles, out, s, netScale, drift) : 0;
            if (netBlend > 0) net01 += (foamNet(tiles, out, s, netScale / 2, drift) - net01) * netBlend;
            const white = (reach * (0.55 + patch * 0.0035) - net01) * 2.4;
            if (white > 0) {
              const thick = 0.5 + 0.42 * reach;
              const alpha = white > thick ? thick : white;
              whiteness = alpha;
              r += (228 * tintR - r) * alpha;
              g += (234 * tintG - g) * alpha;
              bl += (236 * tintB - bl) * alpha;
            }
          }
          const tumble = rollerBefore + (rollerHere - rollerBefore) * t;
          if (tumble > 0.04) {
            const heap = texel(soft, pixel * 2.4 + drift * 20, x * 1.7 + s);
            const puff = texel(soft, out * netScale * 1.6 + drift * 6, s * netScale * 1.3);
            const white = (tumble * 1.55 - puff / 255) * 2.4;
            if (white > 0) {
              const alpha = white > 0.95 ? 0.95 : white;
              if (alpha > whiteness) whiteness = alpha;
              // Light comes from above, so the foot of the tumbling water is in shadow.
              const bright = 176 + heap * 0.13 + puff * 0.06 + (tumble > 0.9 ? 16 : tumble * 17.8);
              r += (bright * tintR - r) * alpha;
              g += ((bright + 4) * tintG - g) * alpha;
              bl += ((bright + 8) * tintB - bl) * alpha;
            }
          }
          waterPx += 1;
          if (whiteness > MIN_WHITENESS) whitePx += 1;
          rgb[i] = r;
          rgb[i + 1] = g;
          rgb[i + 2] = bl;
        }
        filled = top;
      }
      yBefore = yHere;
      wetBefore = wetHere;
      redBefore = redHere;
      greenBefore = greenHere;
      blueBefore = blueHere;
      foamBefore = foamHere;
      rollerBefore = rollerHere;
    }
  }
  return waterPx === 0 ? 0 : whitePx / waterPx;
}
