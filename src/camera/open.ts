import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { Camera } from './camera.ts';
import { CommandCamera } from './command-camera.ts';
import { createRedactor, resolveCredentials } from './credentials.ts';
import { DirectoryCamera } from './directory-camera.ts';
import { rtspInput, v4l2Input } from './ffmpeg/input.ts';
import { FfmpegSource, PATH_PROGRAMS, type FfmpegPrograms } from './ffmpeg/source.ts';
import { chooseSourceFps, StreamCamera } from './ffmpeg/stream-camera.ts';
import { VideoCamera } from './ffmpeg/video-camera.ts';
import type { FrameSource } from './frame-source.ts';
import { HlsReader } from './hls/reader.ts';
import { HlsSource, type HlsSourceOptions } from './hls/source.ts';
import { HttpCamera } from './http/camera.ts';
import { CookieJar } from './http/cookies.ts';
import { HttpClient } from './http/client.ts';
import { DrawingProcess } from './simulated/drawing-process.ts';
import { RtspRelay } from './rtsp/relay.ts';
import { TransportChoice } from './rtsp/transport-choice.ts';
import { RetryingCamera } from './burst-capture.ts';
import { withRemedies } from './remedies.ts';

export interface CameraDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Default: the programs `ffmpeg` and `ffprobe` on PATH. */
  readonly programs?: FfmpegPrograms;
  /** Draws the pictures of simulated cameras. Default: a process for each camera. */
  readonly drawing?: DrawingProcess;
  /** Reads the secret files of the camera again. Null: they cannot be used now. Default: they are not read again. */
  readonly rereadSettings?: () => CameraSettings | null;
}

/** If the schedule interval is shorter, the stream stays open, because a new ffmpeg for each capture would cost more. */
const MIN_REOPEN_INTERVAL_S = 60;
/** Age limit of files that a directory camera finds at its start; two schedule intervals if that is longer. */
const MAX_FILE_AGE_MS = 600_000;
/** Retries of a scheduled capture start at most this long after its start, or half of the interval if that is less. */
const MAX_RETRY_S = 30;
const SIMULATED_SIZE = { widthPx: 1280, heightPx: 720 };

/** Returns `openCamera` for the cameras of one agent: the simulated ones share a process. */
export function createCameraOpener(): typeof openCamera {
  const drawing = new DrawingProcess();
  return (settings, deps) => openCamera(settings, { ...deps, drawing });
}

/**
 * Creates the camera of these settings; it connects at the first capture. Cameras whose faults may disappear retry a
 * failed capture before the next one is due. Throws `config_invalid` when the URL is invalid or a key is missing.
 */
export async function openCamera(settings: CameraSettings, deps: CameraDeps): Promise<Camera> {
  const { kind, schedule } = settings;
  const camera = await createCamera(settings, deps);
  if (kind === 'simulated' || kind === 'video' || kind === 'directory') return withRemedies(camera, kind);
  const renewLogin = createRenewLogin(settings, deps);
  const options = { maxRetryS: retryLimitS(schedule) };
  return withRemedies(new RetryingCamera(options, { camera, clock: deps.clock, renewLogin }), kind);
}

/** Returns a function that creates the camera with the login that its files contain now; null while it is the same. */
function createRenewLogin(settings: CameraSettings, deps: CameraDeps): () => Promise<Camera | null> {
  let used = settings;
  return async () => {
    const read = deps.rereadSettings?.() ?? null;
    if (read === null || isSameLogin(read, used)) return null;
    used = { ...used, password: read.password, headers: read.headers };
    deps.log.info({ camera: used.id }, 'the files with the login of the camera have changed');
    return createCamera(used, deps);
  };
}

const isSameLogin = (a: CameraSettings, b: CameraSettings): boolean =>
  a.password === b.password && JSON.stringify(a.headers) === JSON.stringify(b.headers);

/** Longest time after the start of a capture in which a retry starts, seconds. */
export const retryLimitS = ({ everyS }: CameraSettings['schedule']): number =>
  // The other half of the interval is for the capture and the analysis of its frames.
  Math.min(MAX_RETRY_S, (everyS ?? Infinity) / 2);

