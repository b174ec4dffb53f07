import { createDecipheriv } from 'node:crypto';
import { addAbortListener } from 'node:events';
import type { Clock } from '../../base/clock.ts';
import { AgentError, isAbort } from '../../base/errors.ts';
import type { HttpClient } from '../http/client.ts';
import type { HttpResponse } from '../http/exchange.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import {
  MAX_PLAYLIST_BYTES,
  parsePlaylist,
  urlOf,
  type MediaPart,
  type MediaPlaylist,
  type Segment,
} from './playlist.ts';

/** A master playlist may name another one; deeper nesting is a loop. */
const MAX_NESTING = 3;
/** Requests that fail one after the other before the stream counts as broken. */
const MAX_FAILURES = 3;
/** Shortest time between two requests for the playlist. */
const MIN_RELOAD_MS = 250;
/** A live playlist without a new segment for three segments (and this time) is not live. */
const MIN_STALE_MS = 30_000;
/** Kept ids of the newest segments. */
const MAX_RECENT = 8;

interface OpenPlaylist {
  readonly url: URL;
  readonly playlist: MediaPlaylist;
}

/**
 * Reads the media of one HLS camera: of the best variant only, from the newest segment on. Every request goes through the
 * HTTP client of the camera, with its rules for credentials, certificates and redirects.
 */
export class HlsReader {
  readonly #client: HttpClient;
  readonly #clock: Clock;
  /** The newest segment, and when it was first seen. Kept between captures: a stale playlist answers each one. */
  #newest: { readonly sequence: number; readonly sinceMs: number } | null = null;
  /** Several servers that have stopped may answer in turn: none of their segments is new a second time. */
  #recentIds: readonly string[] = [];
  #isRestarting = false;
  /** True when a live playlist has got a new segment. */
  #hasMoved = false;
  /** True while a live playlist has segments, but no new one yet: they may be those of a server that has stopped. */
  isWaiting = false;
  #keys = new Map<string, Buffer>();

  constructor(deps: { readonly client: HttpClient; readonly clock: Clock }) {
    this.#client = deps.client;
    this.#clock = deps.clock;
  }

  /**
   * Yields the stream in parts, each of which one decoder can read from its start: a discontinuity or a new header begins
   * another part. Read each part to its end before the next. Ends with a playlist that has ended. Throws `camera_*` errors,
   * and the signal's reason on abort.
   */
  async *parts(signal: AbortSignal): AsyncGenerator<AsyncGenerator<Buffer>, void, undefined> {
    this.#keys.clear();
    this.isWaiting = false;
    const segments = this.#segments(signal);
    const first = await segments.next();
    let start: Segment | null = first.done === true ? null : first.value;
    const load = (part: MediaPart, sequence: number) => this.#load(part, sequence, signal);
    const readPart = async function* (from: Segment): AsyncGenerator<Buffer, void, undefined> {
      start = null;
      if (from.map) yield* load(from.map, from.sequence);
      for (let segment = from, failures = 0; ;) {
        try {
          yield* load(segment, segment.sequence);
          failures = 0;
        } catch (failure) {
          // Servers delete segments early, and list them before they are everywhere.
          failures += 1;
          if (!isPassing(failure) || failures === MAX_FAILURES) throw failure;
        }
        const next = await segments.next();
        if (next.done === true) return;
        if (beginsPart(next.value, segment)) {
          start = next.value;
          return;
        }
        segment = next.value;
      }
    };
    while (start !== null) yield readPart(start);
  }

  /** Yields the newest segment of a live stream that has moved and all that follow, or all of a stream that has ended. */
  async *#segments(signal: AbortSignal): AsyncGenerator<Segment, void, undefined> {
    let { url, playlist } = await this.#openPlaylist(signal);
    let last: Segment | null = null;
    for (;;) {
      const loadedMs = this.#clock.monoMs();
      this.#checkAge(playlist);
      this.isWaiting = !playlist.hasEnded && !this.#hasMoved;
      const isEmpty = this.isWaiting || playlist.segments.length === 0;
      const fresh: readonly Segment[] = isEmpty ? [] : selectFresh(playlist, last);
      for (const segment of fresh) {
        last = segment;
        if (!segment.isGap) yield segment;
      }
      if (playlist.hasEnded) return;
      // RFC 8216, section 6.3.4: half the time if the playlist has not changed.
      const pauseMs = (playlist.targetDurationS * 1000) / (fresh.length > 0 ? 1 : 2);
      await this.#sleepUntil(loadedMs + Math.max(pauseMs, MIN_RELOAD_MS), signal);
      ({ url, playlist } = await this.#reload(url, pauseMs, signal));
    }
  }

