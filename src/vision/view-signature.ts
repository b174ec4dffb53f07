import type { ViewSignature } from './protocol.ts';
import { GATE } from './quality-signals.ts';

const WIDTH = 160;
const HEIGHT = 90;

/** The 512x288 luma of a masked frame as 160x90 means over whole pixels. */
export function viewSignature(luma: Uint8Array): ViewSignature {
  const small = new Uint8Array(WIDTH * HEIGHT);
  for (let y = 0, at = 0; y < HEIGHT; y++) {
    const top = Math.floor((y * GATE.height) / HEIGHT);
    const bottom = Math.floor(((y + 1) * GATE.height) / HEIGHT);
    for (let x = 0; x < WIDTH; x++, at++) {
      const left = Math.floor((x * GATE.width) / WIDTH);
      const right = Math.floor(((x + 1) * GATE.width) / WIDTH);
      let sum = 0;
      for (let row = top; row < bottom; row++) {
        for (let i = row * GATE.width + left; i < row * GATE.width + right; i++) sum += luma[i] ?? 0;
      }
      small[at] = Math.round(sum / ((bottom - top) * (right - left)));
    }
  }
  return { luma: small, width: WIDTH, height: HEIGHT };
}
