import { constants } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { BLOCK_BYTES, paddingOf, paxPath, quoted, readHeader, refuseArchive } from './header.ts';
import { segmentsOf, type ArchiveLayout } from './paths.ts';

export interface UnpackLimits {
  /** Of all files together. */
  readonly maxBytes: number;
  readonly maxFiles: number;
  readonly layout: ArchiveLayout;
}

const CHUNK_BYTES = 256 * 1024;
/** Of an extended header or a long name; a path takes a few hundred bytes. */
const MAX_META_BYTES = 8 * 1024;
/** tar fills up to a record of twenty blocks; some writers use larger ones. */
const MAX_TRAILER_BYTES = 64 * 1024;

/**
 * The walk is ours and not the library's, which reads on past what it cannot use: here each header is judged before a
 * byte of its body is read, and what is not understood ends it.
 */
export class Unpacking {
  readonly #archive: FileHandle;
  readonly #sizeBytes: number;
  readonly #dir: string;
  readonly #limits: UnpackLimits;
  readonly #signal: AbortSignal | undefined;
  /** In small letters, so that a file system that does not tell them apart gives the same files. */
  readonly #files = new Set<string>();
  readonly #folders = new Map<string, string>();
  readonly #announced = new Set<string>();
  #headers = 0;
  #bytes = 0;

  constructor(
    archive: FileHandle,
    sizeBytes: number,
    dir: string,
    limits: UnpackLimits,
    signal: AbortSignal | undefined,
  ) {
    this.#archive = archive;
    this.#sizeBytes = sizeBytes;
    this.#dir = dir;
    this.#limits = limits;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    let longPath: string | null = null;
    let at = 0;
    for (;;) {
      const { kind, path, sizeBytes } = readHeader(await this.#read(at, BLOCK_BYTES));
      if (kind === 'end') break;
      // Each file may have one header of its own in front, and there are a few folders.
      if (++this.#headers > 2 * this.#limits.maxFiles + 64) throw this.#tooLarge('too many entries');
      const body = at + BLOCK_BYTES;
      if (kind === 'pax' || kind === 'long_name') {
        if (sizeBytes > MAX_META_BYTES) throw refuseArchive('an extended header is too long');
        if (longPath !== null) throw refuseArchive('an entry has two long names');
        const meta = await this.#read(body, sizeBytes);
        longPath = kind === 'pax' ? paxPath(meta) : meta.toString('utf8').replace(/\0$/, '');
      } else {
        const segments = segmentsOf(longPath ?? path, kind, this.#limits.layout);
        if (segments === null)
          throw refuseArchive(`${quoted(longPath ?? path)} is no path of a ${this.#limits.layout}`);
        longPath = null;
        if (kind === 'folder') await this.#folder(segments);
        else await this.#file(segments, body, sizeBytes);
      }
      at = body + sizeBytes + paddingOf(sizeBytes);
    }
    if (longPath !== null) throw refuseArchive('it ends after a long name');
    if (this.#files.size === 0) throw refuseArchive('it holds no file');
    await this.#trailer(at + BLOCK_BYTES);
    // From the inside out: a folder's names are on the disk before the name of the folder.
    for (const folder of [...this.#folders.values()].sort((a, b) => b.length - a.length)) syncFolder(folder);
    syncFolder(this.#dir);
  }

  async #folder(segments: readonly string[]): Promise<void> {
    const key = segments.join('/').toLowerCase();
    if (this.#announced.has(key)) throw refuseArchive(`${quoted(segments.join('/'))} stands twice`);
    this.#announced.add(key);
    await this.#makeFolders(segments);
  }

  async #makeFolders(segments: readonly string[]): Promise<void> {
    for (let depth = 1; depth <= segments.length; depth++) {
      const path = segments.slice(0, depth).join('/');
      const key = path.toLowerCase();
      if (this.#files.has(key)) throw refuseArchive(`${quoted(path)} is a file and a folder`);
      const made = this.#folders.get(key);
      const place = join(this.#dir, path);
      if (made === undefined) {
        await mkdir(place, { mode: 0o755 });
        this.#folders.set(key, place);
      } else if (made !== place) throw refuseArchive(`${quoted(path)} stands twice`);
    }
  }

  async #file(segments: readonly string[], body: number, sizeBytes: number): Promise<void> {
    const path = segments.join('/');
    const key = path.toLowerCase();
    const { maxBytes, maxFiles } = this.#limits;
    if (this.#files.has(key) || this.#folders.has(key)) throw refuseArchive(`${quoted(path)} stands twice`);
    if (this.#files.size === maxFiles) throw this.#tooLarge(`more than ${String(maxFiles)} files`);
    this.#bytes += sizeBytes;
    if (this.#bytes > maxBytes) throw this.#tooLarge(`more than ${String(maxBytes)} bytes`);
    if (body + sizeBytes > this.#sizeBytes) throw refuseArchive(`it ends within ${quoted(path)}`);
    await this.#makeFolders(segments.slice(0, -1));
    this.#files.add(key);
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const out = await open(join(this.#dir, path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
    try {
      for (let done = 0; done < sizeBytes;) {
        const piece = await this.#read(body + done, Math.min(CHUNK_BYTES, sizeBytes - done));
        await writeAll(out, piece);
        done += piece.length;
      }
      await out.sync();
    } finally {
      await out.close();
    }
  }

  /** After the first empty block: another one, and nothing but zeros to the end of the record. */
  async #trailer(start: number): Promise<void> {
    const left = this.#sizeBytes - start;
    if (left < BLOCK_BYTES) throw refuseArchive('its end is missing');
    if (left > MAX_TRAILER_BYTES || (await this.#read(start, left)).some((byte) => byte !== 0))
      throw refuseArchive('something follows after its end');
  }

  async #read(at: number, sizeBytes: number): Promise<Buffer> {
    this.#signal?.throwIfAborted();
    if (at + sizeBytes > this.#sizeBytes) throw refuseArchive('it is truncated');
    const piece = Buffer.alloc(sizeBytes);
    for (let done = 0; done < sizeBytes;) {
      const { bytesRead } = await this.#archive.read(piece, done, sizeBytes - done, at + done);
      if (bytesRead === 0) throw refuseArchive('it became shorter while it was read');
      done += bytesRead;
    }
    return piece;
  }

  #tooLarge(why: string): AgentError {
    return new AgentError('model_too_large', `the archive holds ${why}`, { context: { ...this.#limits } });
  }
}

export async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await file.write(bytes, done, bytes.length - done)).bytesWritten;
  }
}