  /** The playlist of the best variant that can be loaded. */
  async #openPlaylist(signal: AbortSignal): Promise<OpenPlaylist> {
    let candidates: readonly URL[] = [this.#client.url];
    let failure: unknown = new AgentError('camera_codec', 'the playlist names no stream');
    for (let depth = 0; depth < MAX_NESTING; depth += 1) {
      let nested: readonly URL[] = [];
      for (const url of candidates.slice(0, MAX_FAILURES)) {
        try {
          const playlist = await this.#loadPlaylist(url, signal);
          if (playlist.kind === 'media') return { url, playlist };
          nested = playlist.variants;
          break;
        } catch (thrown) {
          if (!isPassing(thrown)) throw thrown;
          failure = thrown;
        }
      }
      candidates = nested;
    }
    throw failure;
  }

  async #reload(url: URL, pauseMs: number, signal: AbortSignal): Promise<OpenPlaylist> {
    for (let failures = 1; ; failures += 1) {
      try {
        const playlist = await this.#loadPlaylist(url, signal);
        if (playlist.kind === 'media') return { url, playlist };
        throw new AgentError('camera_codec', 'the playlist became a master playlist');
      } catch (failure) {
        if (!isPassing(failure) || failures === MAX_FAILURES) throw failure;
        await this.#clock.sleep(Math.max(pauseMs / 2, MIN_RELOAD_MS), signal);
      }
    }
  }

  async #loadPlaylist(url: URL, signal: AbortSignal): Promise<ReturnType<typeof parsePlaylist>> {
    const response = await this.#client.get({}, signal, url);
    const bytes = await collect(read(response, signal), MAX_PLAYLIST_BYTES);
    signal.throwIfAborted();
    if (bytes === null)
      throw new AgentError('camera_codec', `the playlist is larger than ${MAX_PLAYLIST_BYTES} bytes`);
    return parsePlaylist(bytes.toString('utf8'), response.url);
  }

  /** Throws `camera_no_frame` for a live playlist that has stopped: its newest segment would pass for a new image. */
  #checkAge({ segments, hasEnded, targetDurationS }: MediaPlaylist): void {
    const ageMs = this.#clock.monoMs() - this.#noteNewest(segments.at(-1));
    if (!hasEnded && ageMs > Math.max(MIN_STALE_MS, 3000 * targetDurationS))
      throw new AgentError(
        'camera_no_frame',
        `the playlist has had no new segment for ${Math.round(ageMs / 1000)} s`,
        { hint: CAUSE_REMEDIES.stopped_stream },
      );
  }

  /** Since when the stream has made no progress, monotonic ms. */
  #noteNewest(segment: Segment | undefined): number {
    const sinceMs = this.#clock.monoMs();
    const isFirst = this.#recentIds.length === 0;
    this.#newest ??= { sequence: -1, sinceMs };
    const id = segment && `${segment.sequence} ${urlOf(segment).pathname}`;
    if (!segment || !id || this.#recentIds.includes(id)) return this.#newest.sinceMs;
    this.#recentIds = [id, ...this.#recentIds].slice(0, MAX_RECENT);
    const { sequence } = segment;
    const continues = sequence >= this.#newest.sequence;
    // A lower number is that of a server that is behind, or that counts anew. A second one proves that it goes on.
    if (continues || this.#isRestarting) {
      this.#newest = { sequence, sinceMs };
      this.#hasMoved ||= !isFirst;
    }
    this.#isRestarting = !continues && !this.#isRestarting;
    return this.#newest.sinceMs;
  }

  /** Yields the bytes of a segment or header, decrypted. */
  async *#load(
    part: MediaPart,
    sequence: number,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void, undefined> {
    const { range, key } = part;
    const headers = range ? { range: `bytes=${range.start}-${range.end}` } : {};
    // Before the request for the segment: a response must be read or discarded, also when there is no key.
    const secret = key && { key: await this.#loadKey(urlOf(key), signal), iv: key.iv ?? ivOf(sequence) };
    const response = await this.#client.get(headers, signal, urlOf(part));
    const body = read(response, signal);
    // A server may ignore the range and send everything.
    const bytes = range && response.status !== 206 ? cut(body, range.start, range.end + 1) : body;
    yield* secret ? decrypt(bytes, secret.key, secret.iv) : bytes;
    signal.throwIfAborted();
  }

  async #loadKey(url: URL, signal: AbortSignal): Promise<Buffer> {
    const known = this.#keys.get(url.href);
    if (known) return known;
    const response = await this.#client.get({}, signal, url);
    const key = await collect(read(response, signal), 16);
    signal.throwIfAborted();
    if (key?.length !== 16)
      throw new AgentError('camera_codec', 'the key of the stream does not have 16 bytes');
    // Keys change with time.
    if (this.#keys.size >= 16) this.#keys.clear();
    this.#keys.set(url.href, key);
    return key;
  }

  async #sleepUntil(untilMs: number, signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(Math.max(0, untilMs - this.#clock.monoMs()), signal);
  }
}

