import { createHash, type Hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { AgentError } from '../../base/errors.ts';
import { ExcessBytes, temporaryFault } from './http-get.ts';
import { expectStatus, isMissing, type HttpRepository, type TransferRetries } from './http-repository.ts';
import type { PartFile } from './part-file.ts';
import type { FetchProgress } from '../types.ts';

export interface DownloadOptions {
  /** Path of the file, relative to the repository's base URL. */
  readonly path: string;
  /** The signed size and digest of the file; null without a root of trust. */
  readonly expected: { readonly sizeBytes: number; readonly sha256: string } | null;
  readonly maxBytes: number;
  /** Called with the size before the first byte is written. Rejects when the disk has not enough free space. */
  readonly onSize: (sizeBytes: number) => Promise<void>;
  readonly onProgress: (progress: FetchProgress) => void;
}

/**
 * A download starts again this often at most. The file may change during the download, but a server that always sends
 * wrong bytes must not cause an endless loop.
 */
const MAX_RESTARTS = 2;

/** Downloads one file into a part file. Continues after the bytes that the part file already holds. */
export class HttpDownload {
  readonly #repository: HttpRepository;
  readonly #part: PartFile;
  readonly #options: DownloadOptions;
  readonly #retries: TransferRetries;
  #hash: Hash = createHash('sha256');
  #restarts = 0;

  constructor(repository: HttpRepository, part: PartFile, options: DownloadOptions) {
    this.#repository = repository;
    this.#part = part;
    this.#options = options;
    this.#retries = repository.startRetries();
  }

  /**
   * Resolves when the part file is complete and has the signed digest. Throws `model_trust_target` when the repository
   * does not have the file, `model_transfer_failed`, `model_transfer_changed`, `model_too_large`, `model_space`. After
   * an error, a later download may continue from the part file.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { expected, onSize, onProgress } = this.#options;
    this.#hash = await this.#part.hash(signal);
    if (expected !== null) await onSize(expected.sizeBytes);
    onProgress({ bytes: this.#part.heldBytes, totalBytes: this.#part.identity.sizeBytes });
    await this.#retries.run(async () => {
      const isComplete = this.#part.heldBytes === this.#part.identity.sizeBytes;
      if (!isComplete) await this.#receive(signal);
      if (expected === null || this.#hash.copy().digest('hex') === expected.sha256) return;
      await this.#restart('the bytes have another digest than the signed one');
    }, signal);
    await this.#part.sync();
  }

  async #receive(signal: AbortSignal): Promise<void> {
    const part = this.#part;
    const response = await this.#repository.get(this.#options.path, this.#rangeHeaders(), signal);
    try {
      const totalBytes = await this.#acceptHeader(response);
      const maxBytes = (totalBytes ?? this.#options.maxBytes) - part.heldBytes;
      for await (const piece of this.#repository.body(response, maxBytes, signal)) {
        await part.append(piece);
        this.#hash.update(piece);
        this.#retries.recordBytes(piece.length);
        this.#options.onProgress({ bytes: part.heldBytes, totalBytes });
      }
      if (totalBytes !== null && part.heldBytes < totalBytes)
        throw temporaryFault('the repository sent fewer bytes than it announced');
    } catch (thrown) {
      // When the server sends too many bytes, the earlier bytes may be wrong too.
      if (thrown instanceof ExcessBytes) await this.#discardExcess(thrown);
      throw thrown;
    } finally {
      response.destroy();
    }
  }

  /**
   * Checks the header of a response. Empties the part file unless the body continues it. Returns the size of the whole
   * file.
   */
  async #acceptHeader(response: IncomingMessage): Promise<number | null> {
    if (isMissing(response))
      throw new AgentError('model_trust_target', `the repository has no ${this.#options.path}`, {
        context: { status: response.statusCode },
      });
    if (response.statusCode === 416) await this.#restart('the file has become shorter');
    expectStatus(response, [200, 206]);
    if (response.statusCode === 206) return this.#acceptRange(response);
    const totalBytes = await this.#acceptSize(response);
    if (this.#part.heldBytes > 0) this.#hash = createHash('sha256');
    await this.#part.restart({ sizeBytes: totalBytes, tag: strongETag(response) });
    return totalBytes;
  }

  async #acceptRange(response: IncomingMessage): Promise<number | null> {
    const { heldBytes, identity } = this.#part;
    const range = contentRange(response);
    const continues = range?.from === heldBytes && heldBytes > 0;
    if (!continues || (range.totalBytes ?? identity.sizeBytes) !== identity.sizeBytes)
      await this.#restart('the repository sent another range than the requested one');
    return identity.sizeBytes;
  }

  async #acceptSize(response: IncomingMessage): Promise<number | null> {
    const { expected, maxBytes, onSize } = this.#options;
    const sizeBytes = contentLength(response);
    if (expected !== null) {
      // This fault is temporary, because the response may be the login page of a public Wi-Fi network.
      if (sizeBytes !== null && sizeBytes !== expected.sizeBytes)
        throw temporaryFault(
          `the repository sends ${sizeBytes} bytes, the signed size is ${expected.sizeBytes}`,
        );
      return expected.sizeBytes;
    }
    if (sizeBytes === null) return null;
    if (sizeBytes > maxBytes)
      throw new AgentError('model_too_large', `the archive has ${sizeBytes} bytes, ${maxBytes} are allowed`);
    await onSize(sizeBytes);
    return sizeBytes;
  }

  /**
   * The headers that request only the missing rest of the file. Empty unless an ETag or a signed digest would reveal
   * that the file has changed.
   */
  #rangeHeaders(): Record<string, string> {
    const { heldBytes, identity } = this.#part;
    if (heldBytes === 0 || (identity.tag === null && this.#options.expected === null)) return {};
    return {
      range: `bytes=${heldBytes}-`,
      ...(identity.tag === null ? {} : { 'if-range': identity.tag }),
    };
  }

  async #discardExcess(excess: ExcessBytes): Promise<never> {
    const hasKnownSize = this.#part.identity.sizeBytes !== null;
    if (hasKnownSize) return this.#restart(excess.message);
    await this.#part.restart({ tag: null });
    throw new AgentError('model_too_large', `the archive has more than ${this.#options.maxBytes} bytes`);
  }

  /**
   * Empties the part file, then always throws: a temporary fault, or `model_transfer_changed` after too many restarts.
   */
  async #restart(reason: string): Promise<never> {
    await this.#part.restart({ tag: null });
    this.#hash = createHash('sha256');
    this.#restarts += 1;
    if (this.#restarts > MAX_RESTARTS) throw new AgentError('model_transfer_changed', reason);
    throw temporaryFault(reason);
  }
}

/** The length of the body in bytes; null when the header `content-length` is missing. */
function contentLength({ headers }: IncomingMessage): number | null {
  const text = headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** The ETag of the response if it is a strong one, which identifies the exact bytes; else null. */
function strongETag({ headers: { etag } }: IncomingMessage): string | null {
  return etag !== undefined && /^"[\x21\x23-\x7e]{1,256}"$/.test(etag) ? etag : null;
}

/** The range in the header of a 206 response. Source: RFC 9110 section 14.4. */
function contentRange({ headers }: IncomingMessage): {
  readonly from: number;
  /** Size of the whole file; null when the server does not know it. */
  readonly totalBytes: number | null;
} | null {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers['content-range'] ?? '');
  if (!match) return null;
  return { from: Number(match[1]), totalBytes: match[2] === '*' ? null : Number(match[2]) };
}
