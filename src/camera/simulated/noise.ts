/** A 32-bit hash of a seed and up to two integers (the finaliser of murmur3). */
export function hash(seed: number, a: number, b = 0): number {
  let h = (seed | 0) ^ Math.imul(a | 0, 0x9e3779b1) ^ Math.imul(b | 0, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The same hash as a number in [0, 1). */
export const unit = (seed: number, a: number, b = 0): number => hash(seed, a, b) / 2 ** 32;

/** Smooth step (Hermite polynomial) from 0 at `from` to 1 at `to`; `from` may be larger than `to`. */
export function smoothstep(from: number, to: number, x: number): number {
  const t = Math.min(1, Math.max(0, (x - from) / (to - from)));
  return t * t * (3 - 2 * t);
}

export const mix = (a: number, b: number, t: number): number => a + (b - a) * t;

/** Smooth noise in one dimension: values in [0, 1], independent for each integer `x`, with continuous slope. */
export function wander(seed: number, x: number): number {
  const cell = Math.floor(x);
  return mix(unit(seed, cell), unit(seed, cell + 1), smoothstep(0, 1, x - cell));
}

/** Side of a texture tile in texels; a power of two, so that a bit mask wraps coordinates. */
export const TILE = 256;
export const WRAP = TILE - 1;

/** Row-major square of TILE * TILE values, 0..255, that repeats without a visible edge. */
export type Tile = Uint8Array;

/** Maps the values to 0..255 so that each value is equally frequent: a share t / 256 of the tile is below t. */
function equalise(field: Float32Array): Tile {
  let low = Infinity;
  let high = -Infinity;
  for (const value of field) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const bins = new Uint32Array(4096);
  const scale = (bins.length - 1) / (high - low || 1);
  const binOf = (at: number): number => Math.floor(((field[at] ?? 0) - low) * scale);
  for (let at = 0; at < field.length; at += 1) bins[binOf(at)] = (bins[binOf(at)] ?? 0) + 1;
  let below = 0;
  const ranks = bins.map((count) => ((below += count) - count / 2) * (256 / field.length));
  const tile = new Uint8Array(field.length);
  for (let at = 0; at < field.length; at += 1) tile[at] = ranks[binOf(at)] ?? 0;
  return tile;
}

function valueNoise(seed: number, cells: number, x: number, y: number): number {
  const fx = (x * cells) / TILE;
  const fy = (y * cells) / TILE;
  const x0 = Math.floor(fx);
  const y0 = Math.floor(fy);
  const tx = smoothstep(0, 1, fx - x0);
  const x1 = (x0 + 1) % cells;
  const y1 = (y0 + 1) % cells;
  const top = mix(unit(seed, x0, y0), unit(seed, x1, y0), tx);
  return mix(top, mix(unit(seed, x0, y1), unit(seed, x1, y1), tx), smoothstep(0, 1, fy - y0));
}

/** Sum of noise octaves. The first octave has `cells` lattice cells along a side, each further one twice as many. */
function fractalNoise(seed: number, cells: number, octaves: number): Float32Array {
  const field = new Float32Array(TILE * TILE);
  for (let octave = 0; octave < octaves; octave += 1) {
    const weight = 0.55 ** octave;
    const side = cells << octave;
    for (let at = 0; at < field.length; at += 1) {
      field[at] = (field[at] ?? 0) + weight * valueNoise(seed + octave, side, at & WRAP, at >> 8);
    }
  }
  return field;
}

/** Distance to the nearest border between random cells (Worley noise), 0 on a border. The net of borders is old foam. */
function cellBorders(seed: number, cells: number): Float32Array {
  const field = new Float32Array(TILE * TILE);
  const side = TILE / cells;
  for (let at = 0; at < field.length; at += 1) {
    const x = (at & WRAP) / side;
    const y = (at >> 8) / side;
    let first = 9;
    let second = 9;
    for (let dy = -1; dy <= 1; dy += 1) {
      for (let dx = -1; dx <= 1; dx += 1) {
        const cx = Math.floor(x) + dx;
        const cy = Math.floor(y) + dy;
        const id = ((cx + cells) % cells) + ((cy + cells) % cells) * cells;
        const d = Math.hypot(cx + unit(seed, id, 1) - x, cy + unit(seed, id, 2) - y);
        if (d < first) [first, second] = [d, first];
        else if (d < second) second = d;
      }
    }
    field[at] = second - first;
  }
  return field;
}

/** All textures of one seed. */
export interface Tiles {
  /** Soft shapes: clouds, sand, shading of foam. */
  readonly soft: Tile;
  /** Small waves. */
  readonly ripple: Tile;
  /** Low values form a net: old foam. */
  readonly lace: Tile;
  /** Independent texels. */
  readonly grain: Tile;
}

export function drawTiles(seed: number): Tiles {
  const borders = cellBorders(seed + 11, 18);
  const ragged = fractalNoise(seed + 12, 8, 5);
  return {
    soft: equalise(fractalNoise(seed + 1, 4, 5)),
    ripple: equalise(fractalNoise(seed + 2, 40, 2)),
    lace: equalise(borders.map((d, at) => d + 0.85 * (ragged[at] ?? 0))),
    grain: Uint8Array.from({ length: TILE * TILE }, (_, at) => hash(seed + 3, at) & 255),
  };
}
