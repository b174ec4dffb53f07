import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../base/atomic-file.ts';
import { makeFolder } from '../../base/make-folder.ts';
import { asSpaceError, ensureSpace } from './space.ts';
import type { BlockSink } from '../types.ts';

/** What a part file is a part of. A part of something else is of no use. */
export interface PartIdentity {
  /** `http:` and the path in the repository, or `mqtt:`. */
  readonly of: string;
  /** Hex; null while nobody vouches for it. */
  readonly sha256: string | null;
  /** Of the whole; null before it is known. */
  readonly sizeBytes: number | null;
  /** Strong validator that the server gave for the bytes (ETag). */
  readonly tag: string | null;
}

export interface PartOptions {
  readonly dir: string;
  readonly updateId: string;
  /** Left free on the disk, whatever comes. */
  readonly reserveBytes: number;
}

/** So much may have to be fetched again after a power cut. */
const SYNC_EVERY_BYTES = 4 * 1024 * 1024;

export const partPath = ({ dir, updateId }: Pick<PartOptions, 'dir' | 'updateId'>): string =>
  join(dir, `${updateId}.part`);

const sidecarPath = ({ dir, updateId }: Pick<PartOptions, 'dir' | 'updateId'>): string =>
  join(dir, `${updateId}.json`);

/**
 * A file that grows at its end until it is whole: its length is what is there, so that a crash at any moment loses
 * nothing that was written. Beside it lies what it is a part of. A power cut may leave wrong bytes in it: whoever reads
 * it holds its digest against the promised one.
 */
export class PartFile implements BlockSink {
  readonly path: string;
  readonly #options: PartOptions;
  readonly #file: FileHandle;
  #identity: PartIdentity;
  #heldBytes: number;
  #unsyncedBytes = 0;

  /** Goes on with the part that lies there if it is one of the same thing, else begins anew. Throws `model_space`. */
  static async open(options: PartOptions, wanted: Omit<PartIdentity, 'tag'>): Promise<PartFile> {
    makeFolder(options.dir);
    const known = await readIdentity(sidecarPath(options));
    // Never through a link, and never a file that others may read.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const file = await open(partPath(options), flags, 0o600);
    try {
      const { size } = await file.stat();
      const goesOn = known !== null && belongs(known, wanted, size);
      const part = new PartFile(options, file, goesOn ? known : { ...wanted, tag: null }, goesOn ? size : 0);
      if (!goesOn) await part.restart({});
      return part;
    } catch (thrown) {
      await file.close();
      throw asSpaceError(thrown);
    }
  }

  private constructor(options: PartOptions, file: FileHandle, identity: PartIdentity, heldBytes: number) {
    this.path = partPath(options);
    this.#options = options;
    this.#file = file;
    this.#identity = identity;
    this.#heldBytes = heldBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get identity(): PartIdentity {
    return this.#identity;
  }

  /** Of the whole; 0 before it is known. */
  get sizeBytes(): number {
    return this.#identity.sizeBytes ?? 0;
  }

  /** Throws away what is there; what comes now is what is told here. */
  async restart(change: Partial<Pick<PartIdentity, 'sizeBytes' | 'tag'>>): Promise<void> {
    try {
      await this.#file.truncate(0);
      await this.#file.sync();
      this.#heldBytes = 0;
      this.#unsyncedBytes = 0;
      this.#identity = { ...this.#identity, ...change };
      replaceFile(sidecarPath(this.#options), `${JSON.stringify(this.#identity)}\n`);
    } catch (thrown) {
      throw asSpaceError(thrown);
    }
  }

  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) {
        const at = this.#heldBytes;
        const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, at);
        done += bytesWritten;
        this.#heldBytes += bytesWritten;
        this.#unsyncedBytes += bytesWritten;
      }
      if (this.#unsyncedBytes >= SYNC_EVERY_BYTES) await this.sync();
    } catch (thrown) {
      throw asSpaceError(thrown);
    }
  }

  /** Onto the disk. Throws `model_space` when what others need of the disk is touched. */
  async sync(): Promise<void> {
    await this.#file.datasync();
    this.#unsyncedBytes = 0;
    await ensureSpace(this.#options.dir, this.#options.reserveBytes);
  }

  /** Over what is there. */
  async hash(signal: AbortSignal): Promise<Hash> {
    const hash = createHash('sha256');
    const buffer = Buffer.alloc(256 * 1024);
    for (let at = 0; at < this.#heldBytes;) {
      signal.throwIfAborted();
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    return hash;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** Removes a part with what lies beside it; nothing when there is none. */
export async function removePart(place: Pick<PartOptions, 'dir' | 'updateId'>): Promise<void> {
  // The part first: what it belongs to is worth nothing without it.
  for (const path of [partPath(place), sidecarPath(place), `${sidecarPath(place)}.part`])
    await rm(path, { force: true });
}

function belongs(known: PartIdentity, wanted: Omit<PartIdentity, 'tag'>, heldBytes: number): boolean {
  const { of, sha256, sizeBytes } = known;
  if (of !== wanted.of || sha256 !== wanted.sha256) return false;
  if (wanted.sizeBytes !== null && sizeBytes !== wanted.sizeBytes) return false;
  return sizeBytes === null ? heldBytes === 0 : heldBytes <= sizeBytes;
}

async function readIdentity(path: string): Promise<PartIdentity | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isIdentity(value) ? value : null;
  } catch {
    // None, or torn by a power cut: the part is fetched anew.
    return null;
  }
}

function isIdentity(value: unknown): value is PartIdentity {
  if (typeof value !== 'object' || value === null) return false;
  const { of, sha256, sizeBytes, tag } = value as Record<string, unknown>;
  return (
    typeof of === 'string' &&
    (sha256 === null || typeof sha256 === 'string') &&
    (sizeBytes === null || (Number.isSafeInteger(sizeBytes) && Number(sizeBytes) >= 0)) &&
    (tag === null || typeof tag === 'string')
  );
}
