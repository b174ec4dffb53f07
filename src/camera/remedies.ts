import { AgentError, isTimeout } from '../base/errors.ts';
import type { CameraKind } from '../config/schema.ts';
import type { Camera, CameraErrorCode } from './camera.ts';

const INSTALL_FFMPEG = 'install ffmpeg 5.0 or later: sudo apt update && sudo apt install ffmpeg';
const LOGIN = 'check the user name and the password of the camera';

const NETWORK = {
  camera_auth: LOGIN,
  camera_certificate:
    'check the certificate of the camera; pin it with tls.fingerprint256, or name its authority with tls.ca',
  camera_unreachable: 'check the host and the port in url, and the cable and the power of the camera',
  camera_timeout:
    'check that no firewall blocks the port; increase timeoutS, or reduce the resolution of the camera',
  camera_program_missing: INSTALL_FFMPEG,
} as const;

/** Null: a camera of this kind has no such failure. */
type Remedies = Readonly<Record<CameraErrorCode, string | null>>;

/** What a person can do about each failure of each kind of camera. A failure with a hint of its own keeps that. */
export const REMEDIES: Readonly<Record<CameraKind, Remedies>> = {
  rtsp: {
    ...NETWORK,
    camera_codec: 'set the stream in the camera to H.264, H.265 or MJPEG',
    camera_no_frame: 'open url in a video player; if it shows nothing there either, restart the camera',
    camera_ended: 'check how many viewers the camera allows, and restart it',
    camera_command: null,
  },
  hls: {
    ...NETWORK,
    camera_unreachable: 'check the host and the port in url, and that its server runs',
    camera_codec: 'check that url names an HLS playlist (.m3u8) of H.264 or H.265 video',
    camera_no_frame: 'open url in a video player; if it shows nothing there either, restart the stream',
    camera_ended: 'check that the stream is live, and restart it',
    camera_command: null,
  },
  http: {
    ...NETWORK,
    camera_codec: 'open url in a browser: it must show one JPEG, PNG or WebP image, or a Motion JPEG stream',
    camera_no_frame: 'open url in a browser; if it shows no image there either, restart the camera',
    camera_ended: 'check how many viewers the camera allows, and restart it',
    camera_command: null,
    camera_program_missing: null,
  },
  v4l2: {
    camera_auth: null,
    camera_certificate: null,
    camera_unreachable:
      'check path with `v4l2-ctl --list-devices`, and that the user of the agent is in the group video',
    camera_timeout: 'unplug the camera and plug it in again; increase timeoutS',
    camera_codec: 'name another device of the camera in path: `v4l2-ctl --list-formats` shows its formats',
    camera_no_frame: 'unplug the camera and plug it in again; use a USB port with more power',
    camera_ended: 'check the USB cable and the power supply of the camera',
    camera_command: null,
    camera_program_missing: INSTALL_FFMPEG,
  },
  video: {
    camera_auth: null,
    camera_certificate: null,
    camera_unreachable: 'check path, and that the user of the agent may read the file',
    camera_timeout: 'increase timeoutS, or convert the file to a lower resolution',
    camera_codec: 'check with `ffprobe FILE` whether the file has a video; convert it to H.264 if it has',
    camera_no_frame: 'check with `ffprobe FILE` whether the file has a video with frames',
    camera_ended: 'replay: once ends with the file; set replay: loop to repeat it',
    camera_command: null,
    camera_program_missing: INSTALL_FFMPEG,
  },
  directory: {
    camera_auth: null,
    camera_certificate: null,
    camera_unreachable: 'check path, and that the user of the agent may read the directory',
    camera_timeout: 'check that the disk or the network drive of the directory responds',
    camera_codec: 'write JPEG, PNG or WebP images to the directory',
    camera_no_frame: 'check that images arrive in the directory, and that they are complete',
    camera_ended: 'replay: once ends with the last file; set replay: loop or watch',
    camera_command: null,
    camera_program_missing: null,
  },
  command: {
    camera_auth: null,
    camera_certificate: null,
    camera_unreachable: null,
    camera_timeout: 'run the command by hand and measure its time; increase timeoutS above it',
    camera_codec: 'the command must write one JPEG, PNG or WebP image to its standard output',
    camera_no_frame: 'run the command by hand: it must write an image to its standard output',
    camera_ended: null,
    camera_command: 'run the command by hand as the user of the agent, and read its output',
    camera_program_missing: 'install the program, or write its full path in command',
  },
  simulated: {
    camera_auth: null,
    camera_certificate: null,
    camera_unreachable: null,
    camera_timeout: 'the machine is too slow or too busy to draw the sea; increase timeoutS',
    camera_codec: null,
    camera_no_frame: null,
    camera_ended: 'the process that draws the sea ended; check the free memory',
    camera_command: null,
    camera_program_missing: null,
  },
};

/** What a person can do about causes that need another remedy than the others of the same code. */
export const CAUSE_REMEDIES = {
  unknown_path: 'check the path in url: the camera does not know it',
  refused_request: 'check the path and the query in url: the camera does not accept the request',
  camera_fault: 'the camera reports a fault of its own: restart it, or update its firmware',
  redirect: 'set url to the address of the image itself',
  other_origin:
    'if that address is the camera too, write it in url: only the origin of url gets the password',
  refused_port: 'check the port in url, and switch this service on in the camera',
  stopped_stream:
    'restart the encoder of the stream, or ask its operator; the agent uses it again when it goes on',
  unknown_host: 'check the host name in url, and the name server (DNS) of this machine',
  forbidden: 'give the user the right to view this stream in the settings of the camera, or use another user',
  unknown_login: 'choose Digest or Basic for RTSP in the settings of the camera',
  too_many_viewers:
    'close other viewers of the camera, or use a smaller stream: it has no room for another one',
  refused_transport: 'set transport to auto, or to the other one of tcp and udp',
  no_packets:
    'check that the stream is on in the camera, and that no firewall blocks it; set transport to the other one of tcp and udp',
  closed: 'check the port in url, close other viewers, and restart the camera',
  other_protocol: 'check the scheme and the port in url: the camera speaks another protocol there',
  too_large: 'reduce the resolution of the camera: one image may have 32 MiB',
  device_busy: 'stop the other program that uses the device; the agent itself may be one',
  no_permission: 'let the user of the agent read path; for /dev/video… add it to the group video',
} as const;

/** The camera with failures that name a fitting remedy, and never the deadline of the caller in place of one. */
export function withRemedies(camera: Camera, kind: CameraKind): Camera {
  return {
    id: camera.id,
    async *capture(options, signal) {
      try {
        yield* camera.capture(options, signal);
      } catch (thrown) {
        throw isTimeout(thrown) ? addRemedy(overdueError(thrown), kind) : addRemedy(thrown, kind);
      }
    },
    close: () => camera.close(),
  };
}

const overdueError = (cause: unknown): AgentError =>
  new AgentError('camera_timeout', 'no frame before the deadline of the request', { cause });

/** Returns every other thrown value as it is. */
function addRemedy(thrown: unknown, kind: CameraKind): unknown {
  if (!(thrown instanceof AgentError) || thrown.hasOwnHint || !isCameraCode(thrown.code)) return thrown;
  const hint = REMEDIES[kind][thrown.code];
  if (hint === null) return thrown;
  const { code, message, context, cause } = thrown;
  return new AgentError(code, message, { context, cause, hint });
}

const isCameraCode = (code: string): code is CameraErrorCode => Object.hasOwn(REMEDIES.rtsp, code);
