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
  /** Width of a cell divided by its height in the picture; null when the columns are lines. */
  readonly cellAspect: number | null;
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
  /** The camera moved during the clip. */
  | 'view_changed'
  /** Most pictures have this fault, and no waves can be measured in spite of it. */
  | 'fog'
  | 'glare'
  | 'obstructed'
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
  /** A second wave train; null when there is none. */
  readonly second: SecondTrain | null;
  /** Coherence of neighbouring cells at the peak, 0..1. */
  readonly coherence: number;
  /** Spectrum at the peak divided by its background. */
  readonly snr: number;
}

export interface SecondTrain {
  /** Peak period, seconds. */
  readonly peakS: number;
  /** Interval of the peak period, seconds; null when too few replicates of the bootstrap show this train. */
  readonly interval: { readonly lowS: number; readonly highS: number } | null;
  /** Its energy divided by that of the dominant train, 0..1. */
  readonly energyShare: number;
}

/** How the waves break. */
export interface Breaking {
  /** Mean share of the picture, or of the lines, that white water covers, 0..1. */
  readonly whiteShare: number;
  /** Breaking fronts that pass a point on the way to the shore, per minute; null when they cannot be told apart. */
  readonly perMinute: number | null;
  /** Number of sets in the clip; null when they cannot be separated. */
  readonly sets: number | null;
  /** Mean time between the middles of two sets, seconds; null when they cannot be separated. */
  readonly setIntervalS: number | null;
}

/** What makes a measured period less certain. */
export type SeaStateWarning =
  /** The second wave train has nearly the energy of the first: which of them dominates may be chance. */
  | 'similar_trains'
  /** The pictures have no static part by which they can be registered: sway of the camera is not corrected. */
  | 'unregistered';

/** What the pictures of a clip say about it. */
export interface ClipFindings {
  /** Faults of most of the pictures. */
  readonly faults: readonly ('fog' | 'glare' | 'obstructed')[];
  readonly hasMoved: boolean;
  /** False when most of the pictures have no static part. */
  readonly isRegistered: boolean;
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
  readonly warnings: readonly SeaStateWarning[];
  /** Null when `reasons` is not empty. */
  readonly breaking: Breaking | null;
  /** Direction of travel in the picture: 0 up, 90 right, 180 down; null when unknown or when the grid is one line. */
  readonly travelDeg: number | null;
  /** Share of the energy at the peak that travels towards the shore, 0..1; null when unknown. */
  readonly shoreward: number | null;
  /** Indices of the cells that were used. */
  readonly cells: readonly number[];
  /** Null when the clip was refused before its spectrum was computed. */
  readonly spectrum: Spectrum | null;
}

/** The face of a breaking wave in one column of the picture when it turns white. */
export interface BreakerFace {
  readonly column: number;
  readonly sample: number;
  /** First white row; the rows run from the sea to the shore. */
  readonly crestRow: number;
  /** Last white row of the face, its toe, in this sample and in those that follow. */
  readonly toeRows: readonly number[];
  /** Faces with the same number belong to one crest. */
  readonly crest: number;
}
