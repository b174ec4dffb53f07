import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { MultipartFile } from '@fastify/multipart';
import { AgentError } from '../base/errors.ts';
import type { UploadMemory } from './upload-memory.ts';
import { UPLOAD_TUNING, UploadWatch, type UploadTuning } from './upload-watch.ts';

export interface UploadLimits {
  /** One image, bytes. */
  readonly imageBytes: number;
  readonly images: number;
  readonly tuning?: UploadTuning;
}

/** An image as it was sent; its bytes stand until the next part is asked for. */
export interface SentImage {
  readonly kind: 'image';
  readonly field: string;
  readonly filename: string | null;
  readonly bytes: Uint8Array;
  readonly sha256: string;
}

export type SentPart =
  | SentImage
  /** Longer than an image may be; its rest was passed over. */
  | { readonly kind: 'too_large'; readonly field: string; readonly filename: string | null }
  | { readonly kind: 'field'; readonly field: string; readonly value: string };

/** Options come as fields too; there are few, and short ones. */
const MAX_FIELDS = 8;
const FIELD_BYTES = 256;
const PART_HEADER_BYTES = 4096;
/** What surrounds an image: boundaries, headers, fields. */
const ENVELOPE_BYTES = 16 * 1024;
const MAX_FILENAME = 255;
/** A refused body is still received for so long, so that its sender reads the refusal and not a broken connection. */
const LINGER_MS = 5000;

/** Bytes of memory that a request's images take: one at a time, and none is larger than the body. */
export function bytesWanted(request: FastifyRequest, { imageBytes }: UploadLimits): number {
  return Math.min(declaredBytes(request) ?? imageBytes, imageBytes);
}

const declaredBytes = (request: FastifyRequest): number | null => {
  const declared = request.headers['content-length'];
  return declared === undefined ? null : Number(declared);
};

const mostBytes = ({ imageBytes, images }: UploadLimits): number => images * (imageBytes + ENVELOPE_BYTES);

/** Refuses from the headers alone. Throws `request_media_type`, `request_too_large`. */
export function checkHead(request: FastifyRequest, limits: UploadLimits): void {
  const type = request.headers['content-type'] ?? '';
  if (!/^multipart\/form-data\s*(;|$)/i.test(type))
    throw new AgentError('request_media_type', 'this path takes multipart/form-data');
  if ((declaredBytes(request) ?? 0) > mostBytes(limits))
    throw new AgentError('request_too_large', 'the form is larger than this path takes');
}

/** The parts of a form, read one by one: the next is not received before the one in hand is done with. */
export class Upload {
  readonly #request: FastifyRequest;
  readonly #limits: UploadLimits;
  /** One image after the other; as large as the largest that may come, of which only what is written takes memory. */
  readonly #memory: Buffer;
  readonly #source: UploadMemory;

  constructor(request: FastifyRequest, limits: UploadLimits, source: UploadMemory) {
    this.#request = request;
    this.#limits = limits;
    this.#source = source;
    this.#memory = source.take(bytesWanted(request, limits));
  }

  /** Its images are not read any more. Not to be called where that is not sure: the memory is then collected. */
  release(): void {
    this.#source.give(this.#memory);
  }

  /**
   * Rejects with `request_invalid` for a form that is no form, truncated, or of too many parts, `request_too_large`,
   * `request_timeout` when its sender is too slow.
   */
  async *parts(): AsyncGenerator<SentPart, void, undefined> {
    const { raw } = this.#request;
    let file: MultipartFile['file'] | null = null;
    let giveUp: (fault: AgentError) => void = () => undefined;
    const late = new Promise<never>((_resolve, reject) => {
      giveUp = reject;
    });
    late.catch(() => undefined);
    const watch = new UploadWatch(
      raw.socket,
      { mostBytes: mostBytes(this.#limits), tuning: this.#limits.tuning ?? UPLOAD_TUNING },
      (found) => {
        file?.destroy(found);
        giveUp(found);
      },
    );
    const parts = this.#request.parts({
      limits: this.#partLimits(),
      preservePath: true,
    });
    try {
      for (;;) {
        const next = await watch.waiting(Promise.race([parts.next(), late]));
        if (next.done === true) return;
        const part = next.value;
        if (part.type === 'file') {
          file = part.file;
          yield await watch.waiting(this.#image(part));
          file = null;
        } else yield fieldOf(part);
      }
    } catch (thrown) {
      throw asFormFault(thrown);
    } finally {
      watch.stop();
    }
  }

  #partLimits() {
    const { imageBytes, images } = this.#limits;
    return {
      fileSize: imageBytes,
      // One more than may be, to tell too many from just enough.
      files: images + 1,
      fields: MAX_FIELDS,
      fieldSize: FIELD_BYTES,
      parts: images + 1 + MAX_FIELDS,
      headerPairs: 16,
      headerSize: PART_HEADER_BYTES,
    };
  }

  async #image(part: MultipartFile): Promise<SentPart> {
    const { fieldname: field } = part;
    const filename = shownName(part.filename);
    const hash = createHash('sha256');
    let length = 0;
    const chunks: AsyncIterable<Buffer> = part.file;
    for await (const chunk of chunks) {
      hash.update(chunk);
      length += chunk.copy(this.#memory, length);
    }
    if (part.file.truncated) return { kind: 'too_large', field, filename };
    return {
      kind: 'image',
      field,
      filename,
      bytes: this.#memory.subarray(0, length),
      sha256: hash.digest('hex'),
    };
  }
}

/** Receives the rest of a body that nobody wants, for five seconds at most. */
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
    throw new AgentError('request_invalid', 'a field of the form is no short text');
  return { kind: 'field', field: part.fieldname, value: part.value };
}

/** As sent, but fit to be shown: no control characters, and not too long. */
export function shownName(sent: string | undefined): string | null {
  if (sent === undefined) return null;
  const plain = sent.replace(/[\p{Cc}\u2028\u2029]/gu, '').slice(0, MAX_FILENAME);
  // Half a character, sent or left by the cut, is none.
  return plain.replace(/\p{Cs}/gu, '');
}

/** What the parser of forms says, in the agent's codes. */
function asFormFault(thrown: unknown): unknown {
  if (thrown instanceof AgentError) return thrown;
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  if (/^FST_(PARTS|FIELDS|FILES)_LIMIT$/.test(code))
    return new AgentError('request_invalid', 'the form has more parts than this path takes', {
      cause: thrown,
    });
  return new AgentError('request_invalid', 'the form is truncated or malformed', { cause: thrown });
}
