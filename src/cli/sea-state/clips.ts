import { ClipPictures, summariseFindings, type PictureFinding } from '../../sea-state/clip-pictures.ts';
import type { Layout, ShoreLine } from '../../sea-state/layout.ts';
import type { ClipFindings, PixelSeries } from '../../sea-state/types.ts';

export interface InputOptions {
  /** Frames per second at which the camera recorded; null: as the file states. */
  readonly fps: number | null;
  readonly isTimestack: boolean;
  /** Lines from which cells are taken; none: from the whole picture. Not of a time stack. */
  readonly lines: readonly ShoreLine[];
  /** Length of the windows into which long input is divided, seconds; null: 512 of frames, 2048 of a time stack. */
  readonly windowS: number | null;
  readonly signal: AbortSignal;
  readonly progress: (done: number, total: number) => void;
}

/** A part of the input. */
export interface Clip {
  /** Seconds after the start of the input. */
  readonly fromS: number;
  readonly series: PixelSeries;
  /** Null for a time stack. */
  readonly findings: ClipFindings | null;
}

/** Four segments at two samples per second: enough for an interval, short enough for a steady sea. */
export const DEFAULT_WINDOW_S = 512;

/** Collects samples of a grid and divides them into clips. */
export class ClipCollector {
  readonly #shape: Pick<PixelSeries, 'columns' | 'rows' | 'cellAspect' | 'rateHz'>;
  readonly #window: number;
  readonly #gapsOf: (fromS: number, toS: number) => Pick<PixelSeries, 'missing' | 'longestGapS'>;
  #parts: Uint8Array[] = [];
  readonly #findings: PictureFinding[] = [];
  #start = 0;

  /** `gapsOf` counts what the input lacks between two times. */
  constructor(
    { columns, rows, cellAspect, rateHz }: Pick<PixelSeries, 'columns' | 'rows' | 'cellAspect' | 'rateHz'>,
    windowS: number,
    gapsOf: (fromS: number, toS: number) => Pick<PixelSeries, 'missing' | 'longestGapS'>,
  ) {
    this.#shape = { columns, rows, cellAspect, rateHz };
    this.#window = Math.round(windowS * rateHz);
    this.#gapsOf = gapsOf;
  }

  /** Adds a sample. Returns a clip when its window is full; a window waits for the half of the next one. */
  add(sample: Uint8Array, finding: PictureFinding | null): Clip | null {
    this.#parts.push(sample);
    if (finding) this.#findings.push(finding);
    return this.#parts.length >= this.#window * 1.5 ? this.#take(this.#window) : null;
  }

  /** The last clip: up to one and a half windows, so that no short rest is left. Null when there is no sample. */
  end(): Clip | null {
    return this.#parts.length > 0 ? this.#take(this.#parts.length) : null;
  }

  #take(samples: number): Clip {
    const fromS = this.#start / this.#shape.rateHz;
    const values = Buffer.concat(this.#parts.splice(0, samples));
    this.#start += samples;
    const gaps = this.#gapsOf(fromS, fromS + samples / this.#shape.rateHz);
    const findings = this.#findings.splice(0, samples);
    return {
      fromS,
      series: { ...this.#shape, samples, values, ...gaps },
      findings: findings.length > 0 ? summariseFindings(findings) : null,
    };
  }
}

/** Yields a clip when its window is full, without the last one. Returns the number of samples; `total`: expected ones. */
export async function* collectClips(
  pictures: AsyncIterable<Buffer>,
  clips: ClipCollector,
  total: number,
  layout: Layout,
  { progress }: Pick<InputOptions, 'progress'>,
): AsyncGenerator<Clip, number, undefined> {
  const { width, height } = layout.size;
  const inspected = new ClipPictures();
  let samples = 0;
  for await (const picture of pictures) {
    samples += 1;
    progress(Math.min(samples, total), total);
    const finding = inspected.add({ luma: picture, width, height });
    const clip = clips.add(layout.cellsOf(picture, finding.shift), finding);
    if (clip) yield clip;
  }
  return samples;
}

export const NO_GAPS = { missing: 0, longestGapS: 0 } as const;
