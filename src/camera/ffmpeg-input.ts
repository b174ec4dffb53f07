import { AgentError } from '../base/errors.ts';

/** How ffmpeg is told where the pictures come from. */
export interface FfmpegInput {
  readonly args: readonly string[];
  /** Written to its standard input: whatever must not stand in the process list. */
  readonly stdin?: string;
  /** Thrown away at the beginning. */
  readonly skipS?: number;
}

/**
 * A network stream, named in an ffconcat script on standard input: the address (with its credentials and tokens) is
 * then in no argument, where every user of the machine could read it with `ps`. The protocol list also keeps a
 * hostile playlist from naming local files.
 * Source: ffmpeg-formats(1), "concat".
 */
function scripted(
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

interface Address {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

/** RTSP over TCP: UDP loses packets, and each loss smears the picture. */
export function rtspInput(address: Address, timeoutS: number): FfmpegInput {
  return scripted(addressed(address, ['rtsp:', 'rtsps:']), ['rtsp', 'rtp', 'tcp', 'tls', 'crypto'], {
    rtsp_transport: 'tcp',
    timeout: microseconds(timeoutS),
    // Ffmpeg would otherwise watch many frames to guess a rate that nobody needs: seconds at 5 frames/s.
    fpsprobesize: '0',
  });
}

/** HLS from the newest segment on, at its own pace: pictures then come evenly, not a segment's worth at once. */
export function hlsInput(address: Address, timeoutS: number): FfmpegInput {
  const script = scripted(
    addressed(address, ['http:', 'https:']),
    ['hls', 'http', 'https', 'httpproxy', 'tcp', 'tls', 'crypto'],
    { rw_timeout: microseconds(timeoutS), live_start_index: '-1' },
  );
  return { ...script, args: ['-re', ...script.args] };
}

/** A Video4Linux device. The first half second is thrown away: exposure settles in it. */
export function v4l2Input(path: string): FfmpegInput {
  return { args: ['-f', 'v4l2', '-i', path], skipS: 0.5 };
}

/** A video file from `positionS` on. `file:` keeps a path from being taken for another protocol. */
export function videoInput(path: string, positionS: number): FfmpegInput {
  return { args: ['-ss', positionS.toFixed(3), '-i', `file:${path}`] };
}

/** The address with the credentials in it, percent-encoded; those of the settings win. */
function addressed(address: Address, schemes: readonly string[]): string {
  const url = URL.parse(address.url);
  if (!url || !schemes.includes(url.protocol) || url.hostname === '')
    throw new AgentError(
      'config_invalid',
      `url must be an address that begins with ${schemes.join('// or ')}//`,
    );
  if (address.username !== null) url.username = encodeURIComponent(address.username);
  if (address.password !== null) url.password = encodeURIComponent(address.password);
  return url.href;
}

const microseconds = (seconds: number): string => String(Math.round(seconds * 1e6));
