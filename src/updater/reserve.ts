import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { isDiskFull } from '../base/disk-errors.ts';
import { writeFileAtomic } from '../model/repository/files.ts';

// How the end of a trial is recorded on a disk without free blocks or inodes: everything that it needs exists before the
// trial begins, and is then overwritten in place, linked or renamed.

/** Becomes the file that cannot be written otherwise. */
const RESERVE_FILE = 'reserve';
const RESERVE_BYTES = 256 * 1024;
/** One sector: disks write it completely or not at all. */
const SLOT_BYTES = 512;

/** Creates the reserve unless it exists. Throws the error of a full disk. */
export function makeReserve(dir: string): void {
  const path = join(dir, RESERVE_FILE);
  if (existsSync(path)) return;
  try {
    // Not zeros: some file systems store a block of zeros without space.
    overwrite(path, Buffer.alloc(RESERVE_BYTES, 'swellsight '));
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}

/** Replaces a file atomically; everyone may read it. On a full disk the reserve becomes this file. */
export function writeWithReserve(dir: string, name: string, text: string): void {
  const path = join(dir, name);
  const reserve = join(dir, RESERVE_FILE);
  try {
    replace(path, text);
  } catch (error) {
    if (!isDiskFull(error) || !existsSync(reserve)) throw error;
    try {
      overwrite(reserve, Buffer.from(text));
      chmodSync(reserve, 0o644);
      renameSync(reserve, path);
      syncDirectory(dir);
    } catch (second) {
      if (!isDiskFull(second)) throw second;
      // A file system that writes each change to new blocks.
      rmSync(reserve, { force: true });
      replace(path, text);
    }
  }
}

/** Replaces a file atomically; everyone may read it. On a full disk it does nothing. */
export function writeIfSpace(dir: string, name: string, text: string): void {
  try {
    replace(join(dir, name), text);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

/** Writes a short text into a file of fixed size, in place. Only the first time it needs space. */
export function writeSlot(path: string, text: string): void {
  const bytes = Buffer.alloc(SLOT_BYTES, ' ');
  bytes.write(text.replaceAll(/\s+/g, ' '), 0, SLOT_BYTES - 1);
  bytes.write('\n', SLOT_BYTES - 1);
  overwrite(path, bytes);
}

function replace(path: string, text: string): void {
  try {
    writeFileAtomic(path, text, 0o644);
  } catch (error) {
    rmSync(`${path}.part`, { force: true });
    throw error;
  }
}

function overwrite(path: string, bytes: Uint8Array): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o644);
  using _closed = { [Symbol.dispose]: () => closeSync(fd) };
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at);
  ftruncateSync(fd, bytes.length);
  fsyncSync(fd);
}
