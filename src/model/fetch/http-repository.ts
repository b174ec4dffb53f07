import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { Backoff } from '../../base/retry.ts';
import { httpGet, readBody, TransferFault } from './http-get.ts';
import type { TransferLimits } from './job.ts';
import type { MetadataSource } from '../trust/metadata-source.ts';

export interface HttpRepositoryOptions {
  /** The URL of the repository from the configuration; may contain a user and a password. */
  readonly baseUrl: string;
  readonly clockSynced: boolean;
  readonly limits: TransferLimits;
  /** Bandwidth limit, bytes per second; 0 means no limit. */
  readonly maxBytesPerS: number;
}

export interface HttpRepositoryDeps {
  readonly clock: Clock;
  readonly random?: () => number;
  /** Called before each pause between two attempts. */
  readonly onWait?: (reason: string, retryInMs: number) => void;
}

/** Allowed paths: no segment starts with a dot, and no character has a special meaning for a web server. */
const PATH = /^[A-Za-z0-9][A-Za-z0-9._+-]*(\/[A-Za-z0-9][A-Za-z0-9._+-]*)*$/;

/** Status codes that mean a missing file. Object stores answer 403 for one. */
const MISSING_STATUS = new Set([403, 404, 410]);

/** A repository on a web server. Every wait has a time limit, and a transfer is tried again after a temporary fault. */
export class HttpRepository implements MetadataSource {
  readonly #base: URL;
  readonly #options: HttpRepositoryOptions;
  readonly #deps: HttpRepositoryDeps;

  constructor(options: HttpRepositoryOptions, deps: HttpRepositoryDeps) {
    this.#base = parseBaseUrl(options.baseUrl);
    this.#options = options;
    this.#deps = deps;
  }

  startRetries(): TransferRetries {
    return new TransferRetries(this.#options.limits, this.#deps);
  }

  /** See `MetadataSource.fetch`. */
  async fetch(path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | null> {
    return this.startRetries().run(async () => {
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

  /** Sends a request and resolves when the header of the response has arrived; throws `TransferFault`. */
  async get(
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    if (!PATH.test(path))
      throw new AgentError('model_trust_mismatch', 'the requested path is not a path of a repository');
    const { limits, clockSynced } = this.#options;
    return httpGet(new URL(path, this.#base), { headers, limits, clockSynced, signal });
  }

  body(response: IncomingMessage, maxBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { limits, maxBytesPerS } = this.#options;
    return readBody(response, { limits, clock: this.#deps.clock, signal, maxBytes, maxBytesPerS });
  }
}

/**
 * Repeats a transfer after temporary faults, with pauses of random length ("full jitter"), as long as enough new bytes
 * arrive.
 */
export class TransferRetries {
  readonly #limits: TransferLimits;
  readonly #deps: HttpRepositoryDeps;
  readonly #startedMs: number;
  #lastProgressMs: number;
  #newBytes = 0;
  #backoff: Backoff;

  constructor(limits: TransferLimits, deps: HttpRepositoryDeps) {
    this.#limits = limits;
    this.#deps = deps;
    this.#startedMs = this.#lastProgressMs = deps.clock.monoMs();
    this.#backoff = new Backoff(limits.backoff, deps);
  }

  /**
   * Reports new bytes. They extend the deadline only after `minWindowBytes` have arrived, so that a connection with
   * very few bytes cannot extend it.
   */
  recordBytes(bytes: number): void {
    this.#newBytes += bytes;
    if (this.#newBytes < this.#limits.minWindowBytes) return;
    this.#newBytes = 0;
    this.#lastProgressMs = this.#deps.clock.monoMs();
    this.#backoff = new Backoff(this.#limits.backoff, this.#deps);
  }

  /** Calls `attempt` until it succeeds. Throws `model_transfer_failed` after the deadline or on a permanent fault. */
  async run<T>(attempt: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await attempt(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (!(thrown instanceof TransferFault)) throw thrown;
        if (thrown.retry === null) throw transferFailed(thrown.message, thrown);
        await this.#pause(thrown, thrown.retry.afterMs, signal);
      }
    }
  }

  async #pause(fault: TransferFault, minMs: number, signal: AbortSignal): Promise<void> {
    const { clock, onWait } = this.#deps;
    const { patienceMs, overallMs, backoff } = this.#limits;
    const waitMs = Math.max(this.#backoff.nextMs(), Math.min(minMs, backoff.maxMs * 5));
    const deadlineMs = Math.min(this.#lastProgressMs + patienceMs, this.#startedMs + overallMs);
    if (clock.monoMs() + waitMs > deadlineMs) throw transferFailed(`given up: ${fault.message}`, fault);
    onWait?.(fault.message, waitMs);
    await clock.sleep(waitMs, signal);
  }
}

export const isMissing = ({ statusCode = 0 }: IncomingMessage): boolean => MISSING_STATUS.has(statusCode);

/** Throws a permanent `TransferFault` when the status of the response is not one of `expected`. */
export function expectStatus(response: IncomingMessage, expected: readonly number[]): void {
  const status = response.statusCode ?? 0;
  if (expected.includes(status)) return;
  response.destroy();
  throw new TransferFault(`the repository answered ${status}`, null);
}

const transferFailed = (message: string, cause: unknown): AgentError =>
  new AgentError('model_transfer_failed', message, { cause });

function parseBaseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new AgentError('model_no_repository', 'model.repository is not an HTTP or HTTPS URL');
  url.search = url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}
