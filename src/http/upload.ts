import { createHash } from 'node:crypto';
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { errorCode } from '../base/disk-errors.ts';
import { AgentError } from '../base/errors.ts';
import { UPLOAD_TUNING, UploadWatch, type UploadTuning } from './upload-watch.ts';

export interface UploadLimits {
  /** One image, bytes. */
  readonly imageBytes: number;
  readonly images: number;
  readonly tuning?: UploadTuning;
}

/** An image as the client sent it. Its bytes are valid until the next part is requested. */
export interface SentImage {
  readonly kind: 'image';
  readonly field: string;
  readonly filename: string | null;
  readonly bytes: Uint8Array;
  readonly sha256: string;
}

export type SentPart =
  | SentImage
  /** An image above the limit; the rest of it was skipped. */
  | { readonly kind: 'too_large'; readonly field: string; readonly filename: string | null }
  | { readonly kind: 'field'; readonly field: string; readonly value: string };

/** Form fields carry options: few and short. */
const MAX_FIELDS = 8;
const MAX_FIELD_BYTES = 256;
const MAX_PART_HEADER_BYTES = 4096;
/** Form data around an image: boundaries, headers, fields. */
const ENVELOPE_BYTES = 16 * 1024;
const MAX_FILENAME_CHARS = 255;
/** Read a refused body for this long, so that the client receives the refusal and not a connection reset. */
const LINGER_MS = 5000;
/** Fits a usual frame. The system provides only the pages that are written. */
const BUFFER_BYTES = 1024 * 1024;
const MAX_FREE_BUFFERS = 4;

/** Buffers for images. Those of the usual size are reused, because new ones for each image would keep the collector busy. */
export class UploadMemory {
  readonly #free: Buffer[] = [];

  /** A buffer of at least this size, with undefined content. */
  take(sizeBytes: number): Buffer {
    if (sizeBytes > BUFFER_BYTES) return Buffer.allocUnsafeSlow(sizeBytes);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }

  /** Returns a buffer that nobody reads any longer. */
  give(buffer: Buffer): void {
    if (buffer.length === BUFFER_BYTES && this.#free.length < MAX_FREE_BUFFERS) this.#free.push(buffer);
  }
}

/** Memory for the images of a request, bytes: it holds one image at a time, and none is larger than the body. */
export function bufferBytesFor(request: FastifyRequest, { imageBytes }: UploadLimits): number {
  return Math.min(contentLength(request) ?? imageBytes, imageBytes);
}

const contentLength = (request: FastifyRequest): number | null => {
  const length = request.headers['content-length'];
  return length === undefined ? null : Number(length);
};

const maxBodyBytes = ({ imageBytes, images }: UploadLimits): number => images * (imageBytes + ENVELOPE_BYTES);

/** Refuses a request by its headers. Throws `request_media_type`, `request_too_large`. */
export function checkUploadHeaders(request: FastifyRequest, limits: UploadLimits): void {
  const type = request.headers['content-type'] ?? '';
  if (!/^multipart\/form-data\s*(;|$)/i.test(type))
    throw new AgentError('request_media_type', 'this path takes multipart/form-data');
  if ((contentLength(request) ?? 0) > maxBodyBytes(limits))
    throw new AgentError('request_too_large', 'the form is larger than this path takes');
}

/** The parts of a form, read one by one: the next part is received only after the previous one is processed. */
export class Upload {
  readonly #request: FastifyRequest;
  readonly #limits: UploadLimits;
  /** One image after another is received into this. */
  readonly #buffer: Buffer;
  readonly #memory: UploadMemory;

  constructor(request: FastifyRequest, limits: UploadLimits, memory: UploadMemory) {
    this.#request = request;
    this.#limits = limits;
    this.#memory = memory;
    this.#buffer = memory.take(bufferBytesFor(request, limits));
  }

  /** Call this when nobody reads the images any longer. If that is not certain, leave the buffer to the collector. */
  release(): void {
    this.#memory.give(this.#buffer);
  }

