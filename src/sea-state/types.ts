/**
 * Grey values of a grid of cells at even times. A cell is the mean of a rectangle of the picture. The columns of the
 * grid run from the sea to the shore: they are columns of the picture, lines that a person has drawn, or the one line
 * of a time stack.
 */
export interface PixelSeries {
  /** Samples per second, Hz. */
  readonly rateHz: number;
  readonly samples: number;
  readonly columns: number;
  readonly rows: number;
  /** Grey values, 0..255, sample after sample, each row by row: `[samples, rows, columns]`. */
  readonly values: Uint8Array;
  /** Samples that no frame gave and that were interpolated. */
  readonly missing: number;
  /** Longest time without a frame, seconds. */
  readonly longestGapS: number;
}

/** Why a clip gives no period. */
export type SeaStateReason =
  /** Shorter than `MIN_DURATION_S`. */
  | 'too_short'
  /** Fewer frames per second than the shortest wave needs. */
  | 'too_few_frames'
  /** Too many samples without a frame, or one time without frames that is too long. */
  | 'gaps'
  | 'dark'
  /** All frames are equal. */
  | 'frozen'
  /** The same part of a film is played again and again. */
  | 'repeated'
  /** Nothing in the picture moves in the band of wave periods. */
  | 'no_water'
  | 'no_peak'
  /** Neighbouring cells do not show the same waves. */
  | 'incoherent'
  /** Waves do not travel towards the shore: the order of the frames or the line is reversed, or these are no waves. */
  | 'seaward';

export interface PeriodEstimate {
  /** Peak period, seconds: centre of the energy of the dominant wave train. */
  readonly peakS: number;
  /** Interval of the peak period, seconds. */
  readonly lowS: number;
  readonly highS: number;
  /** Nominal coverage of the interval, 0..1. */
  readonly coverage: number;
  /** Energy period (spectral moments m-1 / m0) over the whole band, seconds. */
  readonly energyS: number;
  /** Peak period of a second wave train, seconds; null when there is none. */
  readonly secondS: number | null;
  /** Coherence of neighbouring cells at the peak, 0..1. */
  readonly coherence: number;
  /** Spectrum at the peak divided by its background. */
  readonly snr: number;
}

export interface Spectrum {
  readonly frequenciesHz: Float64Array;
  /** Median over the cells of their spectra, each divided by its own energy in the wave band. */
  readonly density: Float64Array;
  /** The part of `density` that is not of a wave train. */
  readonly background: Float64Array;
}

export interface SeaStateEstimate {
  readonly durationS: number;
  readonly reasons: readonly SeaStateReason[];
  /** Null when `reasons` is not empty. */
  readonly period: PeriodEstimate | null;
  /** Direction of travel in the picture: 0 up, 90 right, 180 down; null when unknown or when the grid is one line. */
  readonly travelDeg: number | null;
  /** Share of the energy at the peak that travels towards the shore, 0..1; null when unknown. */
  readonly shoreward: number | null;
  /** Indices of the cells that were used. */
  readonly cells: readonly number[];
  /** Null when the clip was refused before its spectrum was computed. */
  readonly spectrum: Spectrum | null;
}
