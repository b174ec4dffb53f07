import { Type, type Static } from '@sinclair/typebox';
import { constants } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { closeAtEnd } from '../../base/closing.ts';
import { replaceFile, syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { Nullable } from '../../contract/schema-parts.ts';
import { digestText } from '../bundle/files.ts';
import { MAX_METADATA_BYTES, TOP_ROLES, type TopRole } from './metadata-source.ts';

const Version = Type.Integer({ minimum: 1 });
const Signers = Type.Array(Type.String());

const HighWaterMarksSchema = Type.Object({
  /** Digest of the signed part of the pinned root. Marks with another digest belong to another pinned root. */
  pinned: Type.String(),
  /** Incremented by each write: the copy with the larger value is the newer one. */
  writes: Type.Integer({ minimum: 0 }),
  root: Version,
  timestamp: Nullable(Type.Object({ version: Version, snapshot: Version, signers: Signers })),
  snapshot: Nullable(Type.Object({ targets: Version, signers: Signers })),
  /** Latest time, by a synchronised clock, at which all metadata were verified and not expired, ms since the epoch. */
  floorMs: Nullable(Type.Number({ minimum: 0 })),
});
/**
 * The highest metadata versions and the latest time that were verified under one pinned root. With them the device
 * detects older metadata (a rollback attack).
 */
export type HighWaterMarks = Static<typeof HighWaterMarksSchema>;
/** The marks that result from one refresh. */
export type LearnedMarks = Omit<HighWaterMarks, 'pinned' | 'writes'>;

const isHighWaterMarks = schemaChecker({ strict: true }).compile<HighWaterMarks>(HighWaterMarksSchema);

/** The marks are stored twice, because one damaged file must not make a rollback attack possible. */
const MARKS_FILES = ['marks.json', 'marks.copy.json'] as const;
const SCRATCH_PREFIX = '.work-';
const HOUR_MS = 3_600_000;

/**
 * One directory with the TUF metadata that were verified last (`{role}.json`) and the high-water marks (the highest
 * verified versions).
 */
export class TrustCache {
  readonly #dir: string;
  /** Bytes of the operator's root file. */
  readonly pinnedRoot: Buffer;
  readonly #pinnedDigest: string;
  /** Null when nothing has been verified under the pinned root yet. */
  readonly marks: HighWaterMarks | null;

  private constructor(dir: string, pinnedRoot: Buffer, pinnedDigest: string, marks: HighWaterMarks | null) {
    this.#dir = dir;
    this.pinnedRoot = pinnedRoot;
    this.#pinnedDigest = pinnedDigest;
    this.marks = marks;
  }

  /**
   * Reads the metadata and marks that belong to the pinned root. When the operator has replaced the pinned root,
   * deletes the metadata of the former one. Throws `model_trust_root` when the root file is missing or is not JSON.
   */
  static async open(dir: string, rootFile: string): Promise<TrustCache> {
    const pinnedRoot = await readPinnedRoot(rootFile);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    // Remove the scratch directories of a killed process, and everything else that is not a file.
    for (const entry of await readdir(dir, { withFileTypes: true }))
      if (!entry.isFile()) await rm(join(dir, entry.name), { recursive: true, force: true });
    const digest = signedPartDigest(pinnedRoot);
    const cache = new TrustCache(dir, pinnedRoot, digest, await readMarks(dir, digest));
    const storedDigest = await readFile(join(dir, 'pinned'), 'utf8').catch(() => null);
    if (storedDigest?.trim() !== digest) {
      for (const role of TOP_ROLES) await rm(cache.#path(role), { force: true });
      syncDirectory(dir);
      replaceFile(join(dir, 'pinned'), `${digest}\n`);
    }
    return cache;
  }

  /** The stored metadata file of a role; null when there is none. */
  async read(role: TopRole): Promise<Buffer | null> {
    return readFile(this.#path(role)).catch(() => null);
  }

  /** Runs `work` on a copy of the files, which tuf-js may overwrite. */
  async inScratchDir<T>(root: Buffer, work: (scratchDir: string) => Promise<T>): Promise<T> {
    const scratchDir = await this.#makeScratchDir();
    await using _removed = closeAtEnd(() => rm(scratchDir, { recursive: true, force: true }));
    await writeFile(join(scratchDir, 'root.json'), root);
    for (const role of TOP_ROLES.slice(1)) {
      const bytes = await this.read(role);
      if (bytes) await writeFile(join(scratchDir, `${role}.json`), bytes);
    }
    return await work(scratchDir);
  }

  /** In memory where the directory for temporary files is: each refresh writes all metadata, and a card wears out. */
  async #makeScratchDir(): Promise<string> {
    try {
      return await mkdtemp(join(tmpdir(), 'swellsight-trust-'));
    } catch {
      // There is none that can be written.
      return mkdtemp(join(this.#dir, SCRATCH_PREFIX));
    }
  }

  /** Stores the marks and the metadata that were verified in the scratch directory. Throws `model_space`. */
  async store(scratchDir: string, learned: LearnedMarks): Promise<void> {
    try {
      const writes = (this.marks?.writes ?? 0) + 1;
      if (this.#isWorthWriting(learned))
        writeMarks(this.#dir, { pinned: this.#pinnedDigest, writes, ...learned });
      for (const role of TOP_ROLES) {
        const text = await readFile(join(scratchDir, `${role}.json`), 'utf8').catch(() => null);
        const old = await this.read(role);
        if (text !== null && old?.toString('utf8') !== text) replaceFile(this.#path(role), text);
      }
    } catch (error) {
      throw new AgentError('model_space', 'the verified metadata cannot be stored', { cause: error });
    }
  }

  /**
   * True when the marks must be written now. If only the time has changed, it is written once per hour, to limit the
   * wear of flash memory.
   */
  #isWorthWriting({ floorMs, ...versions }: LearnedMarks): boolean {
    if (!this.marks) return true;
    const { floorMs: storedMs, root, timestamp, snapshot } = this.marks;
    const isLater = (floorMs ?? 0) >= (storedMs ?? 0) + HOUR_MS;
    return isLater || !isDeepStrictEqual(versions, { root, timestamp, snapshot });
  }

  #path(role: TopRole): string {
    return join(this.#dir, `${role}.json`);
  }
}

async function readPinnedRoot(rootFile: string): Promise<Buffer> {
  try {
    // O_NONBLOCK: opening a named pipe must not block.
    await using file = await open(rootFile, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat();
    if (!found.isFile()) throw new TypeError('the root file is not a regular file');
    if (found.size > MAX_METADATA_BYTES.root) throw new RangeError('the root file is too large');
    return await file.readFile();
  } catch (error) {
    throw new AgentError('model_trust_root', 'the file of model.trustRoot cannot be read', { cause: error });
  }
}

/** Digest of the signed part of a root file. The digest of the whole file would also change with the white space. */
function signedPartDigest(root: Buffer): string {
  try {
    const { signed } = JSON.parse(root.toString('utf8')) as { signed: unknown };
    return digestText(JSON.stringify(signed));
  } catch (error) {
    throw new AgentError('model_trust_root', 'the file of model.trustRoot is not a root of trust', {
      cause: error,
    });
  }
}

/** Reads the newer of the undamaged copies of the marks; null when there is none for this pinned root. */
async function readMarks(dir: string, pinnedDigest: string): Promise<HighWaterMarks | null> {
  const copies = await Promise.all(MARKS_FILES.map((file) => readMarksCopy(join(dir, file))));
  const valid = copies.filter((marks) => marks !== null).filter(({ pinned }) => pinned === pinnedDigest);
  return valid.toSorted((a, b) => b.writes - a.writes)[0] ?? null;
}

async function readMarksCopy(path: string): Promise<HighWaterMarks | null> {
  try {
    const { digest, marks } = JSON.parse(await readFile(path, 'utf8')) as { digest: unknown; marks: unknown };
    return isHighWaterMarks(marks) && digestText(JSON.stringify(marks)) === digest ? marks : null;
  } catch {
    return null;
  }
}

/** Writes both copies. They are on the disk when this returns. */
function writeMarks(dir: string, marks: HighWaterMarks): void {
  const digest = digestText(JSON.stringify(marks));
  for (const file of MARKS_FILES) replaceFile(join(dir, file), `${JSON.stringify({ digest, marks })}\n`);
}
