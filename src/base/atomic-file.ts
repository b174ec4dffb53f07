import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs';
import { dirname } from 'node:path';
import { isDiskFull } from './disk-errors.ts';

/**
 * Replaces a small file atomically: after a power cut it has either the old or the new text. On a full disk, which has no
 * room for a second file, the text overwrites the old file; then a power cut may leave a mixture. `text` may depend on the
 * file that gets it.
 */
export function replaceFile(path: string, text: string | ((file: BigIntStats) => string)): void {
  const part = `${path}.part`;
  try {
    write(part, 'w', text);
  } catch (error) {
    rmSync(part, { force: true });
    const old = statSync(path, { throwIfNoEntry: false });
    if (!isDiskFull(error) || !old) throw error;
    // Never make the file shorter: a full disk may refuse to allocate the freed blocks again.
    write(path, 'r+', text, old.size);
    return;
  }
  renameSync(part, path);
  syncDirectory(dirname(path));
}

/** Flushes the entries of a directory to the disk. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  using _closed = { [Symbol.dispose]: () => closeSync(directory) };
  fsyncSync(directory);
}

/** Writes everything and flushes it to the disk, or throws: a single write may be short on a full disk. */
function write(path: string, flag: 'w' | 'r+', text: Parameters<typeof replaceFile>[1], minBytes = 0): void {
  const file = openSync(path, flag, 0o600);
  using _closed = { [Symbol.dispose]: () => closeSync(file) };
  const content = typeof text === 'string' ? text : text(fstatSync(file, { bigint: true }));
  writeFileSync(file, content.padEnd(minBytes));
  fsyncSync(file);
}
