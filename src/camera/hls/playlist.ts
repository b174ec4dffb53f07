import { AgentError } from '../../base/errors.ts';

/** Bytes `start` to `end` (inclusive) of a resource. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** An address as the playlist writes it. `urlOf` resolves it: a playlist may have thousands, of which few are loaded. */
export interface Address {
  readonly address: string;
  /** The address of the playlist. */
  readonly base: URL;
}

/** AES-128-CBC of whole segments (RFC 8216, section 4.3.2.4). */
export interface SegmentKey extends Address {
  /** 16 bytes; null: the media sequence number of the segment. */
  readonly iv: Buffer | null;
}

/** A resource, or a part of one. */
export interface MediaPart extends Address {
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
  /** All of a stream that has ended; the newest of a live one. */
  readonly segments: readonly Segment[];
  /** True: no segment will be added. */
  readonly hasEnded: boolean;
}

export interface MasterPlaylist {
  readonly kind: 'master';
  /** The playlists with video, the best first; at most 10. */
  readonly variants: readonly URL[];
}

/** Largest playlist; the values of its variables may add as much again. */
export const MAX_PLAYLIST_BYTES = 4 * 1024 * 1024;
const MAX_LINES = 500_000;
const MAX_LINE_CHARS = 16 * 1024;
/** More than the segments of a day, of two seconds each. */
const MAX_SEGMENTS = 50_000;
/** Of a live playlist, the segments before these are never read. */
const MAX_LIVE_SEGMENTS = 1000;
/** Alternative keys of one segment. */
const MAX_KEYS = 16;
const MAX_VARIANTS = 10;

/**
 * Reads a playlist (RFC 8216 and its draft successor). Ignores what a client may ignore: I-frame playlists, other
 * renditions, parts of low latency, dates. `url` is the address that answered; relative addresses start from it.
 * Throws `camera_codec` when the text is no playlist, or names what the agent cannot read.
 */
export function parsePlaylist(text: string, url: URL): MediaPlaylist | MasterPlaylist {
  const lines = readLines(text, url);
  if (!lines[0]?.startsWith('#EXTM3U')) throw unreadable('the answer is not an HLS playlist');
  const isMaster = lines.some((line) => line.startsWith('#EXT-X-STREAM-INF:'));
  return isMaster ? parseMaster(lines, url) : parseMedia(lines, url);
}

/**
 * The lines that are not empty, with the values of variables (EXT-X-DEFINE). A provider uses them to repeat the token of the
 * address in the addresses of segments.
 */
function readLines(text: string, url: URL): readonly string[] {
  const lines: string[] = [];
  const variables = new Map<string, string>();
  let lineCount = 0;
  let valueChars = 0;
  const valueOf = (whole: string, name: string): string => {
    const value = variables.get(name) ?? whole;
    valueChars += value.length;
    if (valueChars > MAX_PLAYLIST_BYTES)
      throw unreadable(`the variables of the playlist expand to more than ${MAX_PLAYLIST_BYTES} characters`);
    return value;
  };
  for (const [raw] of text.matchAll(/[^\r\n]+/g)) {
    lineCount += 1;
    if (lineCount > MAX_LINES) throw unreadable(`the playlist has more than ${MAX_LINES} lines`);
    checkLength(raw);
    // This removes a byte order mark too.
    const line = raw.trim().replace(/\{\$([\w-]+)\}/g, valueOf);
    checkLength(line);
    if (line !== '') lines.push(line);
    if (line.startsWith('#EXT-X-DEFINE:')) define(variables, parseAttributes(splitTag(line)[1]), url);
  }
  return lines;
}

function checkLength(line: string): void {
  if (line.length > MAX_LINE_CHARS)
    throw unreadable(`the playlist has a line of more than ${MAX_LINE_CHARS} characters`);
}

function define(variables: Map<string, string>, attributes: ReadonlyMap<string, string>, url: URL): void {
  const parameter = attributes.get('QUERYPARAM');
  if (parameter !== undefined) variables.set(parameter, url.searchParams.get(parameter) ?? '');
  else variables.set(attributes.get('NAME') ?? '', attributes.get('VALUE') ?? '');
}

