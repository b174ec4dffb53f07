import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { runFetchJob } from './child.ts';
import { DEFAULT_FETCH_LIMITS, type FetchLimits } from './limits.ts';
import type { FetchJob, VerifiedBundle } from './messages.ts';
import { placesOf } from './places.ts';
import { PartFile, removePart } from './part-file.ts';
import { ensureSpace } from './space.ts';
import type { BlockSource, BundleFetcher, FetchedBundle, FetchOptions, Progress } from '../types.ts';

export interface FetcherOptions {
  /** Folder of the models, `{stateDir}/models`. */
  readonly dir: string;
  readonly limits?: Partial<FetchLimits>;
}

export interface FetcherDeps {
  readonly blocks: BlockSource;
  readonly log: Log;
}

/**
 * Brings bundles to the device. What strangers wrote is read by a process that is started for each job and ends with it;
 * blocks that come by MQTT are put into the part here, unread.
 */
export class Fetcher implements BundleFetcher {
  readonly #dir: string;
  readonly #limits: FetchLimits;
  readonly #deps: FetcherDeps;

  constructor(options: FetcherOptions, deps: FetcherDeps) {
    this.#dir = options.dir;
    this.#limits = { ...DEFAULT_FETCH_LIMITS, ...options.limits };
    this.#deps = deps;
  }

  async download(
    options: FetchOptions,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { updateId, source } = options.request;
    try {
      if (source.kind === 'mqtt') {
        await this.#takeBlocks(options, source, onProgress, signal);
        await this.#run('check', options, onProgress, signal);
      } else {
        await this.#run('download', options, onProgress, signal);
      }
    } catch (thrown) {
      signal.throwIfAborted();
      // Observations need the room more than a part of a model does.
      if (asAgentError(thrown).code === 'model_space') await this.discard(updateId);
      throw thrown;
    }
  }

  async verify(options: FetchOptions, signal: AbortSignal): Promise<FetchedBundle> {
    const { updateId } = options.request;
    let bundle: VerifiedBundle | null;
    try {
      bundle = await this.#run('verify', options, () => undefined, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      // A part that may yet be good is kept for another try.
      const { retryable, code } = asAgentError(thrown);
      if (!retryable || code === 'model_space' || code === 'model_transfer_changed')
        await this.discard(updateId);
      else await rm(placesOf(this.#dir, updateId).staging, { recursive: true, force: true });
      throw thrown;
    }
    if (bundle === null) throw new AgentError('model_fetch_crashed', 'the verification named no bundle');
    const dir = join(placesOf(this.#dir, updateId).bundles, bundle.digest.replace('sha256:', ''));
    return { dir, ref: bundle };
  }

  async discard(updateId: string): Promise<void> {
    const { parts, staging } = placesOf(this.#dir, updateId);
    await removePart({ dir: parts, updateId });
    await rm(staging, { recursive: true, force: true });
  }

  #run(
    kind: FetchJob['kind'],
    options: FetchOptions,
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<VerifiedBundle | null> {
    const job: FetchJob = { kind, dir: this.#dir, options, limits: this.#limits };
    return runFetchJob(job, { log: this.#deps.log, onProgress }, signal);
  }

  async #takeBlocks(
    { request: { updateId }, maxBytesPerS }: FetchOptions,
    { sizeBytes, digest }: { readonly sizeBytes: number; readonly digest: string },
    onProgress: (progress: Progress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { maxBytes, reserveBytes } = this.#limits;
    if (sizeBytes > maxBytes)
      throw new AgentError('model_too_large', `${sizeBytes} bytes were announced, ${maxBytes} are allowed`);
    const { parts } = placesOf(this.#dir, updateId);
    const part = await PartFile.open(
      { dir: parts, updateId, reserveBytes },
      { of: 'mqtt:', sha256: digest.replace('sha256:', ''), sizeBytes },
    );
    try {
      // The rest of the repository, the repository unpacked, and the bundle out of it.
      await ensureSpace(parts, 3 * sizeBytes - part.heldBytes + reserveBytes);
      const tell = (): void => onProgress({ bytes: part.heldBytes, totalBytes: sizeBytes });
      tell();
      await this.#deps.blocks.fetch(
        { updateId, maxBytesPerS },
        {
          sizeBytes,
          get heldBytes() {
            return part.heldBytes;
          },
          append: async (bytes) => {
            await part.append(bytes);
            tell();
          },
        },
        signal,
      );
      await part.sync();
    } finally {
      await part.close();
    }
  }
}
