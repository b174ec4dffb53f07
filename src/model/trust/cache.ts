import { Type, type Static } from '@sinclair/typebox';
import { constants } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { replaceFile, syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { schemaChecker } from '../../base/schema-checker.ts';
import { Nullable } from '../../contract/schema-parts.ts';
import { digestText } from '../bundle/files.ts';
import { MAX_METADATA_BYTES, TOP_ROLES, type TopRole } from './metadata-source.ts';

const Version = Type.Integer({ minimum: 1 });
const Signers = Type.Array(Type.String());

const HighWaterMarksSchema = Type.Object({
  /** Digest of the pinned root's signed part. Marks with another digest belong to another root of trust. */
  pinned: Type.String(),
  /** Incremented by each write: of two copies, the larger value is newer. */
  writes: Type.Integer({ minimum: 0 }),
  root: Version,
  timestamp: Nullable(Type.Object({ version: Version, snapshot: Version, signers: Signers })),
  snapshot: Nullable(Type.Object({ targets: Version, signers: Signers })),
  /** Latest time at which all metadata were verified as unexpired with a synchronised clock, ms since the epoch. */
  floorMs: Nullable(Type.Number({ minimum: 0 })),
});
/** The highest versions and the latest time that were verified under one pinned root. They prevent a rollback. */
export type HighWaterMarks = Static<typeof HighWaterMarksSchema>;
/** The marks that a refresh yields. */
export type LearnedMarks = Omit<HighWaterMarks, 'pinned' | 'writes'>;

const isHighWaterMarks = schemaChecker({ strict: true }).compile<HighWaterMarks>(HighWaterMarksSchema);

/** Two copies: one damaged file must not allow a rollback. */
const MARKS_FILES = ['marks.json', 'marks.copy.json'] as const;
const SCRATCH_PREFIX = '.work-';
const HOUR_MS = 3_600_000;

/** The TUF metadata as last verified, in one directory: `{role}.json`, and the high-water marks. */
export class TrustCache {
  readonly #dir: string;
  /** Bytes of the operator's root file. */
  readonly pinnedRoot: Buffer;
  readonly #pinnedDigest: string;
  /** Null when nothing was verified under the pinned root. */
  readonly marks: HighWaterMarks | null;

  private constructor(dir: string, pinnedRoot: Buffer, pinnedDigest: string, marks: HighWaterMarks | null) {
    this.#dir = dir;
    this.pinnedRoot = pinnedRoot;
    this.#pinnedDigest = pinnedDigest;
    this.marks = marks;
  }

  /**
   * Reads the metadata and marks that belong to the pinned root. Deletes the metadata of another pinned root: the
   * operator has replaced it. Throws `model_trust_root` when the root file is missing or is not JSON.
   */
  static async open(dir: string, rootFile: string): Promise<TrustCache> {
    const pinnedRoot = await readPinnedRoot(rootFile);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    // Scratch directories of a killed process, and anything else that is not a file.
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

  /** Runs `work` on a copy of the files, which the TUF library may overwrite. */
  async inScratchDir<T>(root: Buffer, work: (scratchDir: string) => Promise<T>): Promise<T> {
    const scratchDir = await mkdtemp(join(this.#dir, SCRATCH_PREFIX));
    try {
      await writeFile(join(scratchDir, 'root.json'), root);
      for (const role of TOP_ROLES.slice(1)) {
        const bytes = await this.read(role);
        if (bytes) await writeFile(join(scratchDir, `${role}.json`), bytes);
      }
      return await work(scratchDir);
    } finally {
      await rm(scratchDir, { recursive: true, force: true });
    }
  }

  /** Stores the metadata that were verified in the scratch directory, and the marks. Throws `model_space`. */
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

  /** Limits flash wear: a later time alone is written once an hour. */
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
    await using file = await open(rootFile, constants.O_RDONLY);
    const { size } = await file.stat();
    if (size > MAX_METADATA_BYTES.root) throw new RangeError('the root file is too large');
    return await file.readFile();
  } catch (error) {
    throw new AgentError('model_trust_root', 'the file of model.trustRoot cannot be read', { cause: error });
  }
}

/** Digest of the signed part and not of the file, so that other white space does not make another root. */
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

/** The newest undamaged copy; null when there is none for this pinned root. */
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

/** Writes both copies; they are on the disk when it returns. */
function writeMarks(dir: string, marks: HighWaterMarks): void {
  const digest = digestText(JSON.stringify(marks));
  for (const file of MARKS_FILES) replaceFile(join(dir, file), `${JSON.stringify({ digest, marks })}\n`);
}
