import { constants } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { AgentError } from '../../base/errors.ts';
import { replaceFile, syncFolder } from '../../base/atomic-file.ts';
import { digestText } from '../bundle/files.ts';
import { METADATA_LIMITS, TOP_ROLES, type TopRole } from './fetcher.ts';
import { readMarks, writeMarks, type Marks } from './marks.ts';

const SCRATCH = '.work-';
const HOUR_MS = 3_600_000;

/** The metadata as they were last verified, in one folder: `{role}.json`, and the marks. */
export class TrustCache {
  readonly #dir: string;
  /** Bytes of the operator's root file. */
  readonly pinned: Buffer;
  readonly #pinnedDigest: string;
  readonly marks: Marks | null;

  private constructor(dir: string, pinned: Buffer, pinnedDigest: string, marks: Marks | null) {
    this.#dir = dir;
    this.pinned = pinned;
    this.#pinnedDigest = pinnedDigest;
    this.marks = marks;
  }

  /**
   * Reads what is known under the pinned root. Another root than before makes it forget all: the operator has begun anew.
   * Throws `model_trust_root` when the root file is not there or is no JSON.
   */
  static async open(dir: string, rootFile: string): Promise<TrustCache> {
    const pinned = await readPinned(rootFile);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    // Scratch folders of a process that was killed, and whatever else stands where files are to be.
    for (const entry of await readdir(dir, { withFileTypes: true }))
      if (!entry.isFile()) await rm(join(dir, entry.name), { recursive: true, force: true });
    const digest = signedDigest(pinned);
    const cache = new TrustCache(dir, pinned, digest, await readMarks(dir, digest));
    if ((await cache.#owner()) !== cache.#pinnedDigest) {
      for (const role of TOP_ROLES) await rm(cache.#file(role), { force: true });
      syncFolder(dir);
      replaceFile(join(dir, 'pinned'), `${cache.#pinnedDigest}\n`);
    }
    return cache;
  }

  /** A role's file as last kept; null without one. */
  async read(role: TopRole): Promise<Buffer | null> {
    return readFile(this.#file(role)).catch(() => null);
  }

  /** Runs `work` on a copy of the files, which the library may write to, and keeps what it wrote. */
  async inScratch<T>(root: Buffer, work: (scratch: string) => Promise<T>): Promise<T> {
    const scratch = await mkdtemp(join(this.#dir, SCRATCH));
    try {
      await writeFile(join(scratch, 'root.json'), root);
      for (const role of TOP_ROLES.slice(1)) {
        const bytes = await this.read(role);
        if (bytes) await writeFile(join(scratch, `${role}.json`), bytes);
      }
      return await work(scratch);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  /** Takes over what was verified in the scratch folder. Throws `model_space` when the disk does not take it. */
  async keep(scratch: string, marks: Omit<Marks, 'pinned' | 'writes'>): Promise<void> {
    try {
      const writes = (this.marks?.writes ?? 0) + 1;
      if (this.#isNews(marks)) writeMarks(this.#dir, { pinned: this.#pinnedDigest, writes, ...marks });
      for (const role of TOP_ROLES) {
        const text = await readFile(join(scratch, `${role}.json`), 'utf8').catch(() => null);
        const old = await this.read(role);
        if (text !== null && old?.toString('utf8') !== text) replaceFile(this.#file(role), text);
      }
    } catch (error) {
      throw new AgentError('model_space', 'what was verified cannot be stored', { cause: error });
    }
  }

  /** An hour more of the same is not worth the wear of a flash card. */
  #isNews({ floorMs, ...learned }: Omit<Marks, 'pinned' | 'writes'>): boolean {
    if (!this.marks) return true;
    const { floorMs: known, root, timestamp, snapshot } = this.marks;
    const isLater = (floorMs ?? 0) >= (known ?? 0) + HOUR_MS;
    return isLater || !isDeepStrictEqual(learned, { root, timestamp, snapshot });
  }

  #file(role: TopRole): string {
    return join(this.#dir, `${role}.json`);
  }

  async #owner(): Promise<string | null> {
    const text = await readFile(join(this.#dir, 'pinned'), 'utf8').catch(() => null);
    return text?.trim() ?? null;
  }
}

async function readPinned(rootFile: string): Promise<Buffer> {
  try {
    await using file = await open(rootFile, constants.O_RDONLY);
    const { size } = await file.stat();
    if (size > METADATA_LIMITS.root) throw new RangeError('larger than any root');
    return await file.readFile();
  } catch (error) {
    throw new AgentError('model_trust_root', 'the file of model.trustRoot cannot be read', { cause: error });
  }
}

/** Of what is signed and not of the bytes, so that the same root written otherwise is the same root. */
function signedDigest(root: Buffer): string {
  try {
    const { signed } = JSON.parse(root.toString('utf8')) as { signed: unknown };
    return digestText(JSON.stringify(signed));
  } catch (error) {
    throw new AgentError('model_trust_root', 'the file of model.trustRoot is no root of trust', {
      cause: error,
    });
  }
}
