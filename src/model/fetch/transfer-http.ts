import type { IncomingMessage } from 'node:http';
import { AgentError } from '../../base/errors.ts';
import { bodyOf } from './transfer-body.ts';
import { expectStatus, isMissing } from './transfer-answer.ts';
import { get } from './transfer-request.ts';
import { Persistence, type RetryDeps } from './transfer-retry.ts';
import type { TransferTuning } from './transfer-tuning.ts';
import type { MetadataSource } from '../trust/source.ts';

export interface HttpRepositoryOptions {
  /** From the configuration; may hold a user and a password. */
  readonly baseUrl: string;
  readonly clockSynced: boolean;
  readonly tuning: TransferTuning;
  /** 0: as fast as it comes. */
  readonly maxBytesPerS: number;
}

/** No folder that begins with a dot, nothing that a server could read otherwise. */
const PATH = /^[A-Za-z0-9][A-Za-z0-9._+-]*(\/[A-Za-z0-9][A-Za-z0-9._+-]*)*$/;

/** A repository on a web server. Every wait is bounded; what may pass is tried again. */
export class HttpRepository implements MetadataSource {
  readonly #base: URL;
  readonly #options: HttpRepositoryOptions;
  readonly #deps: RetryDeps;

  constructor(options: HttpRepositoryOptions, deps: RetryDeps) {
    this.#base = baseUrl(options.baseUrl);
    this.#options = options;
    this.#deps = deps;
  }

  /** A series of attempts that ends when no bytes come for too long. */
  persistence(): Persistence {
    return new Persistence(this.#options.tuning, this.#deps);
  }

  /** As `MetadataSource.fetch`. */
  async fetch(path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | null> {
    return this.persistence().run(async () => {
      const response = await this.get(path, {}, signal);
      if (isMissing(response)) {
        response.destroy();
        return null;
      }
      expectStatus(response, [200]);
      const pieces: Buffer[] = [];
      let sizeBytes = 0;
      for await (const piece of this.body(response, Infinity, signal)) {
        pieces.push(piece);
        sizeBytes += piece.length;
        if (sizeBytes > maxBytes) break;
      }
      return Buffer.concat(pieces).subarray(0, maxBytes + 1);
    }, signal);
  }

  /** The head of one answer; throws `TransferFault`. */
  async get(
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    if (!PATH.test(path)) throw new AgentError('model_trust_mismatch', 'a path that is none of a repository');
    const { tuning, clockSynced } = this.#options;
    return get(new URL(path, this.#base), { headers, tuning, clockSynced, signal });
  }

  body(response: IncomingMessage, maxBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { tuning, maxBytesPerS } = this.#options;
    return bodyOf(response, { tuning, clock: this.#deps.clock, signal, maxBytes, maxBytesPerS });
  }
}

function baseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new AgentError('model_no_repository', 'model.repository is no address of a web server');
  url.search = url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}
