import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { readText } from '../base/read-file.ts';

const BYTES_PER_MB = 2 ** 20;
/** A network disk that does not respond must not delay the heartbeat. */
const STATFS_TIMEOUT_MS = 2_000;
const MS_PER_DAY = 86_400_000;
/** Over a shorter time, the writes of the start would dominate the rate. */
const MIN_SPAN_MS = 10 * 60_000;
const CHECKPOINT_INTERVAL_MS = 3_600_000;
const MAX_CHECKPOINTS = 25;

export interface DiskSpace {
  readonly freeMb: number | null;
  /** 0..100, of the space that ordinary users may fill, like the output of `df`. */
  readonly usedPct: number | null;
}

const UNKNOWN: DiskSpace = { freeMb: null, usedPct: null };

/** Reads the free space at a directory. All values are null when the directory is gone or the file system does not respond in time. */
export class DiskProbe {
  readonly #dir: string;
  #reading: Promise<DiskSpace> | null = null;

  constructor(options: { dir: string }) {
    this.#dir = options.dir;
  }

  async read(): Promise<DiskSpace> {
    // A blocked call occupies one of Node's few file threads. Do not start a second one.
    this.#reading ??= readDiskSpace(this.#dir).finally(() => {
      this.#reading = null;
    });
    const timeout = new AbortController();
    try {
      return await Promise.race([
        this.#reading,
        delay(STATFS_TIMEOUT_MS, UNKNOWN, { signal: timeout.signal }),
      ]);
    } finally {
      timeout.abort();
    }
  }
}

/** Reads the free space without a timeout. Never rejects. */
export async function readDiskSpace(dir: string): Promise<DiskSpace> {
  try {
    const { blocks, bfree, bavail, bsize } = await statfs(dir);
    const used = blocks - bfree;
    const usable = used + bavail;
    return {
      freeMb: Math.floor((bavail * bsize) / BYTES_PER_MB),
      usedPct: usable > 0 ? Math.round((1000 * used) / usable) / 10 : null,
    };
  } catch {
    return UNKNOWN;
  }
}

/**
 * Measures how much the agent and its vision process write to the disk, MiB per day: writes wear out an SD card.
 * It is the rate of at most the last day, extrapolated when the time is shorter. Null in the first ten minutes and without /proc.
 */
export class WriteRate {
  readonly #clock: Clock;
  readonly #root: string;
  /** Last byte count of each process. */
  readonly #counts = new Map<number, number>();
  readonly #checkpoints: { monoMs: number; bytes: number }[] = [];
  #bytes = 0;

  constructor(deps: { clock: Clock; root?: string }) {
    this.#clock = deps.clock;
    this.#root = deps.root ?? '/';
  }

  /** Call this at every heartbeat with the ids of the running processes. */
  async sample(pids: readonly number[]): Promise<number | null> {
    let isReadable = false;
    for (const pid of pids) {
      const written = await this.#readWrittenBytes(pid);
      if (written === null) continue;
      isReadable = true;
      const before = this.#counts.get(pid) ?? (this.#checkpoints.length === 0 ? written : 0);
      this.#bytes += Math.max(0, written - before);
      this.#counts.set(pid, written);
    }
    for (const pid of this.#counts.keys()) if (!pids.includes(pid)) this.#counts.delete(pid);
    return isReadable ? this.#mbPerDay() : null;
  }

  #mbPerDay(): number | null {
    const monoMs = this.#clock.monoMs();
    const newest = this.#checkpoints.at(-1);
    if (newest === undefined || monoMs - newest.monoMs >= CHECKPOINT_INTERVAL_MS) {
      this.#checkpoints.push({ monoMs, bytes: this.#bytes });
      if (this.#checkpoints.length > MAX_CHECKPOINTS) this.#checkpoints.shift();
    }
    const oldest = this.#checkpoints[0];
    if (oldest === undefined || monoMs - oldest.monoMs < MIN_SPAN_MS) return null;
    const bytesPerDay = ((this.#bytes - oldest.bytes) / (monoMs - oldest.monoMs)) * MS_PER_DAY;
    return Math.round((bytesPerDay / BYTES_PER_MB) * 10) / 10;
  }

  async #readWrittenBytes(pid: number): Promise<number | null> {
    const name = pid === process.pid ? 'self' : String(pid);
    const io = await readText(join(this.#root, 'proc', name, 'io'));
    const bytes = /^write_bytes: (\d+)$/m.exec(io ?? '')?.[1];
    return bytes === undefined ? null : Number(bytes);
  }
}
