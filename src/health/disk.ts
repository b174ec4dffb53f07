import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { readText } from '../base/read-file.ts';

const BYTES_PER_MB = 2 ** 20;
/** A dead network disk must not hold up a heartbeat. */
const STATFS_TIMEOUT_MS = 2_000;
const MS_PER_DAY = 86_400_000;
/** Before that, start-up writes would be taken for the habit. */
const MIN_SPAN_MS = 10 * 60_000;
const CHECKPOINT_MS = 3_600_000;
const KEPT_CHECKPOINTS = 25;

export interface DiskSpace {
  readonly freeMb: number | null;
  /** 0..100, as `df` counts it: of what ordinary users may fill. */
  readonly usedPct: number | null;
}

const UNKNOWN: DiskSpace = { freeMb: null, usedPct: null };

/** Asks for the space around one folder; all null when it is gone or the file system does not answer in time. */
export class DiskProbe {
  readonly #dir: string;
  #asked: Promise<DiskSpace> | null = null;

  constructor(options: { dir: string }) {
    this.#dir = options.dir;
  }

  async read(): Promise<DiskSpace> {
    // A call that hangs holds one of Node's few threads for file work: a second one must not join it.
    this.#asked ??= readDiskSpace(this.#dir).finally(() => {
      this.#asked = null;
    });
    const patience = new AbortController();
    try {
      return await Promise.race([
        this.#asked,
        delay(STATFS_TIMEOUT_MS, UNKNOWN, { signal: patience.signal }),
      ]);
    } finally {
      patience.abort();
    }
  }
}

/** One look, for as long as it takes. Never rejects. */
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
 * Bytes that the agent and its vision process send to the disk, as MiB a day: what wears an SD card out.
 * Taken over the last day at most, extrapolated before that; null for the first ten minutes and without /proc.
 */
export class WriteRate {
  readonly #clock: Clock;
  readonly #root: string;
  /** Last count of each process that is followed. */
  readonly #counts = new Map<number, number>();
  readonly #checkpoints: { monoMs: number; bytes: number }[] = [];
  #bytes = 0;

  constructor(deps: { clock: Clock; root?: string }) {
    this.#clock = deps.clock;
    this.#root = deps.root ?? '/';
  }

  /** Call at every heartbeat with the processes that live now. */
  async sample(pids: readonly number[]): Promise<number | null> {
    let readable = false;
    for (const pid of pids) {
      const written = await this.#written(pid);
      if (written === null) continue;
      readable = true;
      const before = this.#counts.get(pid) ?? (this.#checkpoints.length === 0 ? written : 0);
      this.#bytes += Math.max(0, written - before);
      this.#counts.set(pid, written);
    }
    for (const pid of this.#counts.keys()) if (!pids.includes(pid)) this.#counts.delete(pid);
    return readable ? this.#mbADay() : null;
  }

  #mbADay(): number | null {
    const monoMs = this.#clock.monoMs();
    const newest = this.#checkpoints.at(-1);
    if (newest === undefined || monoMs - newest.monoMs >= CHECKPOINT_MS) {
      this.#checkpoints.push({ monoMs, bytes: this.#bytes });
      if (this.#checkpoints.length > KEPT_CHECKPOINTS) this.#checkpoints.shift();
    }
    const oldest = this.#checkpoints[0];
    if (oldest === undefined || monoMs - oldest.monoMs < MIN_SPAN_MS) return null;
    const bytesADay = ((this.#bytes - oldest.bytes) / (monoMs - oldest.monoMs)) * MS_PER_DAY;
    return Math.round((bytesADay / BYTES_PER_MB) * 10) / 10;
  }

  async #written(pid: number): Promise<number | null> {
    const own = pid === process.pid ? 'self' : String(pid);
    const io = await readText(join(this.#root, 'proc', own, 'io'));
    const bytes = /^write_bytes: (\d+)$/m.exec(io ?? '')?.[1];
    return bytes === undefined ? null : Number(bytes);
  }
}
