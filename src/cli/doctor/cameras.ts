import type { Frame } from '../../camera/camera.ts';
import { systemClock } from '../../base/clock.ts';
import type { Camera } from '../../config/schema.ts';
import { AgentError } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import type { VisionClient } from '../../vision/protocol.ts';
import { failed, ok, warn, type DoctorContext, type Finding } from './types.ts';
import { openModel } from '../open-model.ts';

/** Beyond the camera's own time-out, for its programs to end. */
const GRACE_S = 10;

/** One frame of each camera, through the gate. */
export async function* checkCameras({ settings, signal, terminal }: DoctorContext): AsyncGenerator<Finding> {
  if (settings.cameras.length === 0) {
    yield warn(
      'camera',
      'none is configured',
      'add one to cameras, unless HTTP analyses are all that is wanted',
    );
    return;
  }
  const { vision } = await openModel(undefined, settings, terminal);
  try {
    for (const camera of settings.cameras) {
      try {
        yield await checkCamera(camera, vision, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        yield failed(`camera ${camera.id}`, thrown);
      }
    }
  } finally {
    await vision.close();
  }
}

async function checkCamera(settings: Camera, vision: VisionClient, signal: AbortSignal): Promise<Finding> {
  const startedMs = performance.now();
  const frame = await oneFrame(settings, signal);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const { roi, privacyMasks } = settings;
  const { widthPx, heightPx, quality } = await vision.analyze(frame.bytes, { roi, privacyMasks }, signal);
  const picture = `${String(widthPx)}x${String(heightPx)}, ${String(Math.round(frame.bytes.length / 1024))} kB, in ${seconds} s`;
  const check = `camera ${settings.id}`;
  return quality.reasons.length === 0
    ? ok(check, picture)
    : warn(
        check,
        `${picture}; the gate says ${quality.reasons.join(', ')}`,
        'look at the picture: clean the lens, or wait for light',
      );
}

async function oneFrame(settings: Camera, signal: AbortSignal): Promise<Frame> {
  const { openCamera } = await import('../../camera/open.ts');
  const camera = await openCamera(settings, { clock: systemClock, log: createLog('silent') });
  try {
    const { timeoutS } = settings;
    const frames = camera.capture(
      { frames: 1, intervalS: 0, timeoutS },
      deadlineSignal((timeoutS + GRACE_S) * 1000, signal),
    );
    for await (const frame of frames) return frame;
    throw new AgentError('camera_no_frame', 'the camera gave no frame');
  } finally {
    await camera.close();
  }
}
