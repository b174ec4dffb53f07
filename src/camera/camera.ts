import type { AgentError, ErrorCode } from '../base/errors.ts';

/** One encoded frame as the camera delivered it: JPEG, PNG or WebP bytes, not yet masked. */
export interface Frame {
  readonly bytes: Uint8Array;
  /** Wall clock when the frame was received, ms since 1970. */
  readonly capturedAtMs: number;
  /** Monotonic clock when the frame was received, ms. */
  readonly monoMs: number;
  /**
   * Time in the scene, ms after the start of the clip; only of clips whose scene does not run in real time. It then takes
   * the place of `monoMs` for the spacing of the frames.
   */
  readonly sceneMs?: number;
  /** The true waves in the image; only simulated cameras know them. */
  readonly truth?: SeaTruth;
  /** File name or position in a file, for replayed frames. */
  readonly origin?: string;
  /** A fault of the camera after the image was complete, such as a wrong length; the frame can be used. */
  readonly fault?: AgentError;
}

/** Ground truth of a simulated sea. */
export interface SeaTruth {
  /** Significant wave height of all wave trains together, metres. */
  readonly heightM: number;
  /** Peak period of the train with the most energy, seconds; 0 for a flat sea. */
  readonly periodS: number;
  /** The wave trains, the one with the most energy first. */
  readonly trains: readonly WaveTrainTruth[];
  /** Level of the water above its mean, metres. */
  readonly tideM: number;
  /** Share of the water in the image that is white, 0..1; only of a frame. */
  readonly white01?: number;
}

export interface WaveTrainTruth {
  /** Significant wave height of this train, metres. */
  readonly heightM: number;
  /** Peak period, seconds. */
  readonly periodS: number;
  /**
   * Mean direction of travel in deep water, degrees from straight to the shore: positive to the right of a person who
   * faces the sea.
   */
  readonly directionDeg: number;
}

export interface CaptureOptions {
  /** Frames of the burst, 1 or more. */
  readonly frames: number;
  /** Seconds between frames of the burst. */
  readonly intervalS: number;
  /** Longest wait for any one frame, seconds. */
  readonly timeoutS: number;
  /** From the moment it fires, a failed capture is not repeated: somebody waits for its outcome. Default: never. */
  readonly noRetry?: AbortSignal;
  /**
   * The frames are an even series for the wave period; another capture may run at the same time. A simulated camera then
   * draws small images of a scene that runs faster than real time, and a video file is read ahead: `intervalS` is time of
   * the scene, and the frames carry `sceneMs`. Default: false.
   */
  readonly isClip?: boolean;
}

/**
 * `capture` yields each frame as it arrives. It throws `AgentError` with a `camera_*` code when no further frame can
 * be captured; frames that it yielded before stay valid. When the caller leaves the loop early or aborts the signal,
 * all processes and sockets of the capture are released before the iterator ends. A camera may keep a connection open
 * between captures; `close` ends it. Captures that
 * run at the same time share one connection.
 */
export interface Camera {
  readonly id: string;
  capture(options: CaptureOptions, signal: AbortSignal): AsyncIterable<Frame>;
  close(): Promise<void>;
}

/** The failures of a camera. `camera_unknown` is a fault of a request. */
export type CameraErrorCode = Exclude<Extract<ErrorCode, `camera_${string}`>, 'camera_unknown'>;

/** Largest frame that a camera may deliver. */
export const MAX_FRAME_BYTES = 32 * 1024 * 1024;

const PNG_SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');

/** Finds the format of a frame by its first bytes, not by file name or HTTP header; null for other formats. */
export function detectImageType(bytes: Buffer): 'jpeg' | 'png' | 'webp' | null {
  if (bytes.length >= 3 && bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (bytes.subarray(0, 8).equals(PNG_SIGNATURE)) return 'png';
  if (bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP') return 'webp';
  return null;
}
