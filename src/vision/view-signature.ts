import type { ViewSignature } from './protocol.ts';
import { GATE } from './quality-signals.ts';

const WIDTH = 160;
const HEIGHT = 90;

/** For each of `from` positions along an axis, the one of `to` that it falls into. */
const bins = (from: number, to: number): Uint8Array =>
  Uint8Array.from({ length: from }, (_, at) => Math.floor((at * to) / from));

/** The 512x288 luma of a masked frame as 160x90 means over whole pixels (three or four each way). */
export function viewSignature(luma: Uint8Array): ViewSignature {
  const columns = bins(GATE.width, WIDTH);
  const rows = bins(GATE.height, HEIGHT);
  const sums = new Uint16Array(WIDTH * HEIGHT);
  const counts = new Uint8Array(WIDTH * HEIGHT);
  for (let y = 0, i = 0; y < GATE.height; y++) {
    const row = (rows[y] ?? 0) * WIDTH;
    for (let x = 0; x < GATE.width; x++, i++) {
      const at = row + (columns[x] ?? 0);
      sums[at] = (sums[at] ?? 0) + (luma[i] ?? 0);
      counts[at] = (counts[at] ?? 0) + 1;
    }
  }
  const small = new Uint8Array(WIDTH * HEIGHT);
  for (let at = 0; at < small.length; at++) small[at] = Math.round((sums[at] ?? 0) / (counts[at] ?? 1));
  return { luma: small, width: WIDTH, height: HEIGHT };
}