/** The segments after `last`; the newest one at the start, and when the server has begun to count anew. */
function selectFresh({ segments, hasEnded }: MediaPlaylist, last: Segment | null): readonly Segment[] {
  if (last === null)
    return hasEnded ? segments : segments.slice(segments.findLastIndex(({ isGap }) => !isGap));
  const newest = segments.at(-1) ?? last;
  if (newest.sequence > last.sequence) return segments.filter(({ sequence }) => sequence > last.sequence);
  const isSame = urlOf(newest).pathname === urlOf(last).pathname && newest.range?.start === last.range?.start;
  return isSame ? [] : [{ ...newest, isDiscontinuous: true }];
}

const beginsPart = (segment: Segment, before: Segment): boolean =>
  segment.isDiscontinuous ||
  hrefOf(segment.map) !== hrefOf(before.map) ||
  segment.map?.range?.start !== before.map?.range?.start;

const hrefOf = (part: MediaPart | null): string | null => part && urlOf(part).href;

/** False for failures that another request will not mend. */
const isPassing = (failure: unknown): boolean =>
  failure instanceof AgentError &&
  failure.code !== 'camera_auth' &&
  failure.code !== 'camera_codec' &&
  !isAbort(failure);

/** The body of a response. An abort ends it. */
async function* read(response: HttpResponse, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  using _abort = addAbortListener(signal, () => response.discard());
  try {
    yield* response.chunks();
  } finally {
    response.discard();
  }
}

/** All bytes; null when there are more than `maxBytes`. */
async function collect(chunks: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) return null;
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

/** The bytes from `start` to `end` (exclusive). */
async function* cut(chunks: AsyncIterable<Buffer>, start: number, end: number): AsyncGenerator<Buffer> {
  let position = 0;
  for await (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, start - position), Math.max(0, end - position));
    if (part.length > 0) yield part;
    position += chunk.length;
    if (position >= end) return;
  }
}

async function* decrypt(chunks: AsyncIterable<Buffer>, key: Buffer, iv: Buffer): AsyncGenerator<Buffer> {
  const decipher = createDecipheriv('aes-128-cbc', key, iv);
  for await (const chunk of chunks) yield decipher.update(chunk);
  try {
    yield decipher.final();
  } catch (cause) {
    throw new AgentError('camera_codec', 'a segment cannot be decrypted with the key of the stream', {
      cause,
    });
  }
}

/** The media sequence number as a big-endian number of 128 bits. */
function ivOf(sequence: number): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeBigUInt64BE(BigInt(sequence), 8);
  return iv;
}
