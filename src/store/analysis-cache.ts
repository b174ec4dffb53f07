import { crc32 } from 'node:zlib';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { CacheFile, type CachedResult } from './cache-file.ts';
import type { AnalysisCache, AnalysisCacheStats } from './types.ts';

export interface AnalysisCacheOptions {
  /** Absolute path of an existing directory. */
  readonly stateDir: string;
  readonly bootId: string;
  /** Lifetime of a result, s; 0 disables the cache. */
  readonly ttlS: number;
  readonly maxEntries?: number;
  /** Maximum total size of keys and results; the file is a little larger. */
  readonly maxBytes?: number;
}

export interface AnalysisCacheDeps {
  readonly clock: Clock;
  readonly log: Log;
}

const MAX_ENTRIES = 10_000;
const MAX_BYTES = 16_000_000;
/** Larger results are not cached; the agent produces none. */
const MAX_RESULT_BYTES = 64_000;
/** Results are written when this many wait, or when the first of them has waited for `MAX_FLUSH_DELAY_MS`. */
const BATCH_RESULTS = 32;
const MAX_FLUSH_DELAY_MS = 2000;
/**
 * After a failure of the file, a new file is created this much later. Until then, its disk space is free for records.
 */
const RETRY_DELAY_MS = 60_000;
const EMPTY = { entries: 0, sizeBytes: 0 } as const;

interface Pending {
  readonly json: string;
  readonly monoMs: number;
  readonly wallMs: number;
}

/**
 * Results of analysed images, in a separate SQLite file that may be lost: no write waits for the disk. A file that
 * fails in any way is deleted, and a new file is created a minute later. Drop policy: the results that were written
 * first. The keys include the model and the calibration, so results of an old model or calibration are no longer found,
 * and expire. The first use opens the file.
 */
export class SqliteAnalysisCache implements AnalysisCache {
  readonly #options: Required<AnalysisCacheOptions>;
  readonly #deps: AnalysisCacheDeps;
  readonly #path: string;
  /**
   * Results that are not in the file yet; `get` finds these too. At most `BATCH_RESULTS`: a full batch is written at
   * once.
   */
  readonly #pending = new Map<string, Pending>();
  readonly #closed = new AbortController();
  #file: CacheFile | null = null;
  #retryAtMonoMs = Number.NEGATIVE_INFINITY;
  #hits = 0;
  #misses = 0;

  private constructor(options: AnalysisCacheOptions, deps: AnalysisCacheDeps) {
    this.#options = { maxEntries: MAX_ENTRIES, maxBytes: MAX_BYTES, ...options };
    this.#deps = deps;
    this.#path = CacheFile.pathIn(options.stateDir);
  }

  /** Deletes the file when the cache is disabled. The caller holds the state lock. Never throws. */
  static open(options: AnalysisCacheOptions, deps: AnalysisCacheDeps): SqliteAnalysisCache {
    const cache = new SqliteAnalysisCache(options, deps);
    if (options.ttlS === 0) cache.#deleteFile();
    return cache;
  }

  get(key: string): string | null {
    if (this.#options.ttlS === 0) return null;
    const found = this.#find(key);
    if (found === null) this.#misses += 1;
    else this.#hits += 1;
    return found;
  }

  put(key: string, json: string): void {
    if (this.#options.ttlS === 0 || Buffer.byteLength(json) > MAX_RESULT_BYTES) return;
    if (this.#closed.signal.aborted) return;
    const { clock } = this.#deps;
    this.#pending.set(key, { json, monoMs: clock.monoMs(), wallMs: clock.nowMs() });
    if (this.#pending.size >= BATCH_RESULTS) this.#flush();
    else if (this.#pending.size === 1) void this.#flushSoon();
  }

  stats(): AnalysisCacheStats {
    const { entries, sizeBytes } = this.#openFile()?.totals ?? EMPTY;
    return { hits: this.#hits, misses: this.#misses, entries, sizeBytes };
  }

  /** Writes the pending results and closes the file. Idempotent. */
  close(): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#flush();
    this.#file?.close();
    this.#file = null;
    this.#retryAtMonoMs = Number.POSITIVE_INFINITY;
  }

  #find(key: string): string | null {
    const pending = this.#pending.get(key);
    if (pending) return this.#isFresh({ ...pending, bootId: this.#options.bootId }) ? pending.json : null;
    return this.#withFile((file) => {
      const row = file.find(key);
      if (!row || !this.#isFresh(row)) return null;
      if (row.checksum !== checksum(key, row.json))
        throw new Error('the checksum of a cached result is wrong');
      return row.json;
    });
  }

  /**
   * Within one boot, uses the monotonic clock, because the wall clock may step. After a reboot, uses the wall clock; a
   * negative age means that one of the two times was wrong, so the result is not used.
   */
  #isFresh({ bootId, monoMs, wallMs }: Pick<CachedResult, 'bootId' | 'monoMs' | 'wallMs'>): boolean {
    const { clock } = this.#deps;
    const ageMs = bootId === this.#options.bootId ? clock.monoMs() - monoMs : clock.nowMs() - wallMs;
    return ageMs >= 0 && ageMs < this.#options.ttlS * 1000;
  }

  async #flushSoon(): Promise<void> {
    await this.#deps.clock.sleep(MAX_FLUSH_DELAY_MS, this.#closed.signal).catch(() => undefined);
    this.#flush();
  }

  #flush(): void {
    if (this.#pending.size === 0) return;
    const { bootId, maxEntries, maxBytes } = this.#options;
    const results = [...this.#pending].map(([key, result]) => ({
      ...result,
      key,
      bootId,
      checksum: checksum(key, result.json),
    }));
    this.#pending.clear();
    this.#withFile((file) => {
      file.add(results, { maxEntries, maxBytes, isStale: (row) => !this.#isFresh(row) });
      return null;
    });
  }

  /** Returns the result of `work`; null when `work` fails or when there is no file. */
  #withFile<T>(work: (file: CacheFile) => T): T | null {
    const file = this.#openFile();
    if (!file) return null;
    try {
      return work(file);
    } catch (thrown) {
      this.#fail(thrown);
      return null;
    }
  }

  #openFile(): CacheFile | null {
    if (this.#file) return this.#file;
    const { clock } = this.#deps;
    if (this.#options.ttlS === 0 || clock.monoMs() < this.#retryAtMonoMs) return null;
    try {
      this.#file = CacheFile.open(this.#path);
    } catch (thrown) {
      this.#fail(thrown);
    }
    return this.#file;
  }

  #fail(thrown: unknown): void {
    this.#deps.log.warn(
      { err: thrown },
      'the analysis cache failed: deleting its file, creating a new one in a minute',
    );
    this.#deleteFile();
  }

  #deleteFile(): void {
    const { clock, log } = this.#deps;
    this.#retryAtMonoMs = clock.monoMs() + RETRY_DELAY_MS;
    try {
      this.#file?.close();
      CacheFile.delete(this.#path);
    } catch (thrown) {
      log.warn({ err: thrown }, 'cannot delete the file of the analysis cache');
    }
    this.#file = null;
  }
}

/** The checksum includes the key: a result under a wrong key is as wrong as a damaged result. */
const checksum = (key: string, json: string): number => crc32(json, crc32(key));
