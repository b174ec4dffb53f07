import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { closeQuietly } from '../../base/closing.ts';
import { replaceFile } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { asSpaceError, ensureSpace } from '../disk-space.ts';
import type { BlockSink } from '../types.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The directories that an install uses, below the models directory `dir`. */
export function fetchDirs(dir: string, updateId: string) {
  if (!UUID.test(updateId)) throw new AgentError('internal', 'the id of an install is not a UUID');
  return {
    parts: join(dir, 'parts'),
    staging: join(dir, 'staging', updateId),
    bundles: join(dir, 'bundles'),
    trust: join(dir, 'trust'),
  };
}

/** Identifies the file that a part file is a part of. A download never continues a part of another file. */
export interface PartIdentity {
  /** Source of the file: `http:` and the path in the repository, or `mqtt:`. */
  readonly of: string;
  /** The signed or announced digest in hexadecimal; null without one. */
  readonly sha256: string | null;
  /** Size of the whole file; null until it is known. */
  readonly sizeBytes: number | null;
  /** The strong ETag that the server sent for these bytes. */
  readonly tag: string | null;
}

export interface PartOptions {
  readonly dir: string;
  readonly updateId: string;
  /** Disk space that must stay free. */
  readonly reserveBytes: number;
}

/** The file is flushed after this many bytes, so a power cut loses at most this many. */
const SYNC_INTERVAL_BYTES = 4 * 1024 * 1024;

export const partPath = ({ dir, updateId }: Pick<PartOptions, 'dir' | 'updateId'>): string =>
  join(dir, `${updateId}.part`);

const identityPath = ({ dir, updateId }: Pick<PartOptions, 'dir' | 'updateId'>): string =>
  join(dir, `${updateId}.json`);

/**
 * A partly downloaded file. Bytes are only added at its end, so its length is the number of received bytes, and a crash
 * of the process loses nothing that was written. A JSON file next to it stores its identity. After a power cut the part
 * file may contain wrong bytes: compare its digest with the expected one before you use it.
 */
export class PartFile implements BlockSink {
  readonly path: string;
  readonly #options: PartOptions;
  readonly #file: FileHandle;
  #identity: PartIdentity;
  #heldBytes: number;
  #unsyncedBytes = 0;

  /** Opens the existing part file if it has the expected identity, else starts an empty one. Throws `model_space`. */
  static async open(options: PartOptions, expected: Omit<PartIdentity, 'tag'>): Promise<PartFile> {
    createDirectory(options.dir);
    const stored = await readIdentity(identityPath(options));
    // These flags make the open fail for a symbolic link. The mode below creates a file that other users cannot read.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const file = await open(partPath(options), flags, 0o600);
    try {
      const { size } = await file.stat();
      const continues = stored !== null && canContinue(stored, expected, size);
      const identity = continues ? stored : { ...expected, tag: null };
      const part = new PartFile(options, file, identity, continues ? size : 0);
      if (!continues) await part.restart({});
      return part;
    } catch (thrown) {
      await closeQuietly(() => file.close());
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

  /** Size of the whole file; 0 until it is known. */
  get sizeBytes(): number {
    return this.#identity.sizeBytes ?? 0;
  }

  /** Empties the part file, and stores the changed identity for the bytes that follow. */
  async restart(change: Partial<Pick<PartIdentity, 'sizeBytes' | 'tag'>>): Promise<void> {
    try {
      await this.#file.truncate(0);
      await this.#file.sync();
      this.#heldBytes = 0;
      this.#unsyncedBytes = 0;
      this.#identity = { ...this.#identity, ...change };
      replaceFile(identityPath(this.#options), `${JSON.stringify(this.#identity)}\n`);
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
      if (this.#unsyncedBytes >= SYNC_INTERVAL_BYTES) await this.sync();
    } catch (thrown) {
      throw asSpaceError(thrown);
    }
  }

  /** Flushes the bytes to the disk. Throws `model_space` when less than `reserveBytes` is free. */
  async sync(): Promise<void> {
    await this.#file.datasync();
    this.#unsyncedBytes = 0;
    await ensureSpace(this.#options.dir, this.#options.reserveBytes);
  }

  /** Returns the SHA-256 state over the bytes received so far. The caller may update it with the bytes that follow. */
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

/** Removes a part file and its identity file, if they exist. */
export async function removePart(place: Pick<PartOptions, 'dir' | 'updateId'>): Promise<void> {
  // Remove the part file first: an identity file without a part file is harmless.
  for (const path of [partPath(place), identityPath(place), `${identityPath(place)}.part`])
    await rm(path, { force: true });
}

function canContinue(stored: PartIdentity, expected: Omit<PartIdentity, 'tag'>, heldBytes: number): boolean {
  const { of, sha256, sizeBytes } = stored;
  if (of !== expected.of || sha256 !== expected.sha256) return false;
  if (expected.sizeBytes !== null && sizeBytes !== expected.sizeBytes) return false;
  return sizeBytes === null ? heldBytes === 0 : heldBytes <= sizeBytes;
}

async function readIdentity(path: string): Promise<PartIdentity | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isIdentity(value) ? value : null;
  } catch {
    // The identity file is missing, or a power cut damaged it: the download starts again.
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
