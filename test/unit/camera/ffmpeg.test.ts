import { describe, expect, it } from 'vitest';
import { ffmpegFailure } from '../../../src/camera/ffmpeg-failure.ts';
import { hlsInput, rtspInput, videoInput } from '../../../src/camera/ffmpeg-input.ts';
import { redactor } from '../../../src/camera/redact.ts';

describe('ffmpegFailure', () => {
  // Printed by ffmpeg 5.1 in each of these situations, the first by 4.1.
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
    expect(ffmpegFailure(stderr, false).code).toBe(code);
  });

  it('calls a stream that had run ended, whatever ffmpeg says, and quotes the last fault', () => {
    expect(ffmpegFailure('[tcp @ 0x1] [error] Connection reset by peer\n[info] bye\n', true)).toEqual({
      code: 'camera_ended',
      detail: 'Connection reset by peer',
    });
  });

  it('bounds what it quotes', () => {
    expect(ffmpegFailure(`[error] ${'x'.repeat(5000)}`, false).detail).toHaveLength(300);
  });
});

describe('ffmpeg input', () => {
  const address = { url: 'rtsp://h:8554/a?x=1', username: "o'n", password: 'a@b/c:d e\'"' };

  it('names the address on standard input alone', () => {
    const input = rtspInput(address, 5);
    expect(input.args.join(' ')).not.toMatch(/rtsp:\/\/|8554|c:d/);
    expect(input.stdin).toContain('option rtsp_transport tcp\noption timeout 5000000\n');
    expect(input.stdin?.split('\n')).toHaveLength(6);
    // Read back as ffconcat does: '\'' inside quotes is one quote.
    const quoted = /^file '(.*)'$/m.exec(input.stdin ?? '')?.[1]?.replaceAll(String.raw`'\''`, "'") ?? '';
    const url = new URL(quoted);
    expect([decodeURIComponent(url.username), decodeURIComponent(url.password)]).toEqual([
      address.username,
      address.password,
    ]);
  });

  it('lets no address bring further lines or local files', () => {
    const input = hlsInput({ ...address, url: "http://h/a\nfile '/etc/passwd'\n" }, 5);
    expect(input.stdin?.split('\n').filter((line) => line.startsWith('file '))).toHaveLength(1);
    expect(input.args[input.args.indexOf('-protocol_whitelist') + 1]?.split(',')).not.toContain('file');
    expect(videoInput('concat:/etc/passwd', 0).args.at(-1)).toBe('file:concat:/etc/passwd');
  });

  it.each(['', 'h/a', 'file:///etc/passwd', 'http://h/a', 'rtsp:///a', 'rtsp://u:p/w@h/a'])(
    'refuses %j as RTSP address without quoting it',
    (url) => {
      expect(() => rtspInput({ ...address, url }, 5)).toThrow(
        /^url must be an address that begins with rtsp:/,
      );
    },
  );
});

describe('redactor', () => {
  const redact = redactor({
    url: 'rtsp://me:se%40cret@h/a?token=abcdef1',
    username: null,
    password: 'pa ss',
  });

  it.each([
    ['rtsp://me:se%40cret@h/a', 'rtsp://***@h/a'],
    ['rtsp://me:se@cret@h/a', 'rtsp://***@h/a'],
    ['got "se@cret"', 'got "***"'],
    ['pa%20ss and pa ss', '*** and ***'],
    [`Basic ${Buffer.from('me:pa ss').toString('base64')}`, 'Basic ***'],
    ['opening http://h/x.ts?token=abcdef1&n=2', 'opening http://h/x.ts?token=***&n=***'],
    ['token abcdef1', 'token ***'],
    ['nothing here', 'nothing here'],
  ])('%s', (text, expected) => {
    expect(redact(text)).toBe(expected);
  });
});