  /**
   * Rejects with `request_invalid` for a malformed or truncated form or too many parts, `request_too_large`, and
   * `request_timeout` when the client sends too slowly.
   */
  async *parts(): AsyncGenerator<SentPart, void, undefined> {
    const { raw } = this.#request;
    let file: MultipartFile['file'] | null = null;
    const { promise: fault, reject: rejectFault } = Promise.withResolvers<never>();
    fault.catch(() => undefined);
    const watch = new UploadWatch(
      raw.socket,
      { maxBytes: maxBodyBytes(this.#limits), tuning: this.#limits.tuning ?? UPLOAD_TUNING },
      (found) => {
        file?.destroy(found);
        rejectFault(found);
      },
    );
    const parts = this.#request.parts({ limits: this.#partLimits(), preservePath: true });
    try {
      for (;;) {
        const next = await watch.whileReceiving(Promise.race([parts.next(), fault]));
        if (next.done === true) return;
        const part = next.value;
        if (part.type === 'file') {
          file = part.file;
          yield await watch.whileReceiving(this.#receiveImage(part));
          file = null;
        } else yield fieldOf(part);
      }
    } catch (thrown) {
      throw asFormError(thrown);
    } finally {
      watch.stop();
    }
  }

  #partLimits() {
    const { imageBytes, images } = this.#limits;
    return {
      fileSize: imageBytes,
      // One more than allowed, to distinguish too many images from the maximum.
      files: images + 1,
      fields: MAX_FIELDS,
      fieldSize: MAX_FIELD_BYTES,
      parts: images + 1 + MAX_FIELDS,
      headerPairs: 16,
      headerSize: MAX_PART_HEADER_BYTES,
    };
  }

  async #receiveImage(part: MultipartFile): Promise<SentPart> {
    const { fieldname: field } = part;
    const filename = printableName(part.filename);
    const hash = createHash('sha256');
    let length = 0;
    const chunks: AsyncIterable<Buffer> = part.file;
    for await (const chunk of chunks) {
      hash.update(chunk);
      length += chunk.copy(this.#buffer, length);
    }
    if (part.file.truncated) return { kind: 'too_large', field, filename };
    return {
      kind: 'image',
      field,
      filename,
      bytes: this.#buffer.subarray(0, length),
      sha256: hash.digest('hex'),
    };
  }
}

/** Receives and drops the rest of a body, for at most five seconds. */
export function discardRest(raw: FastifyRequest['raw']): void {
  if (raw.complete || raw.destroyed) return;
  raw.unpipe();
  raw.resume();
  const timer = setTimeout(() => raw.socket.destroy(), LINGER_MS);
  timer.unref();
  raw.once('close', () => clearTimeout(timer));
  raw.once('end', () => clearTimeout(timer));
}

function fieldOf(part: {
  readonly fieldname: string;
  readonly value: unknown;
  readonly valueTruncated: boolean;
}): SentPart {
  if (part.valueTruncated || typeof part.value !== 'string')
    throw new AgentError('request_invalid', 'a field of the form is not a short text');
  return { kind: 'field', field: part.fieldname, value: part.value };
}

/** The file name that the client sent, without control characters and of limited length. */
export function printableName(sent: string | undefined): string | null {
  if (sent === undefined) return null;
  const name = sent.replace(/[\p{Cc}\u2028\u2029]/gu, '').slice(0, MAX_FILENAME_CHARS);
  // Remove unpaired surrogates, which the client may send and which the cut may leave.
  return name.replace(/\p{Cs}/gu, '');
}

/** Turns an error of the form parser into one of the agent's codes. */
function asFormError(thrown: unknown): unknown {
  if (thrown instanceof AgentError) return thrown;
  const message = /^FST_(PARTS|FIELDS|FILES)_LIMIT$/.test(errorCode(thrown) ?? '')
    ? 'the form has more parts than this path takes'
    : 'the form is truncated or malformed';
  return new AgentError('request_invalid', message, { cause: thrown });
}
