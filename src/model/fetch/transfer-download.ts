import { createHash, type Hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { AgentError } from '../../base/errors.ts';
import type { PartFile } from './part-file.ts';
import { announcedBytes, contentRange, expectStatus, isMissing, strongTag } from './transfer-answer.ts';
import { changed, Excess, passing, TransferFault } from './transfer-fault.ts';
import type { HttpRepository } from './transfer-http.ts';
import type { Persistence } from './transfer-retry.ts';
import type { Progress } from '../types.ts';

export interface DownloadOptions {
  /** Below the base of the repository. */
  readonly path: string;
  /** Signed for; null when nobody vouches for it. */
  readonly expected: { readonly sizeBytes: number; readonly sha256: string } | null;
  readonly maxBytes: number;
  /** Told before the first byte is written. Rejects when there is no room. */
  readonly onSize: (sizeBytes: number) => Promise<void>;
  readonly onProgress: (progress: Progress) => void;
}

/** The file may change while it is fetched; a server whose bytes never are the right ones is not asked for ever. */
const MAX_RESTARTS = 2;

/** Fetches one file into a part, going on with what it holds. */
export class Download {
  readonly #repository: HttpRepository;
  readonly #part: PartFile;
  readonly #options: DownloadOptions;
  readonly #persistence: Persistence;
  #hash: Hash = createHash('sha256');
  #restarts = 0;

  constructor(repository: HttpRepository, part: PartFile, options: DownloadOptions) {
    this.#repository = repository;
    this.#part = part;
    this.#options = options;
    this.#persistence = repository.persistence();
  }

  /**
   * Until the part is whole and has the promised digest. Throws `model_trust_target` when the file is not there,
   * `model_transfer_failed`, `model_transfer_changed`, `model_too_large`, `model_space`; what the part holds then is
   * good for another try.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { expected, onSize, onProgress } = this.#options;
    this.#hash = await this.#part.hash(signal);
    if (expected !== null) await onSize(expected.sizeBytes);
    onProgress({ bytes: this.#part.heldBytes, totalBytes: this.#part.identity.sizeBytes });
    await this.#persistence.run(async () => {
      if (!this.#isWhole()) await this.#receive(signal);
      if (expected === null || this.#hash.copy().digest('hex') === expected.sha256) return;
      await this.#restart('the bytes are not those that were signed for');
    }, signal);
    await this.#part.sync();
  }

  #isWhole(): boolean {
    return this.#part.heldBytes === this.#part.identity.sizeBytes;
  }

  async #receive(signal: AbortSignal): Promise<void> {
    const part = this.#part;
    const response = await this.#repository.get(this.#options.path, this.#range(), signal);
    try {
      const totalBytes = await this.#begin(response);
      const most = (totalBytes ?? this.#options.maxBytes) - part.heldBytes;
      for await (const piece of this.#repository.body(response, most, signal)) {
        await part.append(piece);
        this.#hash.update(piece);
        this.#persistence.gained(piece.length);
        this.#options.onProgress({ bytes: part.heldBytes, totalBytes });
      }
      if (totalBytes !== null && part.heldBytes < totalBytes) throw passing('less bytes than announced');
    } catch (thrown) {
      // What came before it may be rubbish as well.
      if (thrown instanceof Excess) await this.#overflow(thrown);
      throw thrown;
    } finally {
      response.destroy();
    }
  }

  /** Looks at the head of an answer, and empties the part if it does not go on with it. Returns the size of the whole. */
  async #begin(response: IncomingMessage): Promise<number | null> {
    if (isMissing(response))
      throw new AgentError('model_trust_target', `the repository has no ${this.#options.path}`, {
        context: { status: response.statusCode },
      });
    if (response.statusCode === 416) await this.#restart('the file has become shorter');
    expectStatus(response, [200, 206]);
    if (response.statusCode === 206) return this.#goOn(response);
    const totalBytes = await this.#sizeOf(response);
    if (this.#part.heldBytes > 0) this.#hash = createHash('sha256');
    await this.#part.restart({ sizeBytes: totalBytes, tag: strongTag(response) });
    return totalBytes;
  }

  async #goOn(response: IncomingMessage): Promise<number | null> {
    const { heldBytes, identity } = this.#part;
    const range = contentRange(response);
    const goesOn = range?.from === heldBytes && heldBytes > 0;
    if (!goesOn || (range.totalBytes ?? identity.sizeBytes) !== identity.sizeBytes)
      await this.#restart('the repository sent another range than it was asked for');
    return identity.sizeBytes;
  }

  async #sizeOf(response: IncomingMessage): Promise<number | null> {
    const { expected, maxBytes, onSize } = this.#options;
    const sizeBytes = announcedBytes(response);
    if (expected !== null) {
      // It may be the page of a network that wants to be paid, which goes away.
      if (sizeBytes !== null && sizeBytes !== expected.sizeBytes)
        throw passing(`the repository sends ${sizeBytes} bytes, ${expected.sizeBytes} were signed for`);
      return expected.sizeBytes;
    }
    if (sizeBytes === null) return null;
    if (sizeBytes > maxBytes)
      throw new AgentError('model_too_large', `the archive has ${sizeBytes} bytes, ${maxBytes} are allowed`);
    await onSize(sizeBytes);
    return sizeBytes;
  }

  /** Asks for the rest only where the rest of something else would be noticed. */
  #range(): Record<string, string> {
    const { heldBytes, identity } = this.#part;
    if (heldBytes === 0 || (identity.tag === null && this.#options.expected === null)) return {};
    return {
      range: `bytes=${heldBytes}-`,
      ...(identity.tag === null ? {} : { 'if-range': identity.tag }),
    };
  }

  async #overflow(excess: Excess): Promise<never> {
    const unbounded = this.#part.identity.sizeBytes === null;
    if (!unbounded) return this.#restart(excess.message);
    await this.#part.restart({ tag: null });
    throw new AgentError('model_too_large', `the archive has more than ${this.#options.maxBytes} bytes`);
  }

  /** Throws always: another attempt begins with an empty part, or there is none. */
  async #restart(why: string): Promise<never> {
    await this.#part.restart({ tag: null });
    this.#hash = createHash('sha256');
    this.#restarts += 1;
    if (this.#restarts > MAX_RESTARTS) throw changed(why);
    throw new TransferFault(why, { afterMs: 0 });
  }
}
