import { Updater } from 'tuf-js';
import { AgentError, asAgentError, isAbort } from '../../base/errors.ts';
import { TrustCache } from './cache.ts';
import { MAX_NEW_ROOTS, METADATA_BASE_URL, METADATA_LIMITS, SourceFetcher } from './fetcher.ts';
import type { MetadataSource } from './source.ts';
import { JudgedStore, type StoreOptions } from './store.ts';
import { signedTarget, targetName, type SignedTarget } from './target.ts';

export interface TrustOptions {
  /** Folder of what was verified. One instance at a time works in it. */
  readonly dir: string;
  /** The operator's pinned root.json, written at install. */
  readonly rootFile: string;
  /** The wall clock while it is synchronised, ms since the epoch; else null. */
  readonly syncedNowMs: number | null;
}

/**
 * What a device believes of a repository: The Update Framework 1.0, client workflow (section 5), on `tuf-js`. Only the four
 * top-level roles are believed: delegations are never followed, so that what they name is not there.
 *
 * Expiry is held against the later of the synchronised clock and the newest time at which everything was once found fresh;
 * without a synchronised clock against that time alone. It stops new installs and nothing else.
 */
export class Trust {
  readonly #options: TrustOptions;
  #store: JudgedStore | null = null;

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /**
   * Brings the metadata up to the repository's. What was verified is kept, also when a later file fails. Throws
   * `model_trust_root`, `model_trust_signature`, `model_trust_expired`, `model_trust_rollback`, `model_trust_mismatch`,
   * `model_transfer_failed`, `model_space`, and the AbortError of the signal.
   */
  async refresh(source: MetadataSource, signal: AbortSignal): Promise<void> {
    const { dir, rootFile } = this.#options;
    this.#store = null;
    const cache = await TrustCache.open(dir, rootFile);
    const fetcher = new SourceFetcher(source, signal);
    const { root, store } = await this.#begin(cache, (bytes) => fetcher.isFetched(bytes));
    await cache.inScratch(root, async (scratch) => {
      const updater = new Updater({
        metadataDir: scratch,
        metadataBaseUrl: METADATA_BASE_URL,
        fetcher,
        config: {
          maxRootRotations: MAX_NEW_ROOTS + 1,
          rootMaxLength: METADATA_LIMITS.root,
          timestampMaxLength: METADATA_LIMITS.timestamp,
          snapshotMaxLength: METADATA_LIMITS.snapshot,
          targetsMaxLength: METADATA_LIMITS.targets,
        },
      });
      // Its own would take the machine's clock; a test holds that this one is used.
      Object.assign(updater, { trustedSet: store });
      let fresh = false;
      try {
        await updater.refresh();
        fresh = true;
      } catch (error) {
        signal.throwIfAborted();
        throw reasonOf(error, fetcher.fault, store.fault);
      } finally {
        const atMs = Math.max(cache.marks?.floorMs ?? 0, fresh ? (this.#options.syncedNowMs ?? 0) : 0);
        await cache.keep(scratch, { ...store.learned, floorMs: atMs > 0 ? atMs : null });
      }
    });
    this.#store = store;
  }

  /**
   * What was signed for one bundle, by the last `refresh`, or else by what an earlier one kept (which must still be fresh).
   * Throws `model_trust_target` when the repository has no such bundle, and as `refresh`.
   */
  async target(name: string, version: string): Promise<SignedTarget> {
    const { root, targets } = (this.#store ??= await this.#kept());
    const known = targets?.signed.targets ?? {};
    const path = targetName(name, version);
    const found = Object.hasOwn(known, path) ? known[path] : undefined;
    return signedTarget(found, name, version, root.signed.consistentSnapshot);
  }

  /** All that are signed for, as `target` gives each; entries that are no models are passed over. */
  async targets(): Promise<SignedTarget[]> {
    const { targets } = (this.#store ??= await this.#kept());
    const all: SignedTarget[] = [];
    for (const path of Object.keys(targets?.signed.targets ?? {})) {
      const [, name = '', version = ''] = /^models\/([^/]+)\/([^/]+)\.tar$/.exec(path) ?? [];
      if (name !== '') all.push(await this.target(name, version));
    }
    return all;
  }

  /** The local root with all that was learned under it, or the pinned one where the local copy is lost or damaged. */
  async #begin(
    cache: TrustCache,
    isFetched: StoreOptions['isFetched'],
  ): Promise<{ root: Buffer; store: JudgedStore }> {
    const { marks, pinned } = cache;
    const nowMs = Math.max(this.#options.syncedNowMs ?? 0, marks?.floorMs ?? 0);
    const options = { nowMs, marks, isFetched };
    const first = JudgedStore.open(pinned, options);
    const local = await cache.read('root');
    if (local) {
      try {
        const store = JudgedStore.open(local, options);
        if (store.root.signed.version >= first.root.signed.version) return { root: local, store };
      } catch {
        // Damaged: the chain is fetched anew from the pinned root, and must reach the version that was seen before.
      }
    }
    return { root: pinned, store: first };
  }

  async #kept(): Promise<JudgedStore> {
    const cache = await TrustCache.open(this.#options.dir, this.#options.rootFile);
    const { store } = await this.#begin(cache, () => true);
    const [timestamp, snapshot, targets] = await Promise.all([
      cache.read('timestamp'),
      cache.read('snapshot'),
      cache.read('targets'),
    ]);
    if (!timestamp || !snapshot || !targets)
      throw new AgentError('model_trust_mismatch', 'no metadata of the repository have been verified here');
    try {
      store.updateTimestamp(timestamp);
      store.updateSnapshot(snapshot);
      store.updateDelegatedTargets(targets, 'targets', 'root');
    } catch (error) {
      throw reasonOf(error, null, store.fault);
    }
    return store;
  }
}

/** The library wraps what it was told into texts: what the parts noted comes first. */
function reasonOf(thrown: unknown, download: unknown, judged: AgentError | null): unknown {
  if (isAbort(download)) return download;
  if (download !== null) return asAgentError(download);
  return judged ?? new AgentError('model_trust_mismatch', 'the metadata are refused', { cause: thrown });
}
