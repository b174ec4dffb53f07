import type { CameraErrorCode } from '../camera.ts';

/** Messages of ffmpeg and their error codes, the most specific first. ffmpeg prints them with `-loglevel level+info`. */
const MESSAGE_CODES: readonly (readonly [RegExp, CameraErrorCode])[] = [
  [/\b401 Unauthorized|\b403 Forbidden|authorization failed|access denied|\b40[13] \(/i, 'camera_auth'],
  [/Connection timed out|Operation timed out|Immediate exit requested/i, 'camera_timeout'],
  [
    /Connection refused|No route to host|Network is unreachable|Host is unreachable|Connection reset|Name or service not known|Temporary failure in name resolution|Failed to resolve|No address associated/i,
    'camera_unreachable',
  ],
  [
    /No such file or directory|No such device|Permission denied|Device or resource busy/i,
    'camera_unreachable',
  ],
  [/\b404 Not Found|\b4\d\d |Server returned [45]|\b5\d\d [A-Z]|method [A-Z]+ failed/i, 'camera_unreachable'],
  [
    /Invalid data found|Could not find codec parameters|Decoder .*not found|Unknown decoder|no decoder|does not contain any stream|matches no streams|Unable to find a suitable output format|moov atom not found|not implemented/i,
    'camera_codec',
  ],
];

/**
 * Finds the error code for why ffmpeg ended, and the message of ffmpeg that explains it.
 *
 * @param stderr the end of the log of ffmpeg
 * @param deliveredFrames true when ffmpeg delivered any frame before it ended
 */
export function classifyFailure(
  stderr: string,
  deliveredFrames: boolean,
): { readonly code: CameraErrorCode; readonly detail: string } {
  const errors = stderr
    .split('\n')
    .filter((line) => /\[(error|fatal|panic)\]/.test(line))
    .map((line) => line.replace(/^(\[[^\]]*\] ?)+/, '').trim())
    .filter((line) => line !== '');
  const detail = (errors.at(-1) ?? '').slice(0, 300);
  // A stream that delivered frames before has ended, whatever the message says.
  if (deliveredFrames) return { code: 'camera_ended', detail };
  const text = errors.join('\n');
  if (text.includes("unknown keyword 'option'"))
    return { code: 'camera_program_missing', detail: 'ffmpeg 5.0 or later is needed' };
  for (const [pattern, code] of MESSAGE_CODES) if (pattern.test(text)) return { code, detail };
  return { code: isConnected(stderr) ? 'camera_no_frame' : 'camera_ended', detail };
}

/** True if ffmpeg had opened the stream and knew its format, according to its log. */
export const isConnected = (stderr: string): boolean => stderr.includes('Input #0');
