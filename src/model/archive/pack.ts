import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { closeQuietly } from '../../base/closing.ts';
import { syncDirectory } from '../../base/atomic-file.ts';
import { listBundle } from '../bundle/files.ts';
import { asSpaceError } from '../disk-space.ts';
import { BLOCK_BYTES, paddingBytes, refuseArchive, writeHeader } from './header.ts';

export interface PackedArchive {
  readonly sizeBytes: number;
  /** Digest of the archive, 64 hexadecimal digits. */
  readonly sha256: string;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * Packs the directory of a bundle into the archive `file`, which is replaced atomically. The bytes of the archive
 * depend only on the names and contents of the files. Throws `model_not_found` and `model_bundle_refused` as
 * `listBundle` does, `model_space`, or the reason of the signal.
 */
export async function packBundle(dir: string, file: string, signal?: AbortSignal): Promise<PackedArchive> {
  return packFiles(dir, [...(await listBundle(dir)).keys()], file, signal);
}

/** Packs plain files in the same way as `packBundle`. `paths` are the paths below `dir`. */
export async function packFiles(
  dir: string,
  paths: readonly string[],
  file: string,
  signal?: AbortSignal,
): Promise<PackedArchive> {
  const part = `${file}.part`;
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    {
      await using out = await open(part, 'w', 0o644);

      const write = async (bytes: Buffer): Promise<void> => {
        signal?.throwIfAborted();
        hash.update(bytes);
        sizeBytes += bytes.length;
        await out.writeFile(bytes);
      };
      for (const path of [...paths].sort((a, b) => (a < b ? -1 : 1)))
        await packFile(join(dir, path), path, write);
      await write(Buffer.alloc(2 * BLOCK_BYTES));
      await out.sync();
    }
    await rename(part, file);
    syncDirectory(dirname(file));
  } catch (thrown) {
    await closeQuietly(() => rm(part, { force: true }));
    throw asSpaceError(thrown);
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

async function packFile(from: string, path: string, write: (bytes: Buffer) => Promise<void>): Promise<void> {
  await using file = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW);

  const stats = await file.stat();
  if (!stats.isFile()) throw refuseArchive(`${path} is not a plain file`);
  await write(writeHeader(path, stats.size));
  for (let at = 0; at < stats.size;) {
    const piece = Buffer.alloc(Math.min(CHUNK_BYTES, stats.size - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) throw refuseArchive(`${path} became shorter while it was packed`);
    await write(piece.subarray(0, bytesRead));
    at += bytesRead;
  }
  await write(Buffer.alloc(paddingBytes(stats.size)));
}
