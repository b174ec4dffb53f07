import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { asSpaceError, ensureSpace } from '../disk-space.ts';
import type { BlockSink } from '../types.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The directories of an install, below the models directory `dir`. */
export function fetchDirs(
  dir: string,
  updateId: string,
): {
  readonly parts: string;
  readonly staging: string;
  readonly bundles: string;
  readonly trust: string;
} {
  if (!UUID.test(updateId)) throw new AgentError('internal', 'the id of an install is not a UUID');
  return {
    parts: join(dir, 'parts'),
    staging: join(dir, 'staging', updateId),
    bundles: join(dir, 'bundles'),
    trust: join(dir, 'trust'),
  };
}

/** Which file a part file belongs to. A part of another file cannot be continued. */
export interface PartIdentity {
  /** `http:` and the path in the repository, or `mqtt:`. */
  readonly of: string;
  /** Hex; null without a signed or announced digest. */
  readonly sha256: string | null;
  /** Of the whole file; null before it is known. */
  readonly sizeBytes: number | null;
  /** The server's strong validator (ETag) for the bytes. */
  readonly tag: string | null;
}

export interface PartOptions {
  readonly dir: string;
  readonly updateId: string;
  /** Kept free on the disk. */
  readonly reserveBytes: number;
}

/** A power cut loses at most this much. */
const SYNC_INTERVAL_BYTES = 4 * 1024 * 1024;

export const partPath = ({ dir, updateId }: Pick<PartOptions, 'dir' | 'updateId'>): string =>
  join(dir, `${updateId}.part`);

const identityPath = ({ dir, updateId }: Pick<PartOptions, 'dir' | 'updateId'>): string =>
  join(dir, `${updateId}.json`);

/**
 * A partly downloaded file. It only grows at its end, so its length is the number of valid bytes and a crash loses
 * nothing that was written. A JSON file next to it stores its identity. A power cut may leave wrong bytes in it: compare
 * its digest with the expected one before use.
 */
export class PartFile implements BlockSink {
  readonly path: string;
  readonly #options: PartOptions;
  readonly #file: FileHandle;
  #identity: PartIdentity;
  #heldBytes: number;
  #unsyncedBytes = 0;

  /** Continues the existing part if it has the expected identity, else starts an empty one. Throws `model_space`. */
  static async open(options: PartOptions, expected: Omit<PartIdentity, 'tag'>): Promise<PartFile> {
    createDirectory(options.dir);
    const stored = await readIdentity(identityPath(options));
    // Do not follow a link, and do not create a file that others can read.
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

  /** Of the whole file; 0 before it is known. */
  get sizeBytes(): number {
    return this.#identity.sizeBytes ?? 0;
  }

  /** Empties the part and stores the changed identity of the bytes that follow. */
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

  /** Flushes the bytes to the disk. Throws `model_space` when less than the reserve is free. */
  async sync(): Promise<void> {
    await this.#file.datasync();
    this.#unsyncedBytes = 0;
    await ensureSpace(this.#options.dir, this.#options.reserveBytes);
  }

  /** SHA-256 over the bytes so far; the caller may update it with the bytes that follow. */
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

/** Removes a part and its identity, if they exist. */
export async function removePart(place: Pick<PartOptions, 'dir' | 'updateId'>): Promise<void> {
  // The part first: without it the identity is harmless.
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
    // Missing, or damaged by a power cut: the download starts again.
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
