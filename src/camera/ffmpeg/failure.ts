import type { CameraErrorCode } from '../camera.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';

type Cause = keyof typeof CAUSE_REMEDIES;

/** Messages of ffmpeg and their error codes, the most specific first. ffmpeg prints them with `-loglevel level+info`. */
const MESSAGE_CODES: readonly (readonly [RegExp, CameraErrorCode, Cause?])[] = [
  [/\b401 Unauthorized|\b403 Forbidden|authorization failed|access denied|\b40[13] \(/i, 'camera_auth'],
  [/Connection timed out|Operation timed out|Immediate exit requested/i, 'camera_timeout'],
  [/Connection refused/i, 'camera_unreachable', 'refused_port'],
  [
    /Name or service not known|Temporary failure in name resolution|Failed to resolve|No address associated/i,
    'camera_unreachable',
    'unknown_host',
  ],
  [
    /No route to host|Network is unreachable|Host is unreachable|Connection reset|No such file or directory|No such device/i,
    'camera_unreachable',
  ],
  [/Permission denied/i, 'camera_unreachable', 'no_permission'],
  [/Device or resource busy/i, 'camera_unreachable', 'device_busy'],
  [/\b404 Not Found/i, 'camera_unreachable', 'unknown_path'],
  [/\b5\d\d [A-Z]|Server returned 5/i, 'camera_unreachable', 'camera_fault'],
  [/\b4\d\d |Server returned 4|method [A-Z]+ failed/i, 'camera_unreachable', 'refused_request'],
  [
    /Invalid data found|Could not find codec parameters|Decoder .*not found|Unknown decoder|no decoder|does not contain any stream|matches no streams|Unable to find a suitable output format|moov atom not found|not implemented|not on whitelist/i,
    'camera_codec',
  ],
];

export interface FfmpegFailure {
  readonly code: CameraErrorCode;
  readonly detail: string;
  /** Null: the remedy of the code and the kind of camera fits. */
  readonly hint: string | null;
}

/**
 * Finds the error code for why ffmpeg ended, the message of ffmpeg that explains it, and the remedy of its cause.
 *
 * @param stderr the end of the log of ffmpeg
 * @param deliveredFrames true when ffmpeg delivered any frame before it ended
 */
export function classifyFailure(stderr: string, deliveredFrames: boolean): FfmpegFailure {
  const errors = stderr
    .split('\n')
    .filter((line) => /\[(error|fatal|panic)\]/.test(line))
    .map((line) => line.replace(/^(\[[^\]]*\] ?)+/, '').trim())
    .filter((line) => line !== '');
  const detail = (errors.at(-1) ?? '').slice(0, 300);
  // A stream that delivered frames before has ended, whatever the message says.
  if (deliveredFrames) return { code: 'camera_ended', detail, hint: null };
  const text = errors.join('\n');
  if (text.includes("unknown keyword 'option'"))
    return { code: 'camera_program_missing', detail: 'ffmpeg 5.0 or later is needed', hint: null };
  for (const [pattern, code, cause] of MESSAGE_CODES)
    if (pattern.test(text)) return { code, detail, hint: cause ? CAUSE_REMEDIES[cause] : null };
  return { code: isConnected(stderr) ? 'camera_no_frame' : 'camera_ended', detail, hint: null };
}

/** True if ffmpeg had opened the stream and knew its format, according to its log. */
export const isConnected = (stderr: string): boolean => stderr.includes('Input #0');
