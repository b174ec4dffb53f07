import { describe, expect, it } from 'vitest';
import { rtspInput, segmentInput, videoInput } from '../../../../src/camera/ffmpeg/input.ts';

describe('ffmpeg input', () => {
  const address = { url: 'rtsp://h:8554/a?x=1', username: "o'n", password: 'a@b/c:d e\'"' };

  it('passes the URL on standard input only', () => {
    const input = rtspInput(address, 5);
    expect(input.args.join(' ')).not.toMatch(/rtsp:\/\/|8554|c:d/);
    expect(input.stdin).toContain('option rtsp_transport tcp\noption timeout 5000000\n');
    expect(input.stdin?.split('\n')).toHaveLength(6);
    // ffconcat reads '\'' inside quotes as one quote.
    const quoted = /^file '(.*)'$/m.exec(input.stdin ?? '')?.[1]?.replaceAll(String.raw`'\''`, "'") ?? '';
    const url = new URL(quoted);
    expect([decodeURIComponent(url.username), decodeURIComponent(url.password)]).toEqual([
      address.username,
      address.password,
    ]);
  });

  it('allows no further script lines and no local files in a URL', () => {
    const input = rtspInput({ ...address, url: "rtsp://h/a\nfile '/etc/passwd'\n" }, 5);
    expect(input.stdin?.split('\n').filter((line) => line.startsWith('file '))).toHaveLength(1);
    expect(input.args[input.args.indexOf('-protocol_whitelist') + 1]?.split(',')).not.toContain('file');
    expect(segmentInput().args).toContain('pipe');
    expect(segmentInput().args.join()).not.toMatch(/file|http|hls|concat/);
    expect(videoInput('concat:/etc/passwd', 0).args.at(-1)).toBe('file:concat:/etc/passwd');
  });

  it.each(['', 'h/a', 'file:///etc/passwd', 'http://h/a', 'rtsp:///a', 'rtsp://u:p/w@h/a'])(
    'rejects %j as an RTSP URL, without the URL in the message',
    (url) => {
      expect(() => rtspInput({ ...address, url }, 5)).toThrow(/^url must start with rtsp:/);
    },
  );
});
