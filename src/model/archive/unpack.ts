import { constants } from 'node:fs';
import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { closeQuietly } from '../../base/closing.ts';
import { syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { BUNDLE_LIMITS } from '../bundle/files.ts';
import { asSpaceError } from '../disk-space.ts';
import { BLOCK_BYTES, paddingBytes, parseHeader, parsePaxPath, quoted, refuseArchive } from './header.ts';

/**
 * Which files an archive may contain. `bundle`: the files of a bundle and the directory `golden/`. `repository`: the
 * directories `metadata/` and `targets/` of a signed repository.
 */
export type ArchiveLayout = 'bundle' | 'repository';

export interface UnpackLimits {
  /** Size limit of all files together. */
  readonly maxBytes: number;
  readonly maxFiles: number;
  readonly layout: ArchiveLayout;
}

/** Limits that accept a bundle of any allowed size. */
export const BUNDLE_UNPACK_LIMITS: UnpackLimits = {
  maxBytes: BUNDLE_LIMITS.totalBytes,
  maxFiles: BUNDLE_LIMITS.files,
  layout: 'bundle',
};

const CHUNK_BYTES = 256 * 1024;
/** Size limit of an extended header or a long name. A path takes a few hundred bytes. */
const MAX_META_BYTES = 8 * 1024;
/**
 * Size limit of the zeros at the end. tar fills the archive up to a record of twenty blocks; some programs use larger
 * records.
 */
const MAX_TRAILER_BYTES = 64 * 1024;

/**
 * Allowed names: no path separator, no dot at the start, no character with a special meaning for a shell, a terminal or
 * another file system.
 */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,191}$/;
/** Device names of Windows, with any extension. */
const WINDOWS_DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;
/** Most parts of a path. `targets/models/{name}/{sha256}.{version}.tar` has four. */
const MAX_SEGMENTS = 6;

/**
 * Unpacks an archive into the directory `intoDir`, which must not exist, while its parent must exist. Writes only plain
 * files and directories of the layout, and flushes each to the disk. Removes `intoDir` on any failure. Throws
 * `model_archive_refused` for content that the layout does not allow, `model_too_large` before it writes a file that
 * exceeds the limits, `model_space`, or the reason of the signal.
 */
export async function unpackArchive(
  file: string,
  intoDir: string,
  limits: UnpackLimits,
  signal?: AbortSignal,
): Promise<void> {
  // O_NONBLOCK: if the path is a named pipe, opening it must not wait for a writer.
  await using archive = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);

  const stats = await archive.stat();
  if (!stats.isFile()) throw refuseArchive('it is not a plain file');
  await mkdir(intoDir, { mode: 0o755 });
  try {
    await new Unpacker(archive, stats.size, intoDir, limits, signal).run();
    syncDirectory(dirname(intoDir));
  } catch (thrown) {
    await closeQuietly(() => rm(intoDir, { recursive: true, force: true }));
    throw asSpaceError(thrown);
  }
}

/**
 * Reads the tar archive itself, because the tar package skips entries that it cannot use. This class checks each header
 * before it reads the body of that entry, and stops at the first header that it does not know. See
 * docs/decisions/0007-own-tar-reader.md.
 */
class Unpacker {
  readonly #archive: FileHandle;
  readonly #archiveBytes: number;
  readonly #dir: string;
  readonly #limits: UnpackLimits;
  readonly #signal: AbortSignal | undefined;
  /** Paths of the files in lower case, so that the result is the same on a file system that ignores case. */
  readonly #files = new Set<string>();
  /** Maps the path of each directory in lower case to its path on the disk. */
  readonly #directories = new Map<string, string>();
  /** Directories that have a header of their own in the archive, in lower case. */
  readonly #listedDirectories = new Set<string>();
  #headers = 0;
  #fileBytes = 0;

