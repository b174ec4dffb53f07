import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { closeAtEnd, closeQuietly } from '../../base/closing.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { ensureSpace } from '../disk-space.ts';
import { runFetchJob } from './child.ts';
import { DEFAULT_FETCH_LIMITS, type FetchJob, type FetchLimits } from './job.ts';
import { fetchDirs, PartFile, removePart } from './part-file.ts';
import type { VerifiedBundle } from './report.ts';
import type {
  BlockSource,
  BundleFetcher,
  FetchedBundle,
  FetchOptions,
  FetchProgress,
  SlotRef,
} from '../types.ts';

export interface FetcherOptions {
  /** The models directory `{stateDir}/models`, or for agents `{stateDir}/update`. */
  readonly dir: string;
  /** Default: models. */
  readonly product?: FetchJob['product'];
  readonly limits?: Partial<FetchLimits>;
}

export interface FetcherDeps {
  readonly blocks: BlockSource;
  readonly log: Log;
}

/**
 * Downloads and verifies models, or versions of the agent. The agent itself parses no untrusted bytes: it starts a separate process for each
 * job. Blocks that arrive over MQTT are an exception only in part: the agent appends them to the part file, but does
 * not interpret them.
 */
export class Fetcher implements BundleFetcher {
  readonly #dir: string;
  readonly #product: FetchJob['product'];
  readonly #limits: FetchLimits;
  readonly #deps: FetcherDeps;

  constructor(options: FetcherOptions, deps: FetcherDeps) {
    this.#dir = options.dir;
    this.#product = options.product ?? 'model';
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
      if (asAgentError(thrown).code === 'model_space') await closeQuietly(() => this.discard(updateId));
      throw thrown;
    }
  }

  async verify(options: FetchOptions, signal: AbortSignal): Promise<FetchedBundle> {
    const ref = await this.verifyArchive(options, signal);
    const { bundles } = fetchDirs(this.#dir, options.request.updateId);
    return { dir: join(bundles, ref.digest.replace('sha256:', '')), ref };
  }

  /** As `verify`, for an agent: leaves the archive `{sha256}.tar.gz` and the directory `metadata` in the directory. */
  async verifyArchive(options: FetchOptions, signal: AbortSignal): Promise<SlotRef> {
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
    return bundle;
  }

  /** The newest version of the agent in the repository; null when it has none for this device. */
  newest(options: FetchOptions, signal: AbortSignal): Promise<SlotRef | null> {
    return this.#run('newest', options, () => undefined, signal);
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
    const job: FetchJob = { kind, product: this.#product, dir: this.#dir, options, limits: this.#limits };
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
    await using _closed = closeAtEnd(() => part.close());
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
  }
}