async function createCamera(settings: CameraSettings, deps: CameraDeps): Promise<Camera> {
  const { id } = settings;
  switch (settings.kind) {
    case 'rtsp':
      return createRtspCamera(settings, deps);
    case 'hls':
      return createHlsCamera(settings, deps);
    case 'v4l2': {
      const input = v4l2Input(requireKey(settings, 'path'));
      const open = (options: HlsSourceOptions) => new FfmpegSource({ ...options, input }, deps);
      return createStreamCamera(settings, deps, async (options) => Promise.resolve(open(options)));
    }
    case 'http':
      return new HttpCamera({ id, ...streamAddress(settings) }, deps);
    case 'video': {
      const loop = settings.replay !== 'once';
      const programs = deps.programs ?? PATH_PROGRAMS;
      return new VideoCamera({ id, path: requireKey(settings, 'path'), loop, programs }, deps);
    }
    case 'directory': {
      const maxAgeMs = Math.max(MAX_FILE_AGE_MS, 2000 * (settings.schedule.everyS ?? 0));
      const path = requireKey(settings, 'path');
      return new DirectoryCamera(
        { id, path, recursive: settings.recursive, replay: settings.replay, maxAgeMs },
        deps,
      );
    }
    case 'command':
      return new CommandCamera({ id, command: requireKey(settings, 'command') }, deps);
    case 'simulated': {
      const { SimulatedCamera } = await import('./simulated/camera.ts');
      const { seed, speed } = settings.simulation;
      const { drawing = new DrawingProcess() } = deps;
      return new SimulatedCamera({ id, seed, speed, ...SIMULATED_SIZE }, { ...deps, drawing });
    }
  }
}

function createRtspCamera(settings: CameraSettings, deps: CameraDeps): Camera {
  const url = requireUrl(settings, ['rtsp:', 'rtsps:']);
  const { username, password } = resolveCredentials(settings);
  const credentials = username === '' && password === '' ? null : { username, password };
  // Packets by UDP are not encrypted, and anybody could send them.
  const transports = new TransportChoice(url.protocol === 'rtsps:' ? 'tcp' : settings.transport, deps);
  // Of the capture before: the transport that the camera accepted, until a frame arrives by it.
  let unproved: RtspRelay | null = null;
  return createStreamCamera(settings, deps, async (options) => {
    if (unproved?.transport != null) transports.distrust(unproved.transport);
    const relay = await RtspRelay.start({ url, credentials, tls: settings.tls });
    unproved = relay;
    const onOutput = (): void => {
      unproved = null;
      if (relay.transport !== null) transports.confirm(relay.transport);
    };
    const input = rtspInput(relay.url, settings.timeoutS, transports.order);
    return new FfmpegSource({ ...options, relay, input, onOutput }, deps);
  });
}

function createHlsCamera(settings: CameraSettings, deps: CameraDeps): Camera {
  const reader = new HlsReader({
    client: new HttpClient({ ...streamAddress(settings), cookies: new CookieJar() }),
    clock: deps.clock,
  });
  const open = (options: HlsSourceOptions) => new HlsSource(options, { ...deps, reader });
  return createStreamCamera(settings, deps, async (options) => Promise.resolve(open(options)));
}

function createStreamCamera(
  settings: CameraSettings,
  deps: CameraDeps,
  open: (options: HlsSourceOptions) => Promise<FrameSource>,
): Camera {
  const everyS = settings.schedule.everyS ?? MIN_REOPEN_INTERVAL_S;
  const redact = createRedactor(settings);
  const program = (deps.programs ?? PATH_PROGRAMS).ffmpeg;
  const { burst, seaState } = settings;
  // A clip and a burst at the same time share one source.
  const fps = seaState && Math.max(chooseSourceFps(burst), Math.ceil(seaState.fps));
  const options = { id: settings.id, persistent: everyS < MIN_REOPEN_INTERVAL_S, fps };
  return new StreamCamera(options, { ...deps, openSource: (fps) => open({ program, fps, redact }) });
}

/** The url of the camera. Throws `config_invalid` when it has another scheme or no host. */
function requireUrl(settings: CameraSettings, schemes: readonly string[]): URL {
  const url = URL.parse(requireKey(settings, 'url'));
  if (!url || !schemes.includes(url.protocol) || url.hostname === '')
    throw new AgentError('config_invalid', `url must start with ${schemes.join('// or ')}//`);
  return url;
}

function streamAddress(settings: CameraSettings) {
  const { username, password, headers, tls } = settings;
  return { url: requireKey(settings, 'url'), username, password, headers, tls };
}

function requireKey<K extends 'url' | 'path' | 'command'>(
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
