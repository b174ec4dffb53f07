import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { syncFolder } from '../../base/atomic-file.ts';
import { BLOCK_BYTES, paddingOf, refuseArchive, writeHeader } from './header.ts';
import { Unpacking, writeAll, type UnpackLimits } from './unpack.ts';
import { listBundle } from '../bundle/files.ts';

export interface PackedArchive {
  readonly sizeBytes: number;
  /** Of the archive's bytes, 64 hex digits. */
  readonly sha256: string;
}

const CHUNK_BYTES = 256 * 1024;
/**
 * Packs a bundle's folder as `file`, which is replaced whole. The bytes depend on the files' names and bytes alone.
 * Throws `model_not_found` and `model_bundle_refused` as `listBundle`, `model_space`, or the signal's reason.
 */
export async function packBundle(dir: string, file: string, signal?: AbortSignal): Promise<PackedArchive> {
  return packFiles(dir, [...(await listBundle(dir)).keys()], file, signal);
}

/** Packs plain files, named by their paths below `dir`, as `packBundle` does. */
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
    const out = await open(part, 'w', 0o644);
    try {
      const put = async (bytes: Buffer): Promise<void> => {
        signal?.throwIfAborted();
        hash.update(bytes);
        sizeBytes += bytes.length;
        await writeAll(out, bytes);
      };
      for (const path of [...paths].sort((a, b) => (a < b ? -1 : 1)))
        await packOne(join(dir, path), path, put);
      await put(Buffer.alloc(2 * BLOCK_BYTES));
      await out.sync();
    } finally {
      await out.close();
    }
    await rename(part, file);
    syncFolder(dirname(file));
  } catch (thrown) {
    await rm(part, { force: true });
    throw asSpaceError(thrown);
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

async function packOne(from: string, path: string, put: (bytes: Buffer) => Promise<void>): Promise<void> {
  const file = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw refuseArchive(`${path} is no plain file`);
    await put(writeHeader(path, found.size));
    for (let at = 0; at < found.size;) {
      const piece = Buffer.alloc(Math.min(CHUNK_BYTES, found.size - at));
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) throw refuseArchive(`${path} became shorter while it was packed`);
      await put(piece.subarray(0, bytesRead));
      at += bytesRead;
    }
    await put(Buffer.alloc(paddingOf(found.size)));
  } finally {
    await file.close();
  }
}

/**
 * Unpacks an archive into `intoDir`, which must not be there yet; its parent must. Only plain files and folders of the
 * layout come out, each synced to the disk. On any failure nothing is left of `intoDir`.
 * Throws `model_archive_refused` for whatever a bundle's archive cannot hold, `model_too_large` before a byte is written
 * when more is announced than the limits allow, `model_space`, or the signal's reason.
 */
export async function unpackArchive(
  file: string,
  intoDir: string,
  limits: UnpackLimits,
  signal?: AbortSignal,
): Promise<void> {
  // A pipe in its place must not hold up anyone.
  const archive = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = await archive.stat();
    if (!found.isFile()) throw refuseArchive('it is no plain file');
    await mkdir(intoDir, { mode: 0o755 });
    try {
      await new Unpacking(archive, found.size, intoDir, limits, signal).run();
      syncFolder(dirname(intoDir));
    } catch (thrown) {
      await rm(intoDir, { recursive: true, force: true });
      throw asSpaceError(thrown);
    }
  } finally {
    await archive.close();
  }
}

function asSpaceError(thrown: unknown): unknown {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : null;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return thrown;
  return new AgentError('model_space', 'the disk is full', { cause: thrown });
}
