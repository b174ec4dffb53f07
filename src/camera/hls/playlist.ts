import { AgentError } from '../../base/errors.ts';

/** Bytes `start` to `end` (inclusive) of a resource. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** AES-128-CBC of whole segments (RFC 8216, section 4.3.2.4). */
export interface SegmentKey {
  readonly url: URL;
  /** 16 bytes; null: the media sequence number of the segment. */
  readonly iv: Buffer | null;
}

/** A resource, or a part of one. */
export interface MediaPart {
  readonly url: URL;
  readonly range: ByteRange | null;
  readonly key: SegmentKey | null;
}

export interface Segment extends MediaPart {
  /** Media sequence number: counts the segments of the stream, also those that have left the playlist. */
  readonly sequence: number;
  readonly durationS: number;
  /** The header of fragmented MP4 (EXT-X-MAP). */
  readonly map: MediaPart | null;
  /** True: encoding or timestamps are not continued from the segment before. */
  readonly isDiscontinuous: boolean;
  /** True: the server has no media for it (EXT-X-GAP). */
  readonly isGap: boolean;
}

export interface MediaPlaylist {
  readonly kind: 'media';
  readonly targetDurationS: number;
  readonly segments: readonly Segment[];
  /** True: no segment will be added. */
  readonly hasEnded: boolean;
}

export interface MasterPlaylist {
  readonly kind: 'master';
  /** The playlists with video, the best first. */
  readonly variants: readonly URL[];
}

/**
 * Reads a playlist (RFC 8216 and its draft successor). Ignores what a client may ignore: I-frame playlists, other
 * renditions, parts of low latency, dates. `url` is the address that answered; relative addresses start from it.
 * Throws `camera_codec` when the text is no playlist, or names what the agent cannot read.
 */
export function parsePlaylist(text: string, url: URL): MediaPlaylist | MasterPlaylist {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\n|\r/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (!lines[0]?.startsWith('#EXTM3U')) throw unreadable('the answer is not an HLS playlist');
  const variables = readVariables(lines, url);
  const expanded = lines.map((line) =>
    line.replace(/\{\$([\w-]+)\}/g, (whole, name: string) => variables.get(name) ?? whole),
  );
  const isMaster = expanded.some((line) => line.startsWith('#EXT-X-STREAM-INF:'));
  return isMaster ? parseMaster(expanded, url) : parseMedia(expanded, url);
}

/** Variables (EXT-X-DEFINE), which a provider uses to repeat the token of the address in the addresses of segments. */
function readVariables(lines: readonly string[], url: URL): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const line of lines) {
    const [tag, value] = splitTag(line);
    if (tag !== '#EXT-X-DEFINE') continue;
    const attributes = parseAttributes(value);
    const parameter = attributes.get('QUERYPARAM');
    if (parameter !== undefined) variables.set(parameter, url.searchParams.get(parameter) ?? '');
    else variables.set(attributes.get('NAME') ?? '', attributes.get('VALUE') ?? '');
  }
  return variables;
}

interface Variant {
  readonly url: URL;
  readonly pixels: number;
  readonly bandwidth: number;
  readonly isAudioOnly: boolean;
}

const VIDEO_CODEC = /^(avc|hvc|hev|av01|vp0?[89]|dvh|dva|mp4v|jpeg)/i;

function parseMaster(lines: readonly string[], base: URL): MasterPlaylist {
  const variants: Variant[] = [];
  let pending: ReadonlyMap<string, string> | null = null;
  for (const line of lines) {
    const [tag, value] = splitTag(line);
    if (tag === '#EXT-X-STREAM-INF') pending = parseAttributes(value);
    else if (pending && !line.startsWith('#')) {
      const [widthPx = 0, heightPx = 0] = (pending.get('RESOLUTION') ?? '').split(/x/i).map(Number);
      const codecs = pending.get('CODECS')?.split(',');
      variants.push({
        url: resolve(line, base),
        pixels: widthPx * heightPx || 0,
        bandwidth: Number(pending.get('BANDWIDTH')) || 0,
        isAudioOnly:
          !pending.has('RESOLUTION') && codecs?.some((codec) => VIDEO_CODEC.test(codec.trim())) === false,
      });
      pending = null;
    }
  }
  const withVideo = variants.filter(({ isAudioOnly }) => !isAudioOnly);
  if (withVideo.length === 0) throw unreadable('the playlist has no stream with video');
  // The sort is stable: of equal ones, the provider prefers the first.
  withVideo.sort((a, b) => b.pixels - a.pixels || b.bandwidth - a.bandwidth);
  return { kind: 'master', variants: withVideo.map(({ url }) => url) };
}

