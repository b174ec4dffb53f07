import type { Camera as CameraSettings } from '../config/schema.ts';
import type { Camera, Frame } from '../camera/camera.ts';
import type { Clock } from '../base/clock.ts';
import { REASONS, type Reason } from '../contract/observation.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { FrameResult, ModelLease, ViewSignature } from '../vision/protocol.ts';

/** One analysed burst, from which the record is built. */
export interface Burst {
  /** Each frame without its bytes, which are released when they are analysed. */
  readonly frames: readonly Omit<Frame, 'bytes'>[];
  /** The newest frame, with its bytes. */
  readonly lastFrame: Frame | null;
  /** Results of the frames that could be decoded, in the order of capture. */
  readonly results: readonly FrameResult[];
  /** Failures of the camera and of the analysis, in the order in which they happened. */
  readonly failures: readonly AgentError[];
  /** Faults of the camera that came with usable frames, in the order in which they happened. */
  readonly frameFaults: readonly AgentError[];
  /** Set when the camera delivered fewer frames than requested. */
  readonly cameraFailure: AgentError | null;
  readonly captureMs: number;
  readonly totalMs: number;
}

/** Frames of one burst that may be in memory, being analysed or waiting. */
const MAX_PENDING_FRAMES = 3;

/**
 * Captures one burst and analyses each frame while the camera takes the next one. Failures of the camera and of the
 * analysis are values in the result. Rejects only when the signal aborts.
 */
export async function observeBurst(
  settings: CameraSettings,
  deps: {
    readonly camera: Camera;
    readonly vision: Pick<ModelLease, 'analyze'>;
    readonly clock: Clock;
  },
  signal: AbortSignal,
  noRetry?: AbortSignal,
): Promise<Burst> {
  const { camera, vision, clock } = deps;
  const startedMs = clock.monoMs();
  const frames: Omit<Frame, 'bytes'>[] = [];
  let lastFrame: Frame | null = null;
  const analyses: Promise<FrameResult | AgentError>[] = [];
  const frameFaults: AgentError[] = [];
  let cameraFailure: AgentError | null = null;
  try {
    const retry = noRetry ? { noRetry } : {};
    const capture = { ...settings.burst, timeoutS: settings.timeoutS, ...retry };
    for await (const frame of camera.capture(capture, signal)) {
      const { bytes, fault, ...moment } = frame;
      frames.push(moment);
      if (fault) frameFaults.push(fault);
      lastFrame = frame;
      const options = {
        roi: settings.roi,
        privacyMasks: settings.privacyMasks,
        priority: 'schedule' as const,
        source: `camera ${settings.id}`,
      };
      analyses.push(vision.analyze(bytes, options, signal).catch(asAgentError));
      // Each encoded frame takes megabytes of memory: a camera that is faster than the model waits.
      if (analyses.length >= MAX_PENDING_FRAMES) await analyses.at(-MAX_PENDING_FRAMES);
    }
  } catch (error) {
    cameraFailure = asAgentError(error);
  }
  const captureMs = clock.monoMs() - startedMs;
  const outcomes = await Promise.all(analyses);
  signal.throwIfAborted();
  if (frames.length === 0)
    cameraFailure ??= new AgentError('camera_no_frame', 'the camera delivered no frame');
  const results = outcomes.filter((outcome): outcome is FrameResult => !(outcome instanceof AgentError));
  const failures = outcomes.filter((outcome) => outcome instanceof AgentError);
  if (cameraFailure) failures.unshift(cameraFailure);
  return {
    frames,
    lastFrame,
    results,
    failures,
    frameFaults,
    cameraFailure,
    captureMs,
    totalMs: clock.monoMs() - startedMs,
  };
}

/** The reason in a record for a failure: its code if the contract knows that, else `internal`. */
export function observationReason(failure: AgentError): Reason {
  return REASONS.find((reason) => reason === failure.code) ?? 'internal';
}

/** Results of the frames that passed the quality gate and the model. */
export function usedResults(burst: Burst): readonly FrameResult[] {
  return burst.results.filter(isUsed);
}

/** True when the frame passed the quality gate and the model. */
export const isUsed = (result: FrameResult | undefined): boolean =>
  result !== undefined && result.heads !== null && result.quality.reasons.length === 0;

/** Mean embedding of the frames; null when the model gives none. */
export function meanEmbedding(used: readonly FrameResult[]): Float32Array | null {
  const embeddings = used.flatMap((result) => result.heads?.embedding ?? []);
  const [first] = embeddings;
  if (!first) return null;
  const mean = new Float32Array(first.length);
  for (const embedding of embeddings)
    for (let i = 0; i < mean.length; i++) mean[i] = (mean[i] ?? 0) + (embedding[i] ?? 0) / embeddings.length;
  return mean;
}

/** View signature of the static scene: the median luma over the burst, in which moving water averages out. */
export function burstView(used: readonly FrameResult[]): ViewSignature | null {
  const [first] = used;
  if (!first) return null;
  if (used.length < 3) return first.view;
  const luma = new Uint8Array(first.view.luma.length);
  const values: number[] = [];
  for (let i = 0; i < luma.length; i++) {
    values.length = 0;
    for (const { view } of used) values.push(view.luma[i] ?? 0);
    values.sort((a, b) => a - b);
    luma[i] = values[values.length >> 1] ?? 0;
  }
  return { luma, width: first.view.width, height: first.view.height };
}
