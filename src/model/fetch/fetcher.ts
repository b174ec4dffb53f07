import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { ensureSpace } from '../disk-space.ts';
import { runFetchJob } from './child.ts';
import { DEFAULT_FETCH_LIMITS, type FetchJob, type FetchLimits } from './job.ts';
import { fetchDirs, PartFile, removePart } from './part-file.ts';
import type { VerifiedBundle } from './report.ts';
import type { BlockSource, BundleFetcher, FetchedBundle, FetchOptions, FetchProgress } from '../types.ts';

export interface FetcherOptions {
  /** The models directory, `{stateDir}/models`. */
  readonly dir: string;
  readonly limits?: Partial<FetchLimits>;
}

export interface FetcherDeps {
  readonly blocks: BlockSource;
  readonly log: Log;
}

/**
 * Downloads and verifies bundles. The agent itself parses no untrusted bytes: it starts a separate process for each
 * job. Blocks that arrive over MQTT are an exception only in part: the agent appends them to the part file, but does
 * not interpret them.
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
    onProgress: (progress: FetchProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { updateId, source } = options.request;
    try {
      if (source.kind === 'mqtt') {
        await this.#receiveBlocks(options, source, onProgress, signal);
        await this.#run('check', options, onProgress, signal);
      } else {
        await this.#run('download', options, onProgress, signal);
      }
    } catch (thrown) {
      signal.throwIfAborted();
      // Delete the incomplete download: observations need the disk space more than an incomplete model does.
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
      // Keep the part file only if a retry with the same bytes may succeed after this error.
      const { retryable, code } = asAgentError(thrown);
      if (!retryable || code === 'model_space' || code === 'model_transfer_changed')
        await this.discard(updateId);
      else await rm(fetchDirs(this.#dir, updateId).staging, { recursive: true, force: true });
      throw thrown;
    }
    if (bundle === null) throw new AgentError('model_fetch_crashed', 'the verification reported no bundle');
    const dir = join(fetchDirs(this.#dir, updateId).bundles, bundle.digest.replace('sha256:', ''));
    return { dir, ref: bundle };
  }

  async discard(updateId: string): Promise<void> {
    const { parts, staging } = fetchDirs(this.#dir, updateId);
    await removePart({ dir: parts, updateId });
    await rm(staging, { recursive: true, force: true });
  }

  #run(
    kind: FetchJob['kind'],
    options: FetchOptions,
    onProgress: (progress: FetchProgress) => void,
    signal: AbortSignal,
  ): Promise<VerifiedBundle | null> {
    const job: FetchJob = { kind, dir: this.#dir, options, limits: this.#limits };
    return runFetchJob(job, { log: this.#deps.log, onProgress }, signal);
  }

  async #receiveBlocks(
    { request: { updateId }, maxBytesPerS }: FetchOptions,
    { sizeBytes, digest }: { readonly sizeBytes: number; readonly digest: string },
    onProgress: (progress: FetchProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { maxBytes, reserveBytes } = this.#limits;
    if (sizeBytes > maxBytes)
      throw new AgentError('model_too_large', `${sizeBytes} bytes were announced, ${maxBytes} are allowed`);
    const { parts } = fetchDirs(this.#dir, updateId);
    const part = await PartFile.open(
      { dir: parts, updateId, reserveBytes },
      { of: 'mqtt:', sha256: digest.replace('sha256:', ''), sizeBytes },
    );
    try {
      // The disk must hold the rest of the archive, the unpacked repository, and the unpacked bundle.
      await ensureSpace(parts, 3 * sizeBytes - part.heldBytes + reserveBytes);
      const reportProgress = (): void => onProgress({ bytes: part.heldBytes, totalBytes: sizeBytes });
      reportProgress();
      await this.#deps.blocks.fetch(
        { updateId, maxBytesPerS },
        {
          sizeBytes,
          get heldBytes() {
            return part.heldBytes;
          },
          append: async (bytes) => {
            await part.append(bytes);
            reportProgress();
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
