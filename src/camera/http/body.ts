import { pipeline } from 'node:stream/promises';
import { constants, createBrotliDecompress, createUnzip } from 'node:zlib';
import { detectImageType } from '../camera.ts';
import { ChunkDecoder } from './chunk-decoder.ts';
import type { ResponseHead } from './response-head.ts';
import type { SocketBytes } from './socket-bytes.ts';

const listOf = ({ headers }: ResponseHead, name: string): string[] =>
  (headers.get(name) ?? []).flatMap((value) => value.split(',')).map((item) => item.trim().toLowerCase());

/**
 * The announced length, bytes; null when there is none, or none that can be read. A repeated header has the last valid
 * value, as in curl.
 */
function announcedLength(head: ResponseHead): number | null {
  const lengths = listOf(head, 'content-length')
    .map((value) => Number(/^\+?(\d{1,15})(?!\d)/.exec(value)?.[1] ?? NaN))
    .filter((length) => !Number.isNaN(length));
  return lengths.at(-1) ?? null;
}

/** True for a status whose response has no body, whatever its headers say (RFC 9110, section 6.4.1). */
const isBodyless = (status: number): boolean => status === 204 || status === 304;

const isChunked = (head: ResponseHead): boolean => listOf(head, 'transfer-encoding').includes('chunked');

const isCompressed = (head: ResponseHead): boolean =>
  listOf(head, 'content-encoding').some((encoding) => /^(x-)?gzip$|^deflate$|^br$/.test(encoding));

/** True when nothing but the announced length tells where the body ends. */
export const endsByLength = (head: ResponseHead): boolean =>
  !isBodyless(head.status) && !isChunked(head) && !isCompressed(head) && announcedLength(head) !== null;

/**
 * Yields the body of a response as its head delimits it. Throws when the connection ends before the announced end, and
 * when chunks or compressed data are damaged; then it has yielded everything before the fault.
 *
 * @param isEndless the body is a stream, so a length is wrong: it ends with the connection
 */
export function readBody(
  head: ResponseHead,
  source: SocketBytes,
  isEndless: boolean,
): AsyncGenerator<Buffer, void, undefined> {
  const chunks = readDelimited(head, source, isEndless);
  return isCompressed(head) ? decompress(listOf(head, 'content-encoding').includes('br'), chunks) : chunks;
}

async function* readDelimited(
  head: ResponseHead,
  source: SocketBytes,
  isEndless: boolean,
): AsyncGenerator<Buffer, void, undefined> {
  if (isBodyless(head.status)) return;
  if (isChunked(head)) yield* readChunked(source);
  else yield* readLength(source, isEndless ? null : announcedLength(head));
}

async function* readLength(
  source: SocketBytes,
  length: number | null,
): AsyncGenerator<Buffer, void, undefined> {
  let left = length ?? Infinity;
  while (left > 0) {
    const chunk = await source.read();
    if (chunk === null) {
      if (length === null) return;
      throw new Error(`the camera announced ${length} bytes and sent ${length - left}`);
    }
    source.unread(chunk.subarray(left));
    const part = chunk.subarray(0, left);
    left -= part.length;
    yield part;
  }
}

async function* readChunked(source: SocketBytes): AsyncGenerator<Buffer, void, undefined> {
  const decoder = new ChunkDecoder();
  while (!decoder.hasEnded) {
    const bytes = await source.read();
    if (bytes === null) {
      decoder.end();
      return;
    }
    const data = decoder.push(bytes);
    if (data.length > 0) yield data;
    if (decoder.failure) throw decoder.failure;
  }
}

/** Decompresses a body, unless it starts as an image: then the header is wrong. */
async function* decompress(
  isBrotli: boolean,
  chunks: AsyncGenerator<Buffer, void, undefined>,
): AsyncGenerator<Buffer, void, undefined> {
  const first = await chunks.next();
  if (first.done === true) return;
  let failure = null as Error | null;
  async function* all(): AsyncGenerator<Buffer, void, undefined> {
    yield first.value as Buffer;
    try {
      yield* chunks;
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
  }
  if (detectImageType(first.value) !== null) yield* all();
  else {
    const decoder = isBrotli
      ? createBrotliDecompress({ finishFlush: constants.BROTLI_OPERATION_FLUSH })
      : createUnzip({ finishFlush: constants.Z_SYNC_FLUSH });
    // A failure of the pipeline also ends the iteration of its last stream.
    pipeline(all, decoder).catch(() => undefined);
    yield* decoder as AsyncIterable<Buffer>;
  }
  if (failure) throw failure;
}
