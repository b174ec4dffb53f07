import { describe, expect, it } from 'vitest';
import { rtspInput, segmentInput, videoInput } from '../../../../src/camera/ffmpeg/input.ts';

describe('ffmpeg input', () => {
  it('passes the address of the relay on standard input only', () => {
    const input = rtspInput('rtsp://127.0.0.1:40000/t0ken/a?x=1', 5, ['tcp']);
    expect(input.args.join(' ')).not.toMatch(/rtsp:\/\/|40000|t0ken/);
    expect(input.stdin).toContain("file 'rtsp://127.0.0.1:40000/t0ken/a?x=1'\n");
    expect(input.stdin).toContain(
      'option rtsp_transport tcp\noption rtsp_flags prefer_tcp\noption timeout 5000000\n',
    );
  });

  it('allows a stream no local files, and no format that opens other files', () => {
    const { stdin } = rtspInput('rtsp://127.0.0.1:40000/t0ken/a', 5, ['tcp', 'udp']);
    const allowed = (name: string) =>
      new RegExp(`^option ${name} (.*)$`, 'm').exec(stdin ?? '')?.[1]?.split(',');
    for (const protocol of ['file', 'pipe', 'concat', 'data', 'https'])
      expect(allowed('protocol_whitelist')).not.toContain(protocol);
    for (const demuxer of ['concat', 'image2', 'dash', 'sdp'])
      expect(allowed('format_whitelist')).not.toContain(demuxer);
    expect(segmentInput().args).toContain('pipe');
    expect(segmentInput().args.join()).not.toMatch(/file|http|hls|concat/);
  });

  it.each([
    [['tcp', 'udp'], 'tcp+udp', true],
    [['udp', 'tcp'], 'udp+tcp', false],
    [['udp'], 'udp', false],
  ] as const)('tries the transports %j', (transports, option, prefersTcp) => {
    const { stdin = '' } = rtspInput('rtsp://127.0.0.1:40000/t0ken/a', 5, transports);
    expect(stdin).toContain(`option rtsp_transport ${option}\n`);
    expect(stdin.includes('prefer_tcp')).toBe(prefersTcp);
    expect(stdin).toMatch(/^option protocol_whitelist .*udp/m);
  });

  it('does not take the path of a video file for another protocol', () => {
    expect(videoInput('concat:/etc/passwd', 0).args.at(-1)).toBe('file:concat:/etc/passwd');
  });
});
