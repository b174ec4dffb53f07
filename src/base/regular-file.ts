import { constants, readFileSync, statSync } from 'node:fs';

/** Why a path is not read, as text after the word "wanted". */
export class NotAFile extends Error {}

/**
 * Reads a file, also through links. Refuses pipes and devices: reading them may wait for ever. Throws `NotAFile`, or the
 * errors of the file system.
 */
export function readRegularFile(path: string, maxBytes: number): Buffer {
  const found = statSync(path);
  if (!found.isFile()) throw new NotAFile('a regular file, not a pipe, a device or a directory');
  if (found.size > maxBytes) throw new NotAFile(`a file of at most ${describeSize(maxBytes)}`);
  // O_NONBLOCK: a pipe may have replaced the file since then.
  return readFileSync(path, { flag: constants.O_RDONLY | constants.O_NONBLOCK });
}

const describeSize = (bytes: number): string =>
  bytes < 2 ** 20 ? `${String(bytes / 2 ** 10)} KiB` : `${String(bytes / 2 ** 20)} MiB`;
