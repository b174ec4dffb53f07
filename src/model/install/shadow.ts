import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { mean, median } from '../../base/statistics.ts';
import type { FrameOptions, FrameResult } from '../../vision/protocol.ts';
import { classifyFrameFailure } from './failures.ts';
import type { ShadowOptions } from './types.ts';
import type { Candidate, LiveFrame, ModelHost, ShadowReport } from '../types.ts';

export interface ShadowDeps {
  readonly host: ModelHost;
  readonly clock: Clock;
  /** Called with the number of compared frames after each of them. */
  readonly onFrame: (frames: number) => void;
}

export type ShadowComparison = Omit<ShadowReport, 'calibrations'>;

/** The results of both models for the same live frame. */
interface FramePair {
  readonly active: FrameResult;
  readonly candidate: FrameResult;
}

/**
 * Gives the next live frames also to the candidate (the model to be installed), and compares its results with those of
 * the serving model. Never delays a live frame: skips frames that arrive while the candidate is busy, and frames that
 * the quality gate rejects.
 *
 * Ends after `options.frames` frames or after `options.patienceMs`. Rejects with `model_candidate_failed` at the first
 * frame that the candidate fails on and the serving model does not, because one such failure on probation would roll
 * the install back.
 */
export async function compareOnLiveFrames(
  candidate: Candidate,
  options: ShadowOptions,
  deps: ShadowDeps,
  signal: AbortSignal,
): Promise<ShadowComparison> {
  signal.throwIfAborted();
  const pairs: FramePair[] = [];
  const finished = new AbortController();
  const until = AbortSignal.any([signal, finished.signal]);
  const progress: { failure: AgentError | null; analysis: Promise<void> | null } = {
    failure: null,
    analysis: null,
  };

  const analyze = async (frame: LiveFrame): Promise<void> => {
    try {
      const result = await candidate.analyze(frame.bytes, withoutPreview(frame.options), signal);
      pairs.push({ active: frame.result, candidate: result });
      deps.onFrame(pairs.length);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = asAgentError(thrown);
      if (classifyFrameFailure(error) === 'ignored') return;
      progress.failure = new AgentError(
        'model_candidate_failed',
        `the candidate failed on a live frame: ${error.message}`,
        { context: { code: error.code }, cause: error },
      );
    }
  };
  const isFinished = (): boolean => progress.failure !== null || pairs.length >= options.frames;
  const stopListening = deps.host.onLiveFrame((frame) => {
    if (progress.analysis !== null || until.aborted || frame.result.heads === null) return;
    progress.analysis = analyze(frame).finally(() => {
      progress.analysis = null;
      if (isFinished()) finished.abort();
    });
  });
  try {
    if (!isFinished()) await deps.clock.sleep(options.patienceMs, until).catch(() => undefined);
  } finally {
    finished.abort();
    stopListening();
  }
  // Wait for the last frame, which still counts. The timeout of the candidate limits this wait.
  await progress.analysis;
  signal.throwIfAborted();
  if (progress.failure !== null) throw progress.failure;
  return comparePairs(pairs);
}

/** The options without the preview image, which the comparison does not need and which would delay other frames. */
const withoutPreview = ({ roi, privacyMasks }: FrameOptions): FrameOptions => ({
  roi,
  privacyMasks,
  priority: 'request',
});

function comparePairs(pairs: readonly FramePair[]): ShadowComparison {
  const heightDifferencesM = pairs.flatMap(({ active, candidate }) => {
    const before = active.heads?.waveHeight?.heightM;
    const after = candidate.heads?.waveHeight?.heightM;
    return before === undefined || after === undefined ? [] : [after - before];
  });
  return {
    frames: pairs.length,
    activeP50Ms: median(pairs.map(({ active }) => active.timingMs.inference)),
    candidateP50Ms: median(pairs.map(({ candidate }) => candidate.timingMs.inference)),
    heightMeanDifferenceM: mean(heightDifferencesM),
    heightMaxDifferenceM:
      heightDifferencesM.length === 0 ? null : Math.max(...heightDifferencesM.map(Math.abs)),
    directionDiffers01: differingShare(pairs, (result) => result.heads?.waveDirection?.label),
    breakingDiffers01: differingShare(pairs, (result) => result.heads?.breakingType?.label),
    failures: 0,
  };
}

function differingShare(
  pairs: readonly FramePair[],
  labelOf: (result: FrameResult) => string | undefined,
): number | null {
  return mean(
    pairs.flatMap(({ active, candidate }) => {
      const [before, after] = [labelOf(active), labelOf(candidate)];
      return before === undefined || after === undefined ? [] : [before === after ? 0 : 1];
    }),
  );
}
