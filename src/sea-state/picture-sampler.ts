import type { Polygon } from '../config/schema.ts';
import type { GreyPicture } from '../vision/protocol.ts';
import { ClipPictures, summariseFindings, type PictureFinding } from './clip-pictures.ts';
import { layoutOf, type Layout, type ShoreLine } from './layout.ts';
import type { ClipSamples } from './resample.ts';

export interface SamplerOptions {
  /** Frames per second that are wanted. */
  readonly fps: number;
  readonly durationS: number;
  /** None: a grid over the picture. */
  readonly lines: readonly ShoreLine[];
  /** The grid keeps only this part of the picture; null: all of it. */
  readonly region: Polygon | null;
}

/** Bytes of the samples of one clip: a long and fast clip keeps fewer of its frames. */
const MAX_BYTES = 24 * 1024 * 1024;
/** Frames that follow each other faster than this share of the wanted interval are left out. */
const MIN_STEP_SHARE = 0.7;

/** Keeps lines or a coarse grid of cells of the pictures of a clip: at most 24 MiB, whatever the duration. */
export class PictureSampler {
  readonly #options: SamplerOptions;
  #size: Pick<GreyPicture, 'width' | 'height'> | null = null;
  #layout: Layout | null = null;
  #isInside: Uint8Array | null = null;
  #rateHz: number;
  #values = new Uint8Array(0);
  #first: Uint8Array | null = null;
  readonly #timesS: number[] = [];
  readonly #pictures = new ClipPictures();
  readonly #findings: PictureFinding[] = [];
  #startMs = 0;

  constructor(options: SamplerOptions) {
    this.#options = options;
    this.#rateHz = options.fps;
  }

  /**
   * Adds a picture that was taken at `atMs`. Returns false when it was left out: it has another size than the first one, or
   * comes too soon after the one before, or there are too many.
   */
  add(picture: GreyPicture, atMs: number): boolean {
    const { width, height, luma } = picture;
    this.#layout ??= this.#start(picture, atMs);
    const cells = this.#layout.columns * this.#layout.rows;
    const at = this.#timesS.length * cells;
    const timeS = (atMs - this.#startMs) / 1000;
    const isSameSize = this.#size?.width === width && this.#size.height === height;
    const isTooSoon = timeS < (this.#timesS.at(-1) ?? -1) + MIN_STEP_SHARE / this.#rateHz;
    if (!isSameSize || isTooSoon || at + cells > this.#values.length) return false;
    const finding = this.#pictures.add(picture);
    this.#findings.push(finding);
    const sample = this.#layout.cellsOf(luma, finding.shift);
    this.#first ??= sample;
    this.#values.set(sample, at);
    if (this.#isInside)
      for (const [cell, isInside] of this.#isInside.entries())
        if (isInside === 0) this.#values[at + cell] = this.#first[cell] ?? 0;
    this.#timesS.push(timeS);
    return true;
  }

  #start(picture: GreyPicture, atMs: number): Layout {
    const { fps, durationS, lines, region } = this.#options;
    const { width, height } = picture;
    this.#size = { width, height };
    this.#startMs = atMs;
    const layout = layoutOf(this.#size, lines);
    const cells = layout.columns * layout.rows;
    const wanted = Math.ceil(durationS * fps) + 1;
    this.#rateHz = fps / Math.ceil((wanted * cells) / MAX_BYTES);
    if (region && lines.length === 0) this.#isInside = cellsInside(region, layout);
    // The system gives the memory only when it is written. A camera may give a few more frames than wanted.
    this.#values = new Uint8Array(Math.min(MAX_BYTES, Math.ceil(1.1 * wanted) * cells));
    return layout;
  }

  get frames(): number {
    return this.#timesS.length;
  }

  /** From the first to the newest picture, seconds. */
  get durationS(): number {
    return this.#timesS.at(-1) ?? 0;
  }

  samples(): ClipSamples {
    const { columns = 1, rows = 1, cellAspect = null } = this.#layout ?? {};
    const values = this.#values.subarray(0, this.#timesS.length * columns * rows);
    return {
      columns,
      rows,
      cellAspect,
      wantedHz: this.#rateHz,
      findings: summariseFindings(this.#findings),
      timesS: Float64Array.from(this.#timesS),
      values,
    };
  }
}

/** 1 for each cell whose centre is in the region. Other cells keep their first value, as if nothing moved there. */
function cellsInside(region: Polygon, { columns, rows }: Pick<Layout, 'columns' | 'rows'>): Uint8Array {
  return Uint8Array.from({ length: columns * rows }, (_, cell) => {
    const x = ((cell % columns) + 0.5) / columns;
    const y = (Math.floor(cell / columns) + 0.5) / rows;
    return contains(region, x, y) ? 1 : 0;
  });
}

/** The even-odd rule. */
function contains(polygon: Polygon, x: number, y: number): boolean {
  let isInside = false;
  let previous = polygon.at(-1);
  for (const corner of polygon) {
    if (previous === undefined) return false;
    const [x0, y0] = previous;
    const [x1, y1] = corner;
    if (y0 <= y !== y1 <= y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) isInside = !isInside;
    previous = corner;
  }
  return isInside;
}
