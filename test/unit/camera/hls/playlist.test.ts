import { describe, expect, it } from 'vitest';
import { parsePlaylist, urlOf, type MediaPlaylist } from '../../../../src/camera/hls/playlist.ts';

const BASE = new URL('https://stream.example/live/index.m3u8?token=abc');
const parseMedia = (text: string): MediaPlaylist => {
  const playlist = parsePlaylist(text, BASE);
  if (playlist.kind !== 'media') throw new Error('not a media playlist');
  return playlist;
};
/** A playlist of these many segments, `s0` first. */
const list = (count: number, end = ''): string =>
  `#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:5\n${Array.from({ length: count }, (_, i) => `#EXTINF:2,\ns${i}\n`).join('')}${end}`;
/** Far more than any of these takes on a slow machine, and far less than a search without a bound. */
const LIMIT_MS = 5000;

describe('parsePlaylist refuses what would exhaust the machine', () => {
  const word = 'A'.repeat(200_000);
  const shortWord = 'A'.repeat(16_000);
  it.each([
    ['a long tag', `#EXT-X-KEY:${word}`, /a line of more than 16384 characters/],
    ['a long address', word, /a line of more than 16384 characters/],
    ['a long comment', `# ${word}`, /a line of more than 16384 characters/],
    ['more lines than a day has', 'a\n'.repeat(1_000_000), /more than 500000 lines/],
    ['lines of spaces', ' \n'.repeat(1_000_000), /more than 500000 lines/],
    ['too many keys of one segment', '#EXT-X-KEY:METHOD=NONE\n'.repeat(100_000), /more than 16 keys/],
    ['too many segments of a stream that has ended', list(50_001, '#EXT-X-ENDLIST'), /more than 50000 seg/],
    [
      'variables that expand to one long line',
      `#EXT-X-DEFINE:NAME="a",VALUE="${shortWord}"\n{$a}{$a}`,
      /a line of more than 16384 characters/,
    ],
    [
      'variables that expand to many lines',
      `#EXT-X-DEFINE:NAME="a",VALUE="${shortWord}"\n${'{$a}\n'.repeat(300)}`,
      /variables of the playlist expand to more than 4194304 characters/,
    ],
    [
      'variables of variables',
      Array.from(
        { length: 40 },
        (_, i) => `#EXT-X-DEFINE:NAME="v${i + 1}",VALUE="${`{$v${i}}`.repeat(9)}"`,
      ).join('\n'),
      /a line of more than 16384 characters/,
    ],
  ])('%s', (_, body, message) => {
    const startMs = performance.now();
    const parse = () => parsePlaylist(`#EXTM3U\n${body}`, BASE);
    expect(parse).toThrow(message);
    expect(parse).toThrow(expect.objectContaining({ code: 'camera_codec' }));
    expect(performance.now() - startMs).toBeLessThan(LIMIT_MS);
  });

  it.each([
    ['keys', `#EXT-X-KEY:${shortWord}\n#EXTINF:1,\na\n`],
    ['variants', `#EXT-X-STREAM-INF:${shortWord}\na\n`],
    ['variables', `#EXT-X-DEFINE:${shortWord}\n`],
  ])('reads %s of one long word each in linear time', (_, lines) => {
    const startMs = performance.now();
    try {
      parsePlaylist(`#EXTM3U\n${lines.repeat(250)}`, BASE);
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: 'camera_codec' });
    }
    expect(performance.now() - startMs).toBeLessThan(LIMIT_MS);
  });
});

describe('parsePlaylist reads long playlists', () => {
  it('keeps the newest segments of a live one of a day, with their sequence numbers', () => {
    const { segments, targetDurationS } = parseMedia(list(43_200));
    expect(segments.at(-1)).toMatchObject({ address: 's43199', sequence: 43_204 });
    expect(segments.length).toBeGreaterThanOrEqual(1000);
    expect(segments.length).toBeLessThan(2000);
    expect(targetDurationS).toBe(2);
  });

  it('keeps the newest segments of a live one of 150000', () => {
    expect(parseMedia(list(150_000)).segments.at(-1)).toMatchObject({ sequence: 150_004 });
  });

  it('keeps all segments of one that has ended', () => {
    const { segments, hasEnded } = parseMedia(list(43_200, '#EXT-X-ENDLIST'));
    expect({ hasEnded, count: segments.length, first: segments[0]?.address }).toEqual({
      hasEnded: true,
      count: 43_200,
      first: 's0',
    });
  });

  it('keeps the best variants of many', () => {
    const variants = Array.from({ length: 50_000 }, (_, i) => `#EXT-X-STREAM-INF:BANDWIDTH=${i + 1}\nv${i}`);
    expect(parsePlaylist(`#EXTM3U\n${variants.join('\n')}`, BASE)).toMatchObject({
      kind: 'master',
      variants: { length: 10, 0: { pathname: '/live/v49999' } },
    });
  });
});

describe('parsePlaylist', () => {
  it.each([
    ['spaces', '#EXT-X-KEY: METHOD=AES-128 , URI="a,b" ,IV=0x01'],
    ['no spaces', '#EXT-X-KEY:METHOD=AES-128,URI="a,b",IV=0x01'],
    ['another attribute in quotes before', '#EXT-X-KEY:KEYID="x,URI=no",METHOD=AES-128,URI="a,b",IV=0x01'],
  ])('reads attributes with %s', (_, key) => {
    const [segment] = parseMedia(`#EXTM3U\n${key}\n#EXTINF:2,\na\n`).segments;
    expect(segment?.key).toMatchObject({ address: 'a,b', iv: Buffer.from('01'.padStart(32, '0'), 'hex') });
  });

  it.each(['-1', '1.5', '1e999', '99999999999999999999', 'x'])('counts from 0 after sequence %s', (text) => {
    const { segments } = parseMedia(`#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:${text}\na\nb\n`);
    expect(segments.map(({ sequence }) => sequence)).toEqual([0, 1]);
  });

  it.each(['file:///etc/hostname', 'data:,x', 'http://'])(
    'refuses the address %s when it is used',
    (address) => {
      const [segment] = parseMedia(`#EXTM3U\n${address}\n`).segments;
      expect(() => urlOf(segment!)).toThrow(expect.objectContaining({ code: 'camera_codec' }));
    },
  );
});
