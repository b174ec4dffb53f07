import type { ErrorCode } from '../base/errors.ts';

/** One encoded picture as it came from the camera: JPEG, PNG or WebP bytes, not yet masked. */
export interface Frame {
  readonly bytes: Uint8Array;
  /** Wall clock when the frame was received, ms since 1970. */
  readonly capturedAtMs: number;
  /** Monotonic clock at the same moment. */
  readonly monoMs: number;
  /** Known truth, from a simulated camera only. */
  readonly truth?: SeaTruth;
  /** File name or other origin, for replayed frames. */
  readonly origin?: string;
}

/** What a simulated sea knows of itself. */
export interface SeaTruth {
  /** Significant wave height, metres. */
  readonly heightM: number;
  /** Peak period, seconds. */
  readonly periodS: number;
}

export interface CaptureOptions {
  /** Frames wanted, 1 or more. */
  readonly frames: number;
  /** Seconds between frames of the burst. */
  readonly intervalS: number;
  /** Progress deadline: longest wait for any one frame, seconds. */
  readonly timeoutS: number;
}

/**
 * The port. `capture` yields each frame as it arrives and throws `AgentError` with a `camera_*` code when no
 * further frame can be had; frames that were yielded before stay good. Leaving the loop early or aborting the
 * signal releases everything that the capture holds (processes, sockets) before the iterator settles.
 * A camera may keep a connection open between captures; `close` ends it for sure.
 */
export interface Camera {
  readonly id: string;
  capture(options: CaptureOptions, signal: AbortSignal): AsyncIterable<Frame>;
  close(): Promise<void>;
}

export type CameraErrorCode = Extract<ErrorCode, `camera_${string}`>;