function parseMedia(lines: readonly string[], base: URL): MediaPlaylist {
  const segments: Segment[] = [];
  let targetDurationS = 0;
  let sequence = 0;
  let hasEnded = false;
  let map: MediaPart | null = null;
  let keys: readonly ReadonlyMap<string, string>[] = [];
  let isInKeys = false;
  // What concerns the next segment alone.
  let next = { durationS: 0, range: null as string | null, isDiscontinuous: false, isGap: false };
  let previous: MediaPart | null = null;
  for (const line of lines) {
    const [tag, value] = splitTag(line);
    // Consecutive keys of different formats are alternatives; a later one replaces them all.
    if (tag !== '#EXT-X-KEY') isInKeys = false;
    switch (tag) {
      case '#EXT-X-TARGETDURATION':
        targetDurationS = Number(value) || 0;
        break;
      case '#EXT-X-MEDIA-SEQUENCE':
        sequence = Number(value) || 0;
        break;
      case '#EXT-X-ENDLIST':
        hasEnded = true;
        break;
      case '#EXT-X-KEY':
        keys = isInKeys ? [...keys, parseAttributes(value)] : [parseAttributes(value)];
        isInKeys = true;
        break;
      case '#EXT-X-MAP': {
        const attributes = parseAttributes(value);
        const range = toRange(attributes.get('BYTERANGE') ?? null, 0);
        map = { url: resolve(attributes.get('URI') ?? '', base), range, key: selectKey(keys, base) };
        break;
      }
      case '#EXTINF':
        next.durationS = Number.parseFloat(value) || 0;
        break;
      case '#EXT-X-BYTERANGE':
        next.range = value;
        break;
      case '#EXT-X-DISCONTINUITY':
        next.isDiscontinuous = true;
        break;
      case '#EXT-X-GAP':
        next.isGap = true;
        break;
      default: {
        if (line.startsWith('#')) break;
        const url = resolve(line, base);
        // Without an offset, a range continues that of the segment before.
        const continuesAt: number =
          previous?.range && previous.url.href === url.href ? previous.range.end + 1 : 0;
        const range = toRange(next.range, continuesAt);
        const { durationS, isDiscontinuous, isGap } = next;
        const key = selectKey(keys, base);
        segments.push({ url, range, key, map, sequence, durationS, isDiscontinuous, isGap });
        previous = { url, range, key };
        sequence += 1;
        next = { durationS: 0, range: null, isDiscontinuous: false, isGap: false };
      }
    }
  }
  const longestS = Math.max(0, ...segments.map(({ durationS }) => durationS));
  return { kind: 'media', targetDurationS: targetDurationS || longestS || 1, segments, hasEnded };
}

/** Throws `camera_codec` for a key that only a player with DRM can use. */
function selectKey(keys: readonly ReadonlyMap<string, string>[], base: URL): SegmentKey | null {
  if (keys.length === 0 || keys.some((key) => key.get('METHOD') === 'NONE')) return null;
  const key = keys.find(
    (one) => one.get('METHOD') === 'AES-128' && (one.get('KEYFORMAT') ?? 'identity') === 'identity',
  );
  if (!key) {
    const methods = keys.map((one) => (one.get('METHOD') ?? 'nothing').slice(0, 40)).join(', ');
    throw unreadable(`the stream is encrypted with ${methods}; the agent can decrypt AES-128`);
  }
  const hex = /^0x([\da-f]{1,32})$/i.exec(key.get('IV') ?? '')?.[1];
  const iv = hex === undefined ? null : Buffer.from(hex.padStart(32, '0'), 'hex');
  return { url: resolve(key.get('URI') ?? '', base), iv };
}

/** Splits `#EXT-X-KEY:METHOD=…` at its first colon. */
function splitTag(line: string): readonly [tag: string, value: string] {
  const colon = line.indexOf(':');
  return line.startsWith('#EXT') && colon > 0 ? [line.slice(0, colon), line.slice(colon + 1)] : [line, ''];
}

function parseAttributes(text: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  for (const [, name = '', quoted, plain] of text.matchAll(/([A-Z0-9-]+)\s*=\s*(?:"([^"]*)"|([^",]*))/g))
    attributes.set(name, quoted ?? plain?.trim() ?? '');
  return attributes;
}

/** Reads `LENGTH@OFFSET` or `LENGTH`. */
function toRange(text: string | null, continuesAt: number): ByteRange | null {
  const [, length, offset] = /^(\d+)(?:@(\d+))?$/.exec(text ?? '') ?? [];
  if (length === undefined) return null;
  const start = offset === undefined ? continuesAt : Number(offset);
  return { start, end: start + Number(length) - 1 };
}

/** Only http and https: a hostile playlist must not lead to files or other protocols. */
function resolve(address: string, base: URL): URL {
  const url = address === '' ? null : URL.parse(address, base.href);
  if (!url || !/^https?:$/.test(url.protocol))
    throw unreadable('the playlist has an address that is not http or https');
  return url;
}

const unreadable = (message: string): AgentError => new AgentError('camera_codec', message);
