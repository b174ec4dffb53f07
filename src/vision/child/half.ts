/** IEEE 754 binary16, for runtimes without `Float16Array` (Node 22). */

/** Rounds to nearest, ties to even; overflow becomes infinity. */
export function toHalf(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] ?? 0;
    const sign = (word >>> 16) & 0x8000;
    const magnitude = word & 0x7fffffff;
    if (magnitude > 0x7f800000) {
      halves[i] = sign | 0x7e00;
    } else if (magnitude >= 0x47800000) {
      halves[i] = sign | 0x7c00;
    } else if (magnitude < 0x38800000) {
      // Subnormal: a count of 2^-24; a carry into 0x400 is the smallest normal half, as it should be.
      halves[i] = sign | Math.round(Math.abs(values[i] ?? 0) * 2 ** 24);
    } else {
      const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
      halves[i] = sign | ((rounded - 0x38000000) >>> 13);
    }
  }
  return halves;
}

/** Exact: every half is a float. */
export function fromHalf(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i] ?? 0;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >>> 10) & 0x1f;
    const mantissa = half & 0x3ff;
    if (exponent === 0) values[i] = sign * mantissa * 2 ** -24;
    else if (exponent === 31) values[i] = mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else values[i] = sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
  }
  return values;
}
