import { AgentError } from '../../base/errors.ts';

/** The arguments of an ffmpeg command that describe its input. */
export interface FfmpegInput {
  readonly args: readonly string[];
  /** Text for the standard input of ffmpeg, because it must not appear in the process list. */
  readonly stdin?: string;
  /** Seconds of video to discard at the start. */
  readonly skipS?: number;
}

/**
 * Passes a network stream to ffmpeg as an ffconcat script on standard input. If the URL with its credentials and tokens
 * were an argument, every user of the machine could read it with `ps`. The protocol whitelist also prevents a hostile
 * playlist from reading local files.
 * Source: ffmpeg-formats(1), "concat".
 */
function scriptInput(
  url: string,
  protocols: readonly string[],
  options: Readonly<Record<string, string>>,
): FfmpegInput {
  const lines = Object.entries(options).map(([name, value]) => `option ${name} ${value}\n`);
  const quoted = url.replaceAll("'", String.raw`'\''`);
  return {
    args: [
      '-protocol_whitelist',
      ['pipe', ...protocols].join(','),
      '-f',
      'concat',
      '-safe',
      '0',
      '-i',
      'pipe:0',
    ],
    stdin: `ffconcat version 1.0\nfile '${quoted}'\n${lines.join('')}`,
  };
}

interface StreamAddress {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

/** RTSP over TCP. With UDP, lost packets corrupt frames. */
export function rtspInput(address: StreamAddress, timeoutS: number): FfmpegInput {
  return scriptInput(
    urlWithCredentials(address, ['rtsp:', 'rtsps:']),
    ['rtsp', 'rtp', 'tcp', 'tls', 'crypto'],
    {
      rtsp_transport: 'tcp',
      timeout: microseconds(timeoutS),
      // Otherwise ffmpeg reads many frames to guess the frame rate, which takes seconds at 5 frames/s.
      fpsprobesize: '0',
    },
  );
}

/**
 * HLS media on standard input, read in real time, so that frames arrive evenly and not one segment at a time. The lists of
 * protocols and demuxers prevent a hostile segment from being read as a playlist of local files.
 */
export function segmentInput(): FfmpegInput {
  return {
    args: [
      ...['-re', '-protocol_whitelist', 'pipe', '-format_whitelist', 'mpegts,mov'],
      // Otherwise ffmpeg reads up to 5 s to guess the format, and the newest segment may be shorter.
      ...['-fpsprobesize', '0', '-analyzeduration', '500000', '-i', 'pipe:0'],
    ],
  };
}

/** A Video4Linux device. Discards the first half second, in which the camera adjusts its exposure. */
export function v4l2Input(path: string): FfmpegInput {
  return { args: ['-f', 'v4l2', '-i', path], skipS: 0.5 };
}

/** A video file from `positionS` on. With the prefix `file:` ffmpeg cannot take the path for another protocol. */
export function videoInput(path: string, positionS: number): FfmpegInput {
  return { args: ['-ss', positionS.toFixed(3), '-i', `file:${path}`] };
}

/** The URL with percent-encoded credentials. Credentials from the settings replace credentials in the URL. */
function urlWithCredentials(address: StreamAddress, schemes: readonly string[]): string {
  const url = URL.parse(address.url);
  if (!url || !schemes.includes(url.protocol) || url.hostname === '')
    throw new AgentError('config_invalid', `url must start with ${schemes.join('// or ')}//`);
  if (address.username !== null) url.username = encodeURIComponent(address.username);
  if (address.password !== null) url.password = encodeURIComponent(address.password);
  return url.href;
}

const microseconds = (seconds: number): string => String(Math.round(seconds * 1e6));
