import { linkSync, rmSync, writeFileSync, openSync, closeSync, fsyncSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { errorCode, isDiskFull } from '../base/disk-errors.ts';
import { writeFileAtomic } from '../model/repository/files.ts';

/** A file that is deleted when the disk is full, so that a return to the former version can still be recorded. */
const RESERVE_FILE = 'reserve';
const RESERVE_BYTES = 256 * 1024;

/** Creates the reserve. Does nothing when it exists or the disk has no space. */
export function makeReserve(dir: string): void {
  const path = join(dir, RESERVE_FILE);
  if (existsSync(path)) return;
  try {
    // Not zeros: some file systems store a block of zeros without space.
    syncedWrite(path, Buffer.alloc(RESERVE_BYTES, 'swellsight '));
  } catch (error) {
    rmSync(path, { force: true });
    if (!isDiskFull(error)) throw error;
  }
}

/** Replaces a file atomically; everyone may read it. On a full disk it takes the space of the reserve. */
export function writeWithReserve(dir: string, name: string, text: string): void {
  withReserve(dir, () => writeFileAtomic(join(dir, name), text, 0o644));
}

/**
 * Creates a file that does not exist yet, with its whole text at once. Returns false when it exists: then another process
 * was first, and its text counts.
 */
export function createWithReserve(dir: string, name: string, text: string): boolean {
  const own = join(dir, `.${name}.${process.pid}`);
  try {
    withReserve(dir, () => syncedWrite(own, text));
    linkSync(own, join(dir, name));
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(own, { force: true });
    syncDirectory(dir);
  }
}

function withReserve(dir: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    rmSync(join(dir, RESERVE_FILE), { force: true });
    write();
  }
}

function syncedWrite(path: string, content: string | Uint8Array): void {
  const fd = openSync(path, 'w', 0o644);
  try {
    writeFileSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
