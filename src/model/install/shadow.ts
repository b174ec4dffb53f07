import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { FrameOptions } from '../../vision/protocol.ts';
import { faultOf } from './faults.ts';
import type { ShadowOptions } from './types.ts';
import { compare, type Pair } from './shadow-report.ts';
import type { Candidate, LiveFrame, ModelHost, ShadowReport } from '../types.ts';

export interface ShadowDeps {
  readonly host: ModelHost;
  readonly clock: Clock;
  /** Told after each frame that both have answered. */
  readonly onFrame: (frames: number) => void;
}

export type ShadowDifference = Omit<ShadowReport, 'calibrations'>;

/**
 * Shows the candidate the next live frames and compares what both say of them. A live frame is never held up: those
 * that come while the candidate works are passed over, and so are those that the gate rejects, for no model sees them.
 *
 * Ends when enough frames were compared, or when patience is over. Rejects with `model_candidate_failed` at the first
 * frame that the serving model answered and the candidate did not: on probation one such failure would send it back.
 */
export async function shadow(
  candidate: Candidate,
  options: ShadowOptions,
  deps: ShadowDeps,
  signal: AbortSignal,
): Promise<ShadowDifference> {
  signal.throwIfAborted();
  const pairs: Pair[] = [];
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  const now: { failure: AgentError | null; working: Promise<void> | null } = { failure: null, working: null };

  const look = async (frame: LiveFrame): Promise<void> => {
    try {
      const result = await candidate.analyze(frame.bytes, plainOptions(frame.options), signal);
      pairs.push({ active: frame.result, candidate: result });
      deps.onFrame(pairs.length);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = asAgentError(thrown);
      if (faultOf(error) === 'none') return;
      now.failure = new AgentError('model_candidate_failed', `it failed on a live frame: ${error.message}`, {
        context: { code: error.code },
        cause: error,
      });
    }
  };
  const isOver = (): boolean => now.failure !== null || pairs.length >= options.frames;
  const stopListening = deps.host.onLiveFrame((frame) => {
    if (now.working !== null || until.aborted || frame.result.heads === null) return;
    now.working = look(frame).finally(() => {
      now.working = null;
      if (isOver()) over.abort();
    });
  });
  try {
    if (!isOver()) await deps.clock.sleep(options.patienceMs, until).catch(() => undefined);
  } finally {
    over.abort();
    stopListening();
  }
  // The frame in hand still tells something; the process of the candidate bounds its time.
  await now.working;
  signal.throwIfAborted();
  if (now.failure !== null) throw now.failure;
  return { ...compare(pairs), failures: 0 };
}

/** The comparison needs no picture, and never goes before other frames. */
function plainOptions({ roi, privacyMasks }: FrameOptions): FrameOptions {
  return { roi, privacyMasks, priority: 'request' };
}
