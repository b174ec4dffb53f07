import { statfs } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const BYTES_PER_MB = 2 ** 20;
/** A network disk that does not respond must not delay the heartbeat. */
const STATFS_TIMEOUT_MS = 2_000;

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
