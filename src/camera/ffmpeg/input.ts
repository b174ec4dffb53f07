/** The arguments of an ffmpeg command that describe its input. */
export interface FfmpegInput {
  readonly args: readonly string[];
  /** Text for the standard input of ffmpeg, because it must not appear in the process list. */
  readonly stdin?: string;
  /** Seconds of video to decode and discard at the start. */
  readonly skipS?: number;
  /** Index of the stream to show; default: the first video. */
  readonly stream?: number;
}

/**
 * Passes the address of a relay to ffmpeg as an ffconcat script on standard input. If the URL with its token were an
 * argument, every user of the machine could read it with `ps`. The lists of protocols and demuxers also prevent a hostile
 * camera from making ffmpeg read local files, or a segment as another format.
 * Source: ffmpeg-formats(1), "concat".
 */
function scriptInput(
  relayUrl: string,
  protocols: readonly string[],
  demuxers: readonly string[],
  options: Readonly<Record<string, string>>,
): FfmpegInput {
  // The script gives its own lists to the stream: without pipe and concat, which only the script needs.
  const lists = { protocol_whitelist: protocols.join(','), format_whitelist: demuxers.join(',') };
  const lines = Object.entries({ ...lists, ...options }).map(([name, value]) => `option ${name} ${value}\n`);
  return {
    args: [
      ...['-protocol_whitelist', ['pipe', ...protocols].join(','), '-format_whitelist', 'concat'],
      ...['-f', 'concat', '-safe', '0', '-i', 'pipe:0'],
    ],
    stdin: `ffconcat version 1.0\nfile '${relayUrl}'\n${lines.join('')}`,
  };
}

/** The stream of an RTSP relay. ffmpeg tries the next transport when the camera refuses one with status 461. */
export function rtspInput(
  relayUrl: string,
  timeoutS: number,
  transports: readonly ('tcp' | 'udp')[],
): FfmpegInput {
  // Without `prefer_tcp`, UDP is the first one.
  const flags: Readonly<Record<string, string>> = transports[0] === 'tcp' ? { rtsp_flags: 'prefer_tcp' } : {};
  return scriptInput(relayUrl, [...new Set(['rtsp', 'rtp', 'tcp', ...transports])], ['rtsp'], {
    rtsp_transport: transports.join('+'),
    ...flags,
    timeout: microseconds(timeoutS),
    // Otherwise ffmpeg reads many frames to guess the frame rate, which takes seconds at 5 frames/s.
    fpsprobesize: '0',
  });
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
  const file = ['-i', `file:${path}`];
  // In MPEG-TS, a seek to the beginning skips the first key frame.
  return { args: positionS === 0 ? file : ['-ss', positionS.toFixed(3), ...file] };
}

const microseconds = (seconds: number): string => String(Math.round(seconds * 1e6));
