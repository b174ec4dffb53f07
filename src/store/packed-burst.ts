import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { MASK_LUMA, type ViewSignature } from '../vision/protocol.ts';

/** The embedding and the view of one burst. */
export interface BurstContent {
  readonly embedding: Float32Array;
  readonly view: ViewSignature | null;
}

/** Bytes before the values: their number (uint32), the smallest value and the step (float64), width, height (uint16). */
const HEADER_BYTES = 24;
const MAX_STEPS = 65_535;
/** Step of the grey values of a view. */
const LUMA_STEP = 6;
/** The largest rounded value whose multiple is a byte. */
const MAX_LUMA = 42;
/** The codes of the grey values that are not rounded: those of masks. */
const MASK_CODES = new Map(MASK_LUMA.map((value, index) => [value, MAX_LUMA + 1 + index]));

/**
 * Packs a burst into about half its size. The embedding is rounded to 65,536 steps between its smallest and its largest
 * value, which is far below the noise of an embedding. A pixel of the view is rounded to a multiple of six, which is below
 * the noise of a camera by day. The grey values of masks are kept, and no other value becomes one of them: the view check
 * recognises masks by their constant value, and rounding makes much of an unchanged scene constant.
 */
export function packBurst({ embedding, view }: BurstContent): Uint8Array {
  const { length } = embedding;
  const width = view?.width ?? 0;
  const height = view?.height ?? 0;
  const packed = Buffer.alloc(HEADER_BYTES + length * 2 + width * height);
  let [low, high] = [Infinity, -Infinity];
  for (const value of embedding) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const step = (high - low) / MAX_STEPS;
  packed.writeUInt32LE(length, 0);
  packed.writeDoubleLE(low, 4);
  packed.writeDoubleLE(step, 12);
  packed.writeUInt16LE(width, 20);
  packed.writeUInt16LE(height, 22);
  // High bytes first, then low bytes: high bytes of neighbours are similar, so they compress better.
  embedding.forEach((value, index) => {
    const steps = step === 0 ? 0 : Math.round((value - low) / step);
    packed[HEADER_BYTES + index] = steps >> 8;
    packed[HEADER_BYTES + length + index] = steps & 0xff;
  });
  if (view) {
    const start = HEADER_BYTES + length * 2;
    const luma = view.luma.map(
      (value) => MASK_CODES.get(value) ?? Math.min(MAX_LUMA, Math.round(value / LUMA_STEP)),
    );
    for (let at = 0; at < width * height; at += 1)
      packed[start + at] = (luma[at] ?? 0) - predictPixel(luma, at, width);
  }
  return deflateRawSync(packed, { level: 9, memLevel: 9 });
}

/** Reverses `packBurst`. Throws when the bytes are damaged. */
export function unpackBurst(bytes: Uint8Array): BurstContent {
  const packed = inflateRawSync(bytes);
  const length = packed.readUInt32LE(0);
  const low = packed.readDoubleLE(4);
  const step = packed.readDoubleLE(12);
  const width = packed.readUInt16LE(20);
  const height = packed.readUInt16LE(22);
  const embedding = Float32Array.from({ length }, (_, index) => {
    const steps =
      packed.readUInt8(HEADER_BYTES + index) * 256 + packed.readUInt8(HEADER_BYTES + length + index);
    return low + steps * step;
  });
  if (width === 0) return { embedding, view: null };
  const residuals = packed.subarray(HEADER_BYTES + length * 2);
  const luma = new Uint8Array(width * height);
  for (let at = 0; at < luma.length; at += 1) luma[at] = (residuals[at] ?? 0) + predictPixel(luma, at, width);
  return { embedding, view: { luma: luma.map(unpackLuma), width, height } };
}

/** Code 0 stands for 1 and 2, because 0 has a code of its own. */
const unpackLuma = (code: number): number => MASK_LUMA[code - MAX_LUMA - 1] ?? Math.max(1, code * LUMA_STEP);

/** The median edge detector of LOCO-I (Weinberger, Seroussi and Sapiro 2000): a pixel from those left and above it. */
function predictPixel(luma: Uint8Array, at: number, width: number): number {
  const column = at % width;
  const left = column > 0 ? (luma[at - 1] ?? 0) : (luma[at - width] ?? 0);
  const above = at >= width ? (luma[at - width] ?? 0) : left;
  const corner = column > 0 && at >= width ? (luma[at - width - 1] ?? 0) : above;
  if (corner >= Math.max(left, above)) return Math.min(left, above);
  if (corner <= Math.min(left, above)) return Math.max(left, above);
  return left + above - corner;
}
