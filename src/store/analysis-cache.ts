import { crc32 } from 'node:zlib';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { CacheFile, type CachedAnswer } from './cache-file.ts';
import type { AnalysisCache, AnalysisCacheStats } from './types.ts';

export interface AnalysisCacheOptions {
  /** Absolute; the store has made it. */
  readonly stateDir: string;
  readonly bootId: string;
  /** How long an answer stands, s; 0 keeps none. */
  readonly ttlS: number;
  readonly maxEntries?: number;
  /** Of keys and answers, bytes; the file is a little larger. */
  readonly maxBytes?: number;
}

export interface AnalysisCacheDeps {
  readonly clock: Clock;
  readonly log: Log;
}

const MAX_ENTRIES = 10_000;
const MAX_BYTES = 16_000_000;
/** A larger answer is none of ours. */
const MAX_ANSWER_BYTES = 64_000;
/** Answers that are written together, and how long the first of them waits for the others. */
const TOGETHER = 32;
const WITHIN_MS = 2000;
/** After a failure of the file; the room that it took belongs to records meanwhile. */
const PAUSE_MS = 60_000;
const NOTHING = { entries: 0, sizeBytes: 0 } as const;

interface Pending {
  readonly json: string;
  readonly monoMs: number;
  readonly wallMs: number;
}

/**
 * Answers to images in a SQLite file of their own, which may be lost: nothing is synced to the disk, a file that fails
 * in any way is deleted and begun anew a minute later. The oldest make room for new ones; answers of a model or
 * calibration that is gone are asked for no more, and go with their age. The file is opened when it is first needed.
 */
export class SqliteAnalysisCache implements AnalysisCache {
  readonly #options: Required<AnalysisCacheOptions>;
  readonly #deps: AnalysisCacheDeps;
  readonly #path: string;
  /** Written soon; an answer is found here as in the file. */
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

  /** Deletes what is there when no answer is to be kept. The caller holds the state lock. Never throws. */
  static open(options: AnalysisCacheOptions, deps: AnalysisCacheDeps): SqliteAnalysisCache {
    const cache = new SqliteAnalysisCache(options, deps);
    if (options.ttlS === 0) cache.#fail(null);
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
    if (this.#options.ttlS === 0 || Buffer.byteLength(json) > MAX_ANSWER_BYTES) return;
    if (this.#closed.signal.aborted) return;
    const { clock } = this.#deps;
    this.#pending.set(key, { json, monoMs: clock.monoMs(), wallMs: clock.nowMs() });
    if (this.#pending.size >= TOGETHER) this.#flush();
    else if (this.#pending.size === 1) void this.#flushSoon();
  }

  stats(): AnalysisCacheStats {
    const { entries, sizeBytes } = this.#opened()?.tally ?? NOTHING;
    return { hits: this.#hits, misses: this.#misses, entries, sizeBytes };
  }

  /** Writes what waits. Idempotent. */
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
    if (pending) return this.#isYoung({ ...pending, bootId: this.#options.bootId }) ? pending.json : null;
    return this.#attempt((file) => {
      const row = file.find(key);
      if (!row || !this.#isYoung(row)) return null;
      if (row.checksum !== checksum(key, row.json)) throw new Error('an answer is not as it was written');
      return row.json;
    });
  }

  /**
   * By the monotonic clock within one boot, for the wall clock may leap; by the wall clock over a restart, where an age
   * below zero tells that one of the two times was wrong.
   */
  #isYoung({ bootId, monoMs, wallMs }: Pick<CachedAnswer, 'bootId' | 'monoMs' | 'wallMs'>): boolean {
    const { clock } = this.#deps;
    const ageMs = bootId === this.#options.bootId ? clock.monoMs() - monoMs : clock.nowMs() - wallMs;
    return ageMs >= 0 && ageMs < this.#options.ttlS * 1000;
  }

  async #flushSoon(): Promise<void> {
    await this.#deps.clock.sleep(WITHIN_MS, this.#closed.signal).catch(() => undefined);
    this.#flush();
  }

  #flush(): void {
    if (this.#pending.size === 0) return;
    const { bootId, maxEntries, maxBytes } = this.#options;
    const answers = [...this.#pending].map(([key, answer]) => ({
      ...answer,
      key,
      bootId,
      checksum: checksum(key, answer.json),
    }));
    this.#pending.clear();
    this.#attempt((file) => {
      file.add(answers, { maxEntries, maxBytes, isStale: (row) => !this.#isYoung(row) });
      return null;
    });
  }

  /** Null when there is no file to work with, too. */
  #attempt<T>(work: (file: CacheFile) => T): T | null {
    const file = this.#opened();
    if (!file) return null;
    try {
      return work(file);
    } catch (thrown) {
      this.#fail(thrown);
      return null;
    }
  }

  #opened(): CacheFile | null {
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
    const { clock, log } = this.#deps;
    this.#retryAtMonoMs = clock.monoMs() + PAUSE_MS;
    if (thrown !== null)
      log.warn({ err: thrown }, 'the cache of analyses failed; it begins anew in a minute');
    try {
      this.#file?.close();
      CacheFile.delete(this.#path);
    } catch (again) {
      log.warn({ err: again }, 'the file of the cache of analyses cannot be deleted');
    }
    this.#file = null;
  }
}

/** Of the key too: an answer found under another key is as wrong as a damaged one. */
const checksum = (key: string, json: string): number => crc32(json, crc32(key));
