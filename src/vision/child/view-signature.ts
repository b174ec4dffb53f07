import type { ViewSignature } from '../protocol.ts';
import { GATE } from './quality-signals.ts';

const WIDTH = 160;
const HEIGHT = 90;

/** Where each of `to` bins begins along an axis of `from` positions, and the end of the last. */
const edges = (from: number, to: number): Uint16Array =>
  Uint16Array.from({ length: to + 1 }, (_, at) => Math.ceil((at * from) / to));

/** The 512x288 luma of a masked frame as 160x90 means over whole pixels (three or four each way). */
export function viewSignature(luma: Uint8Array): ViewSignature {
  const columns = edges(GATE.width, WIDTH);
  const rows = edges(GATE.height, HEIGHT);
  const small = new Uint8Array(WIDTH * HEIGHT);
  const sums = new Uint16Array(WIDTH);
  for (let row = 0; row < HEIGHT; row++) {
    const top = rows[row] ?? 0;
    const bottom = rows[row + 1] ?? 0;
    sums.fill(0);
    for (let y = top; y < bottom; y++) {
      let i = y * GATE.width;
      for (let column = 0; column < WIDTH; column++) {
        let sum = sums[column] ?? 0;
        for (const end = y * GATE.width + (columns[column + 1] ?? 0); i < end; i++) sum += luma[i] ?? 0;
        sums[column] = sum;
      }
    }
    for (let column = 0; column < WIDTH; column++) {
      const pixels = (bottom - top) * ((columns[column + 1] ?? 0) - (columns[column] ?? 0));
      small[row * WIDTH + column] = Math.round((sums[column] ?? 0) / pixels);
    }
  }
  return { luma: small, width: WIDTH, height: HEIGHT };
}