interface Variant extends Address {
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
        address: line,
        base,
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
  return { kind: 'master', variants: withVideo.slice(0, MAX_VARIANTS).map(urlOf) };
}

function parseMedia(lines: readonly string[], base: URL): MediaPlaylist {
  const hasEnded = lines.includes('#EXT-X-ENDLIST');
  const segments: Segment[] = [];
  let targetDurationS = 0;
  let longestS = 0;
  let sequence = 0;
  let map: MediaPart | null = null;
  let keys: ReadonlyMap<string, string>[] = [];
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
        sequence = toSequence(value);
        break;
      case '#EXT-X-KEY':
        if (!isInKeys) keys = [];
        if (keys.length === MAX_KEYS) throw unreadable(`a segment has more than ${MAX_KEYS} keys`);
        keys.push(parseAttributes(value));
        isInKeys = true;
        break;
      case '#EXT-X-MAP': {
        const attributes = parseAttributes(value);
        const range = toRange(attributes.get('BYTERANGE') ?? null, 0);
        map = { address: attributes.get('URI') ?? '', base, range, key: selectKey(keys, base) };
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
        // Without an offset, a range continues that of the segment before.
        const continuesAt: number = previous?.range && previous.address === line ? previous.range.end + 1 : 0;
        const range = toRange(next.range, continuesAt);
        const { durationS, isDiscontinuous, isGap } = next;
        const key = selectKey(keys, base);
        previous = { address: line, base, range, key };
        segments.push({ ...previous, map, sequence, durationS, isDiscontinuous, isGap });
        if (hasEnded && segments.length > MAX_SEGMENTS)
          throw unreadable(`the playlist has more than ${MAX_SEGMENTS} segments`);
        // Removes many at a time, because each removal moves the others.
        if (!hasEnded && segments.length === 2 * MAX_LIVE_SEGMENTS) segments.splice(0, MAX_LIVE_SEGMENTS);
        longestS = Math.max(longestS, durationS);
        sequence += 1;
        next = { durationS: 0, range: null, isDiscontinuous: false, isGap: false };
      }
    }
  }
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
  return { address: key.get('URI') ?? '', base, iv };
}

/** Splits `#EXT-X-KEY:METHOD=…` at its first colon. */
function splitTag(line: string): readonly [tag: string, value: string] {
  const colon = line.indexOf(':');
  return line.startsWith('#EXT') && colon > 0 ? [line.slice(0, colon), line.slice(colon + 1)] : [line, ''];
}

function parseAttributes(text: string): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  // Without the comma, a search in a long word would begin again at each of its letters.
  const pattern = /(?:^|,)\s*([A-Z0-9-]+)\s*=\s*(?:"([^"]*)"|([^",]*))/g;
  for (const [, name = '', quoted, plain] of text.matchAll(pattern))
    attributes.set(name, quoted ?? plain?.trim() ?? '');
  return attributes;
}

/** 0 for what is no sequence number. */
function toSequence(text: string): number {
  const sequence = Number(text);
  return Number.isSafeInteger(sequence) && sequence >= 0 ? sequence : 0;
}

/** Reads `LENGTH@OFFSET` or `LENGTH`. */
function toRange(text: string | null, continuesAt: number): ByteRange | null {
  const [, length, offset] = /^(\d+)(?:@(\d+))?$/.exec(text ?? '') ?? [];
  if (length === undefined) return null;
  const start = offset === undefined ? continuesAt : Number(offset);
  return { start, end: start + Number(length) - 1 };
}

/**
 * The address resolved. Throws `camera_codec` unless it is http or https: a hostile playlist must not lead to files or other
 * protocols.
 */
export function urlOf({ address, base }: Address): URL {
  const url = address === '' ? null : URL.parse(address, base.href);
  if (!url || !/^https?:$/.test(url.protocol))
    throw unreadable('the playlist has an address that is not http or https');
  return url;
}

const unreadable = (message: string): AgentError => new AgentError('camera_codec', message);
