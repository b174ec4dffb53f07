import type { GreyColumns } from '../vision/protocol.ts';
import type { TimedSamples } from './resample.ts';

/** Bytes of the columns of one clip: of a long clip only its beginning is kept. */
const MAX_BYTES = 8 * 1024 * 1024;

/** Where the columns of a clip are in its frames. */
export interface ColumnPlace extends Pick<GreyColumns, 'firstRow' | 'frameWidth' | 'frameHeight'> {
  readonly columns: number;
  readonly rows: number;
}

/** Keeps columns of the frames of a clip at their full height: at most 8 MiB, whatever the duration. */
export class ColumnSampler {
  readonly #wantedHz: number;
  #place: ColumnPlace | null = null;
  #values = new Uint8Array(0);
  readonly #timesS: number[] = [];

  constructor({ fps }: { readonly fps: number }) {
    this.#wantedHz = fps;
  }

  /** Adds the columns of a frame, `timeS` after the first one. Leaves out what has another size, and what is too much. */
  add({ luma, width, height, ...place }: GreyColumns, timeS: number): void {
    if (!this.#place) {
      this.#place = { ...place, columns: width, rows: height };
      this.#values = new Uint8Array(MAX_BYTES);
    }
    const { columns, rows, frameWidth, frameHeight } = this.#place;
    const at = this.#timesS.length * luma.length;
    const isSameSize =
      columns === width &&
      rows === height &&
      frameWidth === place.frameWidth &&
      frameHeight === place.frameHeight;
    if (!isSameSize || at + luma.length > this.#values.length) return;
    this.#values.set(luma, at);
    this.#timesS.push(timeS);
  }

  get place(): ColumnPlace | null {
    return this.#place;
  }

  /** Null without a frame. */
  samples(): TimedSamples | null {
    if (!this.#place) return null;
    const { columns, rows } = this.#place;
    const values = this.#values.subarray(0, this.#timesS.length * columns * rows);
    return {
      columns,
      rows,
      cellAspect: null,
      wantedHz: this.#wantedHz,
      timesS: Float64Array.from(this.#timesS),
      values,
    };
  }
}
