import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { extract } from 'tar';
import { childEnvironment } from '../base/child-environment.ts';
import { closeQuietly } from '../base/closing.ts';
import { AgentError } from '../base/errors.ts';

export interface ArchiveFacts {
  readonly sizeBytes: number;
  /** Digest of the archive, 64 hexadecimal digits. */
  readonly sha256: string;
}

export interface UnpackBounds {
  /** Largest size of all files together, and their largest number. */
  readonly maxBytes: number;
  readonly maxFiles: number;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * Copies the archive that the agent wrote, and checks the copy: the agent could change its own file between a check and
 * its use. Throws `model_trust_mismatch` unless the copy has the signed size and digest. Removes the copy on any failure.
 */
export async function copyChecked(
  from: FileHandle,
  into: string,
  { sizeBytes, sha256 }: ArchiveFacts,
  signal: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256');
  try {
    await using copy = await open(into, 'w', 0o600);

    const piece = Buffer.alloc(CHUNK_BYTES);
    let size = 0;
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await from.read(piece, 0, piece.length, size);
      if (bytesRead === 0) break;
      size += bytesRead;
      if (size > sizeBytes) break;
      hash.update(piece.subarray(0, bytesRead));
      await copy.writeFile(piece.subarray(0, bytesRead));
    }
    if (size !== sizeBytes || hash.digest('hex') !== sha256)
      throw new AgentError('model_trust_mismatch', 'the archive is not the signed one');
  } catch (error) {
    await closeQuietly(() => rm(into, { force: true }));
    throw error;
  }
}

/**
 * Unpacks a checked archive into a new directory. Only plain files and directories are allowed. Throws
 * `update_archive_refused`, and the errors of a full or read-only disk.
 */
export async function unpackArchive(
  archive: string,
  intoDir: string,
  { maxBytes, maxFiles }: UnpackBounds,
  signal: AbortSignal,
): Promise<void> {
  await rm(intoDir, { recursive: true, force: true });
  await mkdir(intoDir, { mode: 0o755 });
  let bytes = 0;
  let files = 0;
  const faults: string[] = [];
  try {
    const unpacking = extract({
      cwd: intoDir,
      strict: true,
      preserveOwner: false,
      noMtime: true,
      filter: (path, entry) => {
        const type = 'type' in entry ? entry.type : 'File';
        bytes += entry.size;
        files += 1;
        if (!/^(File|OldFile|Directory)$/.test(type)) faults.push(`${path} is a ${type}`);
        else if (bytes > maxBytes || files > maxFiles) faults.push('it is larger than its description');
        return faults.length === 0;
      },
    });
    await pipeline(createReadStream(archive, { highWaterMark: CHUNK_BYTES }), unpacking, { signal });
    if (faults.length > 0)
      throw new AgentError('update_archive_refused', `the archive is refused: ${faults[0] ?? ''}`);
  } catch (error) {
    throw asArchiveError(error);
  }
}

/** Writes everything to the disk that the file system of the directory still has in memory. Throws when that fails. */
export async function syncFileSystem(dir: string): Promise<void> {
  // Node has no syncfs(2). One call is much faster than flushing thousands of files on an SD card.
  await promisify(execFile)('sync', ['--file-system', dir], {
    env: childEnvironment(process.env, 'program'),
  });
}

/** The tar package reports a damaged archive with codes of its own. */
function asArchiveError(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^(TAR_|Z_)/.test(code)
    ? new AgentError('update_archive_refused', 'the archive is refused: it is damaged', { cause: error })
    : error;
}
