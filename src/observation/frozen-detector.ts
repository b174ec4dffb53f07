import { mean } from '../base/statistics.ts';
import type { ViewSignature } from '../vision/protocol.ts';
import type { Burst } from './burst.ts';

export interface FrozenOptions {
  /** Consecutive bursts that must show the same image, 2 or more. */
  readonly bursts: number;
  /** Time that these bursts must span: a calm sea may look the same for seconds. */
  readonly minSpanMs: number;
}

/** `unknown`: the image is too dark or too foggy. */
export type FrozenVerdict = 'moving' | 'frozen' | 'unknown';

/**
 * Two images are the same if 98% of their 160x90 luma means differ by at most this, after subtraction of the mean
 * difference. Measured on 404 pairs of real beach frames 75 to 100 s apart: at least 6.3 (including fog). Measured on
 * frames encoded again at JPEG quality 60 to 95 with sensor noise of up to 5 grey levels: at most 2.1. The remaining 2%
 * allow for a clock that the camera draws into a frozen image.
 */
const MAX_SAME_LUMA = 3.6;
const COMPARED_SHARE = 0.98;
/** Largest difference of two bytes. */
const MAX_LUMA = 255;
/** Below this mean luma an image is mostly sensor noise and static lights. */
const MIN_MEAN_LUMA = 50;
/** A mean difference of neighbouring cells below this is fog or a covered lens (the foggiest real frame has 0.37). */
const MIN_CONTRAST_LUMA = 0.3;

/** Detects a camera that sends the same image again and again, from one view signature per burst. */
export class FrozenDetector {
  readonly #options: FrozenOptions;
  #first: { readonly view: ViewSignature; readonly monoMs: number } | null = null;
  #sameBursts = 0;

  constructor(options: FrozenOptions) {
    this.#options = options;
  }

  /** Adds a burst. Returns whether the camera is frozen; null when that is unknown. */
  check({ results, frames }: Pick<Burst, 'results' | 'frames'>): boolean | null {
    const last = results.at(-1);
    const frame = frames.at(-1);
    if (!last || !frame) return null;
    const verdict = this.add(last.view, frame.monoMs);
    return verdict === 'unknown' ? null : verdict === 'frozen';
  }

  /** Adds one signature of each burst, in order, with its monotonic time. */
  add(view: ViewSignature, monoMs: number): FrozenVerdict {
    if (!hasStructure(view)) {
      this.#first = null;
      return 'unknown';
    }
    if (this.#first === null || signatureDistance(this.#first.view, view) > MAX_SAME_LUMA) {
      this.#first = { view, monoMs };
      this.#sameBursts = 1;
      return 'moving';
    }
    this.#sameBursts += 1;
    const { bursts, minSpanMs } = this.#options;
    return this.#sameBursts >= bursts && monoMs - this.#first.monoMs >= minSpanMs ? 'frozen' : 'moving';
  }
}

/**
 * Largest luma difference among the 98% of the cells that differ least, after subtraction of the mean difference.
 * Infinity for different sizes.
 */
export function signatureDistance(a: ViewSignature, b: ViewSignature): number {
  const cells = a.luma.length;
  if (a.width !== b.width || a.height !== b.height || cells !== b.luma.length) return Infinity;
  // Differences are integers: counting them is as exact as sorting and takes a tenth of the time.
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
  for (let counted = 0; counted <= Math.floor(cells * COMPARED_SHARE) && above - below <= 4 * MAX_LUMA;) {
    const isBelow = offset - below <= above - offset;
    const difference = isBelow ? below-- : above++;
    const here = counts[difference + MAX_LUMA] ?? 0;
    if (here > 0) distance = Math.abs(difference - offset);
    counted += here;
  }
  return distance;
}

/** True when the image is bright and structured enough that a live image would differ from the one before. */
function hasStructure({ luma, width }: ViewSignature): boolean {
  if ((mean(luma) ?? 0) < MIN_MEAN_LUMA) return false;
  let steps = 0;
  for (let at = 1; at < luma.length; at += 1)
    if (at % width !== 0) steps += Math.abs((luma[at] ?? 0) - (luma[at - 1] ?? 0));
  return steps / Math.max(1, luma.length) >= MIN_CONTRAST_LUMA;
}
