import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

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
  syncFolder(dirname(path));
}

/** Until the names in a folder are on the disk. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function write(path: string, flags: 'w' | 'r+', text: string): void {
  const fd = openSync(path, flags, 0o600);
  try {
    // All of it or an error: one write alone may end short where the disk becomes full.
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const isFull = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOSPC' || thrown.code === 'EDQUOT');
