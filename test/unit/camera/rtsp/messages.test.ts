import { describe, expect, it } from 'vitest';
import {
  headerOf,
  NotRtsp,
  replaceHeader,
  RtspParser,
  serializeRtsp,
  type RtspUnit,
} from '../../../../src/camera/rtsp/messages.ts';

const packet = (text: string, channel = 0): Buffer => {
  const head = Buffer.from([0x24, channel, 0, 0]);
  head.writeUInt16BE(text.length, 2);
  return Buffer.concat([head, Buffer.from(text)]);
};
const OK = 'RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n';
const SDP = 'RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\nv=0\r\n';
const OPTIONS = 'OPTIONS rtsp://h/ RTSP/1.0\r\nCSeq: 9\r\n\r\n';

const show = (units: readonly RtspUnit[]): string[] =>
  units.map((unit) =>
    Buffer.isBuffer(unit)
      ? `packet ${unit.subarray(4).toString()}`.trim()
      : `${unit.startLine} ${unit.body.toString()}`.trim(),
  );
const parse = (bytes: Buffer, chunkBytes = bytes.length): string[] => {
  const parser = new RtspParser();
  const units: RtspUnit[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes)
    units.push(...parser.push(bytes.subarray(at, at + chunkBytes)));
  return show(units);
};

describe('RtspParser', () => {
  it.each<[string, (string | Buffer)[], string[]]>([
    ['an answer', [OK], ['RTSP/1.0 200 OK']],
    ['a request of the camera', [OPTIONS], ['OPTIONS rtsp://h/ RTSP/1.0']],
    ['a body', [SDP, OK], ['RTSP/1.0 200 OK v=0', 'RTSP/1.0 200 OK']],
    [
      'packets between answers',
      [OK, packet('a'), packet('RTSP/1.0 b'), OK, packet('c')],
      ['RTSP/1.0 200 OK', 'packet a', 'packet RTSP/1.0 b', 'RTSP/1.0 200 OK', 'packet c'],
    ],
    ['an empty packet', [packet(''), OK], ['packet', 'RTSP/1.0 200 OK']],
    ['line feeds alone', [OK.replaceAll('\r', ''), OK], ['RTSP/1.0 200 OK', 'RTSP/1.0 200 OK']],
    ['empty lines between', [OK, '\r\n\r\n', OK], ['RTSP/1.0 200 OK', 'RTSP/1.0 200 OK']],
    [
      'garbage between',
      [OK, '\0\x01xyz', packet('a'), 'lost', OK],
      ['RTSP/1.0 200 OK', 'packet a', 'RTSP/1.0 200 OK'],
    ],
  ])('finds %s, whatever the size of the chunks', (_, parts, expected) => {
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
    for (const chunkBytes of [bytes.length, 1, 2, 3, 7]) expect(parse(bytes, chunkBytes)).toEqual(expected);
  });

  it.each([
    ['headers without end', `RTSP/1.0 200 OK\r\n${'X: y\r\n'.repeat(20_000)}`],
    ['a body beyond the limit', 'RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n'],
    ['a negative length', 'RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n'],
  ])('refuses %s', (_, text) => {
    expect(() => parse(Buffer.from(text))).toThrow(NotRtsp);
  });
});

describe('headers', () => {
  const headers = ['CSeq: 1', 'WWW-Authenticate: Digest a="b"', 'www-authenticate: Basic realm="x"'];

  it('are found in any case, and replaced', () => {
    expect(headerOf(headers, 'www-authenticate')).toBe('Digest a="b", Basic realm="x"');
    expect(headerOf(headers, 'location')).toBeNull();
    expect(replaceHeader(headers, 'cseq', '7')).toEqual([...headers.slice(1), 'cseq: 7']);
    expect(replaceHeader(headers, 'WWW-Authenticate', null)).toEqual(['CSeq: 1']);
  });

  it('stay as they are in a message that is written again', () => {
    const [unit] = new RtspParser().push(Buffer.from(SDP));
    expect(Buffer.isBuffer(unit) || unit === undefined ? '' : serializeRtsp(unit).toString()).toBe(SDP);
  });
});

describe('serializeRtsp', () => {
  it.each(['a\r\nTEARDOWN rtsp://h/ RTSP/1.0', 'a\nb', 'a\rb', 'a\u010ab', 'a\u010db'])(
    'refuses a line break in a line: %j',
    (text) => {
      const body = Buffer.alloc(0);
      const write = (startLine: string, header: string) => () =>
        serializeRtsp({ startLine, headers: [header], body });
      expect(write('OPTIONS * RTSP/1.0', `Authorization: ${text}`)).toThrow(NotRtsp);
      expect(write(`OPTIONS ${text} RTSP/1.0`, 'CSeq: 1')).toThrow(NotRtsp);
      expect(write('OPTIONS * RTSP/1.0', 'CSeq: é')()).toHaveLength(31);
    },
  );
});
