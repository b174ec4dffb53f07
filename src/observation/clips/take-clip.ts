import type { Clock } from '../../base/clock.ts';
import { asAgentError, type AgentError } from '../../base/errors.ts';
import { median } from '../../base/statistics.ts';
import type { Camera, Frame } from '../../camera/camera.ts';
import type { Camera as CameraSettings, SeaStateSettings } from '../../config/schema.ts';
import { ColumnSampler } from '../../sea-state/column-sampler.ts';
import { PictureSampler } from '../../sea-state/picture-sampler.ts';
import type { ColumnOptions, ModelLease, ShrunkFrame } from '../../vision/protocol.ts';

/** The frames of one clip, reduced to samples. */
export interface Clip {
  readonly sampler: PictureSampler;
  /** Columns of the frames, when they were wanted. */
  readonly columns: ColumnSampler;
  /** The first frame; null without one. */
  readonly first: Omit<Frame, 'bytes'> | null;
  readonly wanted: number;
  /** Why the clip ended early; null when it has its whole duration. */
  readonly cameraFailure: AgentError | null;
  /** The newest failure to decode a frame; null without one. */
  readonly imageFailure: AgentError | null;
  readonly captureMs: number;
  /** Usual time from a frame to its small picture, ms; null without one. */
  readonly decodeMs: number | null;
}

export interface ClipOptions extends Omit<SeaStateSettings, 'schedule' | 'keepTimestacks'> {
  /** Null without geometry. */
  readonly columns: ColumnOptions | null;
}

export interface TakeClipDeps {
  readonly camera: Camera;
  readonly lease: () => Pick<ModelLease, 'shrink' | typeof Symbol.dispose>;
  readonly clock: Clock;
}

/** Longest side of the small pictures. */
const PICTURE_SIDE_PX = 320;
/** Frames of one clip that may be in memory, being decoded or waiting for bursts. */
const MAX_PENDING_FRAMES = 4;
/** A clip with a longer gap is refused anyway. */
const MAX_INTERRUPTION_MS = 8000;
const RECONNECT_PAUSE_MS = 1000;

/**
 * Takes an even series of frames and reduces each to samples. A stream that breaks for some seconds is opened again. Failures
 * are values in the result; rejects only when the signal aborts.
 */
export async function takeClip(
  settings: () => Pick<CameraSettings, 'id' | 'privacyMasks' | 'timeoutS'>,
  { fps, durationS, lines, region, columns: wantedColumns }: ClipOptions,
  { camera, lease, clock }: TakeClipDeps,
  signal: AbortSignal,
): Promise<Clip> {
  const startedMs = clock.monoMs();
  const wanted = Math.round(durationS * fps);
  const shoreLines = lines?.map(([[fromX, fromY], [toX, toY]]) => ({ fromX, fromY, toX, toY })) ?? [];
  const sampler = new PictureSampler({ fps, durationS, lines: shoreLines, region });
  const columns = new ColumnSampler({ fps });
  const decodeMs: number[] = [];
  let imageFailure: AgentError | null = null;
  const shrink = async (bytes: Uint8Array): Promise<ShrunkFrame | null> => {
    const sentMs = clock.monoMs();
    const { id, privacyMasks } = settings();
    try {
      // A lease for each frame: a clip does not hold up a change of the model.
      using one = lease();
      const options = {
        ...{ privacyMasks, maxSidePx: PICTURE_SIDE_PX, source: `clip of ${id}` },
        ...(wantedColumns ? { columns: wantedColumns } : {}),
      };
      return await one.shrink(bytes, options, signal);
    } catch (thrown) {
      imageFailure = asAgentError(thrown);
      return null;
    } finally {
      decodeMs.push(clock.monoMs() - sentMs);
    }
  };
  const pending: { readonly atMs: number; readonly picture: Promise<ShrunkFrame | null> }[] = [];
  const addOldest = async (): Promise<void> => {
    const oldest = pending.shift();
    const picture = await oldest?.picture;
    if (oldest && picture && sampler.add(picture, oldest.atMs) && picture.columns)
      columns.add(picture.columns, sampler.durationS);
  };

  let first: Omit<Frame, 'bytes'> | null = null;
  let last: Frame | null = null;
  let cameraFailure: AgentError | null = null;
  const isComplete = (): boolean =>
    first !== null && last !== null && timeOf(last) - timeOf(first) >= 1000 * (durationS - 1 / fps) - 1;
  while (!isComplete()) {
    try {
      // Somebody else retries: the bursts of the camera.
      const options = { frames: wanted, intervalS: 1 / fps, timeoutS: settings().timeoutS, isClip: true };
      for await (const frame of camera.capture({ ...options, noRetry: AbortSignal.abort() }, signal)) {
        // A stream that gives fewer frames than wanted shows the same one again.
        if (last && timeOf(frame) <= timeOf(last)) continue;
        last = frame;
        const { bytes, ...moment } = frame;
        first ??= moment;
        pending.push({ atMs: timeOf(frame), picture: shrink(bytes) });
        if (pending.length >= MAX_PENDING_FRAMES) await addOldest();
        if (isComplete()) break;
      }
      cameraFailure = null;
      break;
    } catch (thrown) {
      if (signal.aborted) break;
      cameraFailure = asAgentError(thrown);
      // The scene of a film or of a simulation does not go on during an interruption.
      const lastMs = last?.sceneMs === undefined ? last?.monoMs : undefined;
      if (lastMs === undefined || !cameraFailure.retryable || clock.monoMs() - lastMs > MAX_INTERRUPTION_MS)
        break;
      await clock.sleep(RECONNECT_PAUSE_MS, signal).catch(() => undefined);
    }
  }
  while (pending.length > 0) await addOldest();
  signal.throwIfAborted();
  const captureMs = clock.monoMs() - startedMs;
  return {
    sampler,
    columns,
    first,
    wanted,
    cameraFailure,
    imageFailure,
    captureMs,
    decodeMs: median(decodeMs),
  };
}

const timeOf = (frame: Omit<Frame, 'bytes'>): number => frame.sceneMs ?? frame.monoMs;
