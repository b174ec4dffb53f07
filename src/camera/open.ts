import type { Clock } from '../base/clock.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Camera } from './camera.ts';
import { CommandCamera } from './command-camera.ts';
import { DirectoryCamera } from './directory-camera.ts';
import { hlsInput, rtspInput, v4l2Input, type FfmpegInput } from './ffmpeg-input.ts';
import { FfmpegSource } from './ffmpeg-source.ts';
import { HttpCamera } from './http-camera.ts';
import { SYSTEM_PROGRAMS, type Programs } from './programs.ts';
import { redactor } from './redact.ts';
import { RetryingCamera } from './retrying-camera.ts';
import { StreamCamera } from './stream-camera.ts';
import { VideoCamera } from './video-camera.ts';

export interface CameraDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Uniform in [0, 1); for the jitter of retries. */
  readonly random?: () => number;
  /** False for who wants to know at once what is wrong; true by default. */
  readonly retry?: boolean;
  /** Other programs than those on PATH. */
  readonly programs?: Programs;
}

/** Below this interval a stream is kept open: starting ffmpeg each time would cost more than letting it run. */
const PERSISTENT_BELOW_S = 60;
/** `watch`: how old a picture may be that is there when the agent starts, at least. */
const OLDEST_MS = 600_000;
/** Retries within a slot begin no later than this after its start, seconds. */
const RETRY_WITHIN_S = 30;
const SIMULATED_SIZE = { widthPx: 1280, heightPx: 720 };

/**
 * The camera of these settings. Nothing is connected yet. Those that can come back by themselves are tried again
 * within their slot. Throws `config_invalid` when the address is none or a key is missing.
 */
export async function openCamera(settings: CameraSettings, deps: CameraDeps): Promise<Camera> {
  const camera = await openOnce(settings, deps);
  const { kind, schedule } = settings;
  const comesBack = kind !== 'simulated' && kind !== 'video' && kind !== 'directory';
  if (!comesBack || deps.retry === false) return camera;
  // The other half of the slot is for the capture itself and for vision.
  const withinS = Math.min(RETRY_WITHIN_S, (schedule.everyS ?? Infinity) / 2);
  return new RetryingCamera({ withinS }, { camera, clock: deps.clock, random: deps.random ?? Math.random });
}

async function openOnce(settings: CameraSettings, deps: CameraDeps): Promise<Camera> {
  const { id } = settings;
  const clock = { clock: deps.clock };
  switch (settings.kind) {
    case 'rtsp':
      return streamCamera(settings, rtspInput(withUrl(settings), settings.timeoutS), deps);
    case 'hls':
      return streamCamera(settings, hlsInput(withUrl(settings), settings.timeoutS), deps);
    case 'v4l2':
      return streamCamera(settings, v4l2Input(wanted(settings, 'path')), deps);
    case 'http':
      return new HttpCamera({ id, ...withUrl(settings) }, clock);
    case 'video': {
      const loop = settings.replay !== 'once';
      const programs = deps.programs ?? SYSTEM_PROGRAMS;
      return new VideoCamera({ id, path: wanted(settings, 'path'), loop, programs }, clock);
    }
    case 'directory': {
      const maxAgeMs = Math.max(OLDEST_MS, 2000 * (settings.schedule.everyS ?? 0));
      return new DirectoryCamera(
        { id, path: wanted(settings, 'path'), replay: settings.replay, maxAgeMs },
        clock,
      );
    }
    case 'command':
      return new CommandCamera({ id, command: wanted(settings, 'command') }, clock);
    case 'simulated': {
      const { SimulatedCamera } = await import('./simulated/simulated.ts');
      const { seed, speed } = settings.simulation;
      return new SimulatedCamera({ id, seed, speed, ...SIMULATED_SIZE }, deps);
    }
  }
}

function streamCamera(settings: CameraSettings, input: FfmpegInput, deps: CameraDeps): Camera {
  const everyS = settings.schedule.everyS ?? PERSISTENT_BELOW_S;
  const redact = redactor(settings);
  const program = (deps.programs ?? SYSTEM_PROGRAMS).ffmpeg;
  const openSource = (fps: number) => new FfmpegSource({ program, input, fps, redact }, deps);
  const options = { id: settings.id, persistent: everyS < PERSISTENT_BELOW_S };
  return new StreamCamera(options, { ...deps, openSource });
}

function withUrl(settings: CameraSettings) {
  return { url: wanted(settings, 'url'), username: settings.username, password: settings.password };
}

function wanted<K extends 'url' | 'path' | 'command'>(
  settings: CameraSettings,
  key: K,
): NonNullable<CameraSettings[K]> {
  const value = settings[key];
  if (value === null)
    throw new AgentError('config_invalid', `a camera of kind ${settings.kind} needs ${key}`, {
      context: { camera: settings.id },
    });
  return value;
}
