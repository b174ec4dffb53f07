import { Updater } from 'tuf-js';
import { closeAtEnd } from '../../base/closing.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { TrustCache } from './cache.ts';
import {
  MAX_METADATA_BYTES,
  MAX_NEW_ROOTS,
  METADATA_BASE_URL,
  MetadataFetcher,
  type MetadataSource,
} from './metadata-source.ts';
import { MetadataStore, type MetadataStoreOptions } from './metadata-store.ts';
import { releaseVersions, signedRelease, type ReleaseArch, type SignedRelease } from './release-target.ts';
import { signedTarget, type SignedTarget } from './target.ts';

export interface TrustOptions {
  /** Directory with the verified metadata. Only one instance may use it at a time. */
  readonly dir: string;
  /** Path of the operator's root.json, which this device trusts without further checks. */
  readonly rootFile: string;
  /** The wall clock, ms since the epoch; null while it is not synchronised. */
  readonly syncedNowMs: number | null;
}

/**
 * The TUF client of a device: The Update Framework 1.0, client workflow (section 5), on `tuf-js`. It trusts only the
 * four top-level roles. It never follows delegations, so targets of delegated roles do not exist for it.
 *
 * Expiry dates are compared with the later of two times: the synchronised clock, and the latest time at which all
 * metadata were verified and not expired. Without a synchronised clock only the second time is used. Expired metadata
 * prevent new installs, but do not affect anything else.
 */
export class Trust {
  readonly #options: TrustOptions;
  #store: MetadataStore | null = null;
  #isExpiryChecked = false;

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /** False when the last `refresh` knew no time: the clock of the device has never been synchronised. */
  get isExpiryChecked(): boolean {
    return this.#isExpiryChecked;
  }

  /**
   * Updates the metadata from the source. Keeps the files that were verified, even when a later file fails. Throws
   * `model_trust_root`, `model_trust_signature`, `model_trust_expired`, `model_trust_rollback`, `model_trust_mismatch`,
   * `model_transfer_failed`, `model_space`, and the signal's AbortError.
   */
  async refresh(source: MetadataSource, signal: AbortSignal): Promise<void> {
    const { dir, rootFile } = this.#options;
    this.#store = null;
    const cache = await TrustCache.open(dir, rootFile);
    const fetcher = new MetadataFetcher(source, signal);
    const { root, store } = await this.#openStore(cache, (bytes) => fetcher.isFetched(bytes));
    await cache.inScratchDir(root, async (scratchDir) => {
      const updater = new Updater({
        metadataDir: scratchDir,
        metadataBaseUrl: METADATA_BASE_URL,
        fetcher,
        config: {
          maxRootRotations: MAX_NEW_ROOTS + 1,
          rootMaxLength: MAX_METADATA_BYTES.root,
          timestampMaxLength: MAX_METADATA_BYTES.timestamp,
          snapshotMaxLength: MAX_METADATA_BYTES.snapshot,
          targetsMaxLength: MAX_METADATA_BYTES.targets,
        },
      });
      // The store that tuf-js creates uses the clock of the machine: replace it. A test checks that tuf-js uses this
      // store.
      Object.assign(updater, { trustedSet: store });
      let isFresh = false;
      await using _stored = closeAtEnd(() => {
        const floorMs = Math.max(cache.marks?.floorMs ?? 0, isFresh ? (this.#options.syncedNowMs ?? 0) : 0);
        return cache.store(scratchDir, { ...store.learned, floorMs: floorMs > 0 ? floorMs : null });
      });
      try {
        await updater.refresh();
        isFresh = true;
      } catch (error) {
        signal.throwIfAborted();
        throw refreshError(error, fetcher.error, store.fault);
      }
    });
    this.#store = store;
  }

  /**
   * Returns the signed target (the entry with size and digest) of one bundle from the last `refresh`. Without a
   * refresh, uses the stored metadata if they have not expired. Throws `model_trust_target` when the repository has no
   * such bundle, and the errors of `refresh`.
   */
  async target(name: string, version: string): Promise<SignedTarget> {
    const { root, targets } = (this.#store ??= await this.#loadStored());
    return signedTarget(targets?.signed.targets ?? {}, name, version, root.signed.consistentSnapshot);
  }

  /** Returns all signed targets in the form that `target` returns. Skips entries that are not models. */
  async targets(): Promise<SignedTarget[]> {
    const { targets } = (this.#store ??= await this.#loadStored());
    const all: SignedTarget[] = [];
    for (const path of Object.keys(targets?.signed.targets ?? {})) {
      const [, name = '', version = ''] = /^models\/([^/]+)\/([^/]+)\.tar$/.exec(path) ?? [];
      if (name !== '') all.push(await this.target(name, version));
    }
    return all;
  }

  /** Returns the signed archive of one version of the agent. As `target` does, for a repository of the agent. */
  async release(version: string, arch: ReleaseArch): Promise<SignedRelease> {
    const { root, targets } = (this.#store ??= await this.#loadStored());
    return signedRelease(targets?.signed.targets ?? {}, version, arch, root.signed.consistentSnapshot);
  }

  /** The versions of the agent that the repository has for one architecture. */
  async releaseVersions(arch: ReleaseArch): Promise<readonly string[]> {
    const { targets } = (this.#store ??= await this.#loadStored());
    return releaseVersions(targets?.signed.targets ?? {}, arch);
  }

  /**
   * Starts with the stored root metadata. Starts with the pinned root when the stored one is missing, damaged or older.
   */
  async #openStore(
    cache: TrustCache,
    isFetched: MetadataStoreOptions['isFetched'],
  ): Promise<{ root: Buffer; store: MetadataStore }> {
    const { marks, pinnedRoot } = cache;
    const nowMs = Math.max(this.#options.syncedNowMs ?? 0, marks?.floorMs ?? 0);
    this.#isExpiryChecked = nowMs > 0;
    const options = { nowMs, marks, isFetched };
    const pinnedStore = MetadataStore.open(pinnedRoot, options);
    const storedRoot = await cache.read('root');
    if (storedRoot) {
      try {
        const store = MetadataStore.open(storedRoot, options);
        if (store.root.signed.version >= pinnedStore.root.signed.version) return { root: storedRoot, store };
      } catch {
        // The stored root metadata are damaged: download all versions after the pinned root again. They must reach the
        // version of the high-water mark.
      }
    }
    return { root: pinnedRoot, store: pinnedStore };
  }

  async #loadStored(): Promise<MetadataStore> {
    const cache = await TrustCache.open(this.#options.dir, this.#options.rootFile);
    const { store } = await this.#openStore(cache, () => true);
    const [timestamp, snapshot, targets] = await Promise.all([
      cache.read('timestamp'),
      cache.read('snapshot'),
      cache.read('targets'),
    ]);
    if (!timestamp || !snapshot || !targets)
      throw new AgentError('model_trust_mismatch', 'no metadata of the repository have been verified yet');
    try {
      store.updateTimestamp(timestamp);
      store.updateSnapshot(snapshot);
      store.updateDelegatedTargets(targets, 'targets', 'root');
    } catch (error) {
      throw refreshError(error, null, store.fault);
    }
    return store;
  }
}

/** tuf-js reduces errors to texts: prefer the original error that the fetcher or the store recorded. */
function refreshError(thrown: unknown, downloadError: unknown, fault: AgentError | null): unknown {
  if (downloadError !== null) return asAgentError(downloadError);
  return fault ?? new AgentError('model_trust_mismatch', 'the metadata are refused', { cause: thrown });
}
