import { closeAtEnd } from '../../base/closing.ts';
import type { Frame } from '../../camera/camera.ts';
import { systemClock } from '../../base/clock.ts';
import type { Camera, GeometrySettings } from '../../config/schema.ts';
import { AgentError } from '../../base/errors.ts';
import { loadGeometry } from '../../geometry/camera-geometry.ts';
import type { ImageSize } from '../../geometry/pose-file.ts';
import { createLog } from '../../base/log.ts';
import type { VisionClient } from '../../vision/protocol.ts';
import { openModel } from '../open-model.ts';
import {
  errorFinding,
  failFinding,
  okFinding,
  warnFinding,
  type Finding,
} from '../../control/doctor/finding.ts';
import type { DoctorContext } from './context.ts';

/** Captures one frame of each camera and runs the quality gate on it. */
export async function* checkCameras({ settings, terminal }: DoctorContext): AsyncGenerator<Finding> {
  if (settings.cameras.length === 0) {
    yield warnFinding(
      'camera',
      'no camera is configured',
      'add a camera, unless this agent only analyses uploaded images',
    );
    return;
  }
  const { signal } = terminal;
  // Without a model, the cameras are still tried; the check `model` has its fault.
  const vision = await openModel(undefined, settings, terminal).then(
    (opened) => opened.vision,
    () => null,
  );
  signal.throwIfAborted();
  await using _closed = closeAtEnd(() => vision?.close());
  for (const camera of settings.cameras) {
    try {
      const { finding, size } = await checkCamera(camera, vision, signal);
      yield finding;
      if (camera.geometry && size) yield await checkGeometry(camera.id, camera.geometry, size);
    } catch (thrown) {
      signal.throwIfAborted();
      yield errorFinding(`camera ${camera.id}`, thrown);
    }
  }
}

async function checkCamera(
  settings: Camera,
  vision: VisionClient | null,
  signal: AbortSignal,
): Promise<{ readonly finding: Finding; readonly size: ImageSize | null }> {
  const startedMs = performance.now();
  const frame = await captureFrame(settings, signal);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const check = `camera ${settings.id}` as const;
  const kilobytes = `${String(Math.round(frame.bytes.length / 1024))} kB, in ${seconds} s`;
  if (vision === null)
    return {
      finding: okFinding(check, `${kilobytes}; not judged, because no model can be used`),
      size: null,
    };
  const { roi, privacyMasks } = settings;
  const { widthPx, heightPx, quality } = await vision.analyze(frame.bytes, { roi, privacyMasks }, signal);
  const image = `${String(widthPx)}x${String(heightPx)}, ${kilobytes}`;
  const size = { width: widthPx, height: heightPx };
  if (quality.reasons.length === 0) return { finding: okFinding(check, image), size };
  return {
    size,
    finding: warnFinding(
      check,
      `${image}; the quality gate rejects it: ${quality.reasons.join(', ')}`,
      'check the image: clean the lens, or wait for daylight',
    ),
  };
}

/** Reads the files of the geometry, and applies it to the frames of the camera. */
async function checkGeometry(id: string, settings: GeometrySettings, size: ImageSize): Promise<Finding> {
  const check = `geometry ${id}` as const;
  try {
    const geometry = await loadGeometry(settings);
    const view = geometry.viewIn(size);
    const levelM = geometry.levelAt(Date.now());
    const nearest = view.pointAtLevel([size.width / 2, size.height - 1], levelM ?? 0);
    if (geometry.horizon01 >= 1 || !nearest)
      return failFinding(check, 'no water is seen', 'check the pose, or the horizon or tilt of the camera');
    const distance = `the lower edge of the frame is ${view.distanceTo(nearest).toFixed(0)} m away`;
    if (levelM === null)
      return warnFinding(check, `${distance}; the tide is unknown`, 'set geometry.tide, or send tide.set');
    return okFinding(check, `${distance}; the water stands at ${levelM.toFixed(1)} m`);
  } catch (thrown) {
    return errorFinding(check, thrown);
  }
}

async function captureFrame(settings: Camera, signal: AbortSignal): Promise<Frame> {
  const { openCamera } = await import('../../camera/open.ts');
  const camera = await openCamera(settings, { clock: systemClock, log: createLog('silent') });
  await using _closed = closeAtEnd(() => camera.close());
  const { timeoutS } = settings;
  // The camera has a deadline of its own, and its first failure is the answer.
  const options = { frames: 1, intervalS: 0, timeoutS, noRetry: AbortSignal.abort() };
  for await (const frame of camera.capture(options, signal)) return frame;
  throw new AgentError('camera_no_frame', 'the camera returned no frame');
}
