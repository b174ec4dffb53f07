import type { AgentError } from '../base/errors.ts';
import type { Frame } from './camera.ts';

/** Something that keeps sending pictures until it ends: a running ffmpeg, an open MJPEG response. */
export interface FrameSource {
  /**
   * The first frame that arrived at `notBeforeMs` (monotonic) or later; frames in between are dropped.
   * Rejects with an `AgentError` when the source has ended, with the signal's reason when that fires.
   */
  next(notBeforeMs: number, signal: AbortSignal): Promise<Frame>;
  /** What to say when no frame came in time. */
  overdue(timeoutS: number): AgentError;
  /** Arrival of the newest frame, monotonic ms; null before the first. */
  readonly lastMonoMs: number | null;
  readonly ended: boolean;
  /** Ends it for sure. Idempotent. */
  close(): Promise<void>;
}
