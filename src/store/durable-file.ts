import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

import { isFull } from './sqlite-errors.ts';

/**
 * Replaces a small file so that after a power cut either the old or the new text is there, whole. On a full disk, where
 * there is no room for a second one, the text is written over the old one, which a power cut may tear.
 */
export function replaceFile(path: string, text: string): void {
  const part = `${path}.part`;
  try {
    write(part, 'w', text);
  } catch (error) {
    rmSync(part, { force: true });
    const old = statSync(path, { throwIfNoEntry: false });
    if (!isFull(error) || !old) throw error;
    // Never shorter: giving blocks back and asking for them again is what a full disk refuses.
    write(path, 'r+', text.padEnd(old.size));
    return;
  }
  renameSync(part, path);
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function write(path: string, flags: 'w' | 'r+', text: string): void {
  const fd = openSync(path, flags, 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