  constructor(
    archive: FileHandle,
    archiveBytes: number,
    dir: string,
    limits: UnpackLimits,
    signal: AbortSignal | undefined,
  ) {
    this.#archive = archive;
    this.#archiveBytes = archiveBytes;
    this.#dir = dir;
    this.#limits = limits;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    let longPath: string | null = null;
    let at = 0;
    for (;;) {
      const { kind, path, sizeBytes } = parseHeader(await this.#read(at, BLOCK_BYTES));
      if (kind === 'end') break;
      // The limit allows an extended header for each file, and some directories.
      if (++this.#headers > 2 * this.#limits.maxFiles + 64) throw this.#tooLarge('too many entries');
      const body = at + BLOCK_BYTES;
      if (kind === 'pax' || kind === 'long_name') {
        if (sizeBytes > MAX_META_BYTES) throw refuseArchive('an extended header is too long');
        if (longPath !== null) throw refuseArchive('an entry has two long names');
        const meta = await this.#read(body, sizeBytes);
        longPath = kind === 'pax' ? parsePaxPath(meta) : meta.toString('utf8').replace(/\0$/, '');
      } else {
        const segments = parsePath(longPath ?? path, kind, this.#limits.layout);
        if (segments === null)
          throw refuseArchive(`${quoted(longPath ?? path)} is not a path of a ${this.#limits.layout}`);
        longPath = null;
        if (kind === 'directory') await this.#addDirectory(segments);
        else await this.#addFile(segments, body, sizeBytes);
      }
      at = body + sizeBytes + paddingBytes(sizeBytes);
    }
    if (longPath !== null) throw refuseArchive('it ends after a long name');
    if (this.#files.size === 0) throw refuseArchive('it contains no file');
    await this.#checkTrailer(at + BLOCK_BYTES);
    // Flush the innermost directories first, so that the content of a directory is on the disk before its name is.
    for (const dir of [...this.#directories.values()].sort((a, b) => b.length - a.length)) syncDirectory(dir);
    syncDirectory(this.#dir);
  }

  async #addDirectory(segments: readonly string[]): Promise<void> {
    const key = segments.join('/').toLowerCase();
    if (this.#listedDirectories.has(key)) throw duplicatePath(segments.join('/'));
    this.#listedDirectories.add(key);
    await this.#makeDirectories(segments);
  }

  async #makeDirectories(segments: readonly string[]): Promise<void> {
    for (let depth = 1; depth <= segments.length; depth++) {
      const path = segments.slice(0, depth).join('/');
      const key = path.toLowerCase();
      if (this.#files.has(key)) throw refuseArchive(`${quoted(path)} is a file and a directory`);
      const existing = this.#directories.get(key);
      const place = join(this.#dir, path);
      if (existing === undefined) {
        await mkdir(place, { mode: 0o755 });
        this.#directories.set(key, place);
      } else if (existing !== place) throw duplicatePath(path);
    }
  }

  async #addFile(segments: readonly string[], body: number, sizeBytes: number): Promise<void> {
    const path = segments.join('/');
    const key = path.toLowerCase();
    const { maxBytes, maxFiles } = this.#limits;
    if (this.#files.has(key) || this.#directories.has(key)) throw duplicatePath(path);
    if (this.#files.size === maxFiles) throw this.#tooLarge(`more than ${String(maxFiles)} files`);
    this.#fileBytes += sizeBytes;
    if (this.#fileBytes > maxBytes) throw this.#tooLarge(`more than ${String(maxBytes)} bytes`);
    if (body + sizeBytes > this.#archiveBytes) throw refuseArchive(`it ends within ${quoted(path)}`);
    await this.#makeDirectories(segments.slice(0, -1));
    this.#files.add(key);
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    await using out = await open(join(this.#dir, path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);

    for (let done = 0; done < sizeBytes;) {
      const piece = await this.#read(body + done, Math.min(CHUNK_BYTES, sizeBytes - done));
      await out.writeFile(piece);
      done += piece.length;
    }
    await out.sync();
  }

  /**
   * Checks what follows the first empty block: at least one more empty block, and only zeros up to the end of the
   * archive.
   */
  async #checkTrailer(start: number): Promise<void> {
    const trailerBytes = this.#archiveBytes - start;
    if (trailerBytes < BLOCK_BYTES) throw refuseArchive('its end is missing');
    if (
      trailerBytes > MAX_TRAILER_BYTES ||
      (await this.#read(start, trailerBytes)).some((byte) => byte !== 0)
    )
      throw refuseArchive('it has content after its end');
  }

  async #read(at: number, sizeBytes: number): Promise<Buffer> {
    this.#signal?.throwIfAborted();
    if (at + sizeBytes > this.#archiveBytes) throw refuseArchive('it is truncated');
    const piece = Buffer.alloc(sizeBytes);
    for (let done = 0; done < sizeBytes;) {
      const { bytesRead } = await this.#archive.read(piece, done, sizeBytes - done, at + done);
      if (bytesRead === 0) throw refuseArchive('it became shorter while it was read');
      done += bytesRead;
    }
    return piece;
  }

  #tooLarge(reason: string): AgentError {
    return new AgentError('model_too_large', `the archive contains ${reason}`, {
      context: { ...this.#limits },
    });
  }
}

const duplicatePath = (path: string): AgentError => refuseArchive(`${quoted(path)} occurs twice`);

/**
 * Splits a path of the archive into its parts, without a leading `./`; the result is empty for `.`. Returns null for a
 * path that the layout does not allow: one that is absolute, contains `..`, a NUL, a backslash or another unusual
 * character, or is too long or too deep.
 */
function parsePath(path: string, kind: 'file' | 'directory', layout: ArchiveLayout): string[] | null {
  const bare = (path.startsWith('./') ? path.slice(2) : path).replace(
    kind === 'directory' ? /\/$/ : /$^/,
    '',
  );
  if (bare === '' || bare === '.') return kind === 'directory' ? [] : null;
  const segments = bare.split('/');
  if (segments.length > MAX_SEGMENTS) return null;
  const isSafe = segments.every(
    (segment) => NAME.test(segment) && !WINDOWS_DEVICE.test(segment) && !segment.endsWith('.'),
  );
  return isSafe && isInLayout(segments, kind, layout) ? segments : null;
}

function isInLayout(
  [first = '', ...rest]: readonly string[],
  kind: 'file' | 'directory',
  layout: ArchiveLayout,
): boolean {
  if (layout === 'repository') {
    const minDepth = kind === 'directory' ? 0 : 1;
    return (first === 'metadata' || first === 'targets') && rest.length >= minDepth;
  }
  if (kind === 'directory') return first === 'golden' && rest.length === 0;
  return rest.length === 0 || (first === 'golden' && rest.length === 1);
}
