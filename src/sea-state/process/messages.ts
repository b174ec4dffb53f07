import type { SeaStatePicture } from '../../contract/sea-state.ts';
import type { ClipSamples, TimedSamples } from '../resample.ts';
import type { TimeStack } from '../time-stack.ts';
import type { BreakerFace, SeaStateEstimate } from '../types.ts';

/** What is drawn of a clip. */
export interface FigureData extends Pick<SeaStateEstimate, 'period' | 'spectrum'> {
  readonly title: string;
  /** One line below the title. */
  readonly caption: string;
  /** Time at the left end of the time stack, seconds. */
  readonly fromS: number;
  readonly stack: TimeStack;
}

/** A job for the process. The grey values of samples follow on its standard input. */
export type Job =
  | {
      readonly type: 'measure';
      readonly samples: Omit<ClipSamples, 'values'>;
      /** Columns of the frames; their grey values follow those of the samples. Null without geometry. */
      readonly columns: Omit<TimedSamples, 'values'> | null;
    }
  | { readonly type: 'draw'; readonly figure: SeaStatePicture; readonly data: FigureData };

export interface Measured {
  readonly estimate: SeaStateEstimate;
  readonly stack: TimeStack;
  /** Faces of breaking waves in the columns, and their samples per second; null without columns or period. */
  readonly breakers: { readonly faces: readonly BreakerFace[]; readonly rateHz: number } | null;
  /** Samples that no frame gave. */
  readonly missing: number;
  /** Processor time of the estimate, ms. */
  readonly cpuMs: number;
}

export type Reply =
  | { readonly type: 'measured'; readonly measured: Measured }
  | { readonly type: 'drawn'; readonly png: Uint8Array };
