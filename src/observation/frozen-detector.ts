import { mean } from '../base/statistics.ts';
import type { ViewSignature } from '../vision/protocol.ts';

export interface FrozenOptions {
  /** Bursts in a row that must show the same picture, 2 or more. */
  readonly bursts: number;
  /** Time that they must span, ms: within seconds a calm sea may look the same. */
  readonly minSpanMs: number;
}

/** `unknown`: too dark or too foggy to tell. */
export type FrozenVerdict = 'moving' | 'frozen' | 'unknown';

/**
 * Two pictures are one and the same if 98% of their 160x90 luma means differ by no more than this, brightness as a
 * whole aside. Measured on 404 pairs of real beach frames 75 to 100 s apart: at least 6.3 (fog included); on frames
 * encoded again at JPEG quality 60 to 95 with sensor noise of up to 5 grey levels: at most 2.1. The two per cent
 * leave room for a clock that the camera paints into a frozen picture.
 */
const SAME_LUMA = 3.6;
const SHARE = 0.98;
/** Largest difference of two bytes. */
const MAX_LUMA = 255;
/** Below this mean luma a picture is mostly sensor noise around static lights: nothing can be said. */
const DARK_LUMA = 50;
/** Mean difference of neighbouring cells below this is fog or a covered lens (the foggiest real frame has 0.37). */
const PLAIN_LUMA = 0.3;

/** Tells from one view signature a burst, and monotonic times, whether a camera shows one picture for ever. */
export class FrozenDetector {
  readonly #options: FrozenOptions;
  #anchor: { readonly view: ViewSignature; readonly monoMs: number } | null = null;
  #same = 0;

  constructor(options: FrozenOptions) {
    this.#options = options;
  }

  /** Takes one signature of each burst, in order. */
  add(view: ViewSignature, monoMs: number): FrozenVerdict {
    if (!isTelling(view)) {
      this.#anchor = null;
      return 'unknown';
    }
    if (this.#anchor === null || signatureDistance(this.#anchor.view, view) > SAME_LUMA) {
      this.#anchor = { view, monoMs };
      this.#same = 1;
      return 'moving';
    }
    this.#same += 1;
    const { bursts, minSpanMs } = this.#options;
    return this.#same >= bursts && monoMs - this.#anchor.monoMs >= minSpanMs ? 'frozen' : 'moving';
  }
}

/** Grey levels that 98% of the cells stay within, after the mean difference is taken out; Infinity for other sizes. */
export function signatureDistance(a: ViewSignature, b: ViewSignature): number {
  const cells = a.luma.length;
  if (a.width !== b.width || a.height !== b.height || cells !== b.luma.length) return Infinity;
  // Differences are whole numbers: counted instead of sorted, which costs a tenth and is just as exact.
  const counts = new Uint32Array(2 * MAX_LUMA + 1);
  let sum = 0;
  for (let i = 0; i < cells; i++) {
    const difference = (a.luma[i] ?? 0) - (b.luma[i] ?? 0);
    sum += difference;
    counts[difference + MAX_LUMA] = (counts[difference + MAX_LUMA] ?? 0) + 1;
  }
  const offset = sum / Math.max(1, cells);
  let below = Math.floor(offset);
  let above = below + 1;
  let distance = 0;
  for (let within = 0; within <= Math.floor(cells * SHARE) && above - below <= 4 * MAX_LUMA;) {
    const isBelow = offset - below <= above - offset;
    const difference = isBelow ? below-- : above++;
    const here = counts[difference + MAX_LUMA] ?? 0;
    if (here > 0) distance = Math.abs(difference - offset);
    within += here;
  }
  return distance;
}

/** Bright and structured enough that a living picture would differ from the one before. */
function isTelling({ luma, width }: ViewSignature): boolean {
  if ((mean(luma) ?? 0) < DARK_LUMA) return false;
  let steps = 0;
  for (let at = 1; at < luma.length; at += 1)
    if (at % width !== 0) steps += Math.abs((luma[at] ?? 0) - (luma[at - 1] ?? 0));
  return steps / Math.max(1, luma.length) >= PLAIN_LUMA;
}
