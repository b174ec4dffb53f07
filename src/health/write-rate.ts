import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { readText } from '../base/read-file.ts';
import type { KeyValue } from '../store/types.ts';

const BYTES_PER_MB = 2 ** 20;
const MS_PER_DAY = 86_400_000;
/** Over a shorter time, the writes of the start would dominate the rate. */
const MIN_SPAN_MS = 10 * 60_000;
const BUCKET_MS = 3_600_000;
const MAX_BUCKETS = 24;
/** Key under which the buckets are stored, as JSON: do not rename a field. */
const KEY = 'health.writes';

/** Bytes written within a time in which the agent ran. */
interface Bucket {
  ms: number;
  bytes: number;
}

/**
 * Measures how much the agent and all its child processes write to the disk, MiB per day: writes wear out an SD card. It
 * is the rate of the last 24 hours in which the agent ran, also across restarts; extrapolated while there are fewer. Null
 * for the first ten minutes, and without /proc.
 */
export class WriteRate {
  readonly #clock: Clock;
  readonly #memory: KeyValue;
  readonly #root: string;
  /** Oldest first; the last one is being filled. */
  readonly #buckets: Bucket[];
  #bytes: number | null = null;
  #sampledMs = 0;
  #savedMs: number;

  constructor(deps: { clock: Clock; memory: KeyValue; root?: string }) {
    this.#clock = deps.clock;
    this.#memory = deps.memory;
    this.#root = deps.root ?? '/';
    this.#buckets = readBuckets(deps.memory);
    // The first hour is stored after ten minutes, so that an agent that restarts all the time is measured too.
    this.#savedMs = deps.clock.monoMs() + MIN_SPAN_MS - BUCKET_MS;
  }

  /** Call this at every heartbeat with the ids of the running child processes. */
  async sample(childPids: readonly number[]): Promise<number | null> {
    const own = await this.#readWrittenBytes('self');
    if (own === null) return null;
    const children = await Promise.all(childPids.map((pid) => this.#readWrittenBytes(String(pid))));
    // The kernel adds the bytes of a child that has ended to those of its parent, so this sum never falls for long.
    const bytes = children.reduce<number>((sum, written) => sum + (written ?? 0), own);
    const monoMs = this.#clock.monoMs();
    if (this.#bytes !== null) this.#add(monoMs - this.#sampledMs, Math.max(0, bytes - this.#bytes));
    this.#bytes = Math.max(bytes, this.#bytes ?? 0);
    this.#sampledMs = monoMs;
    this.#save(monoMs);
    return this.#mbPerDay();
  }

  #add(ms: number, bytes: number): void {
    const last = this.#buckets.at(-1);
    if (last !== undefined && last.ms < BUCKET_MS) {
      last.ms += ms;
      last.bytes += bytes;
      return;
    }
    this.#buckets.push({ ms, bytes });
    if (this.#buckets.length > MAX_BUCKETS) this.#buckets.shift();
  }

  #save(monoMs: number): void {
    if (monoMs - this.#savedMs < BUCKET_MS) return;
    this.#savedMs = monoMs;
    try {
      this.#memory.set(KEY, JSON.stringify(this.#buckets));
    } catch {
      // The disk is full or failing, which the heartbeat reports. The rate goes on in memory.
    }
  }

  #mbPerDay(): number | null {
    const ms = this.#buckets.reduce((sum, bucket) => sum + bucket.ms, 0);
    if (ms < MIN_SPAN_MS) return null;
    const bytes = this.#buckets.reduce((sum, bucket) => sum + bucket.bytes, 0);
    return Math.round(((bytes / ms) * MS_PER_DAY * 10) / BYTES_PER_MB) / 10;
  }

  /** `write_bytes` of /proc/PID/io: bytes that reached the storage layer. Source: proc(5). */
  async #readWrittenBytes(pid: string): Promise<number | null> {
    const io = await readText(join(this.#root, 'proc', pid, 'io'));
    const bytes = /^write_bytes: (\d+)$/m.exec(io ?? '')?.[1];
    return bytes === undefined ? null : Number(bytes);
  }
}

function readBuckets(memory: KeyValue): Bucket[] {
  try {
    const stored: unknown = JSON.parse(memory.get(KEY) ?? '[]');
    return Array.isArray(stored) ? stored.filter(isBucket).slice(-MAX_BUCKETS) : [];
  } catch {
    return [];
  }
}

function isBucket(value: unknown): value is Bucket {
  const { ms, bytes } = (value ?? {}) as Partial<Bucket>;
  return typeof ms === 'number' && ms >= 0 && typeof bytes === 'number' && bytes >= 0;
}
