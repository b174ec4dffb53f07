import { describe, expect, it } from 'vitest';
import { classifyFailure } from '../../../../src/camera/ffmpeg/failure.ts';

describe('classifyFailure', () => {
  // Output of ffmpeg 5.1 in each of these situations; the first is from 4.1.
  it.each([
    [
      "[concat @ 0x38349e00] [error] Line 3: unknown keyword 'option'\n[error] pipe:0: Invalid data found when processing input",
      'camera_program_missing',
    ],
    [
      '[rtsp @ 0x1] [error] method DESCRIBE failed: 401 Unauthorized\n[error] pipe:0: Server returned 401 Unauthorized (authorization failed)',
      'camera_auth',
    ],
    ['[error] pipe:0: Server returned 403 Forbidden (access denied)', 'camera_auth'],
    [
      '[tcp @ 0x1] [error] Connection to tcp://127.0.0.1:1 failed: Connection refused\n[error] pipe:0: Connection refused',
      'camera_unreachable',
    ],
    [
      '[tcp @ 0x1] [error] Failed to resolve hostname x.invalid: Name or service not known\n[error] pipe:0: Input/output error',
      'camera_unreachable',
    ],
    [
      '[rtsp @ 0x1] [error] method DESCRIBE failed: 404 Not Found\n[error] pipe:0: Server returned 404 Not Found',
      'camera_unreachable',
    ],
    ['[error] pipe:0: Server returned 5XX Server Error reply', 'camera_unreachable'],
    ['[error] pipe:0: Connection timed out', 'camera_timeout'],
    [
      '[video4linux2,v4l2 @ 0x1] [error] Cannot open video device /dev/video0: No such file or directory',
      'camera_unreachable',
    ],
    [
      '[mov,mp4 @ 0x1] [error] moov atom not found\n[error] file:x.mp4: Invalid data found when processing input',
      'camera_codec',
    ],
    ["[error] Stream map '0:v:0' matches no streams.", 'camera_codec'],
    ["[info] Input #0, concat, from 'pipe:0':\n[error] Conversion failed!", 'camera_no_frame'],
    ['', 'camera_ended'],
  ])('%s -> %s', (stderr, code) => {
    expect(classifyFailure(stderr, false).code).toBe(code);
  });

  it('returns camera_ended with the last error for a stream that delivered frames, for any message', () => {
    expect(classifyFailure('[tcp @ 0x1] [error] Connection reset by peer\n[info] bye\n', true)).toEqual({
      code: 'camera_ended',
      detail: 'Connection reset by peer',
      hint: null,
    });
  });

  it('limits the detail to 300 characters', () => {
    expect(classifyFailure(`[error] ${'x'.repeat(5000)}`, false).detail).toHaveLength(300);
  });
});
