import { AgentError } from '../../base/errors.ts';

/** The input part of an ffmpeg command. */
export interface FfmpegInput {
  readonly args: readonly string[];
  /** Written to its standard input: text that must not appear in the process list. */
  readonly stdin?: string;
  /** Seconds to discard at the start. */
  readonly skipS?: number;
}

/**
 * A network stream, passed as an ffconcat script on standard input. The URL with its credentials and tokens is then not
 * an argument, which every user of the machine could read with `ps`. The protocol whitelist also prevents a hostile
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

/** HLS from the newest segment on, read in real time: frames arrive evenly, not one segment at a time. */
export function hlsInput(address: StreamAddress, timeoutS: number): FfmpegInput {
  const script = scriptInput(
    urlWithCredentials(address, ['http:', 'https:']),
    ['hls', 'http', 'https', 'httpproxy', 'tcp', 'tls', 'crypto'],
    { rw_timeout: microseconds(timeoutS), live_start_index: '-1' },
  );
  return { ...script, args: ['-re', ...script.args] };
}

/** A Video4Linux device. Discards the first half second, in which the exposure settles. */
export function v4l2Input(path: string): FfmpegInput {
  return { args: ['-f', 'v4l2', '-i', path], skipS: 0.5 };
}

/** A video file from `positionS` on. `file:` prevents that ffmpeg interprets the path as another protocol. */
export function videoInput(path: string, positionS: number): FfmpegInput {
  return { args: ['-ss', positionS.toFixed(3), '-i', `file:${path}`] };
}

/** The URL with percent-encoded credentials. Those of the settings replace those of the URL. */
function urlWithCredentials(address: StreamAddress, schemes: readonly string[]): string {
  const url = URL.parse(address.url);
  if (!url || !schemes.includes(url.protocol) || url.hostname === '')
    throw new AgentError('config_invalid', `url must start with ${schemes.join('// or ')}//`);
  if (address.username !== null) url.username = encodeURIComponent(address.username);
  if (address.password !== null) url.password = encodeURIComponent(address.password);
  return url.href;
}

const microseconds = (seconds: number): string => String(Math.round(seconds * 1e6));
