import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../../base/atomic-file.ts';

/** The four top-level roles in the order in which they vouch for one another. */
export const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;
export type Role = (typeof ROLES)[number];
export const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text);

/** Where things lie in a repository: decision 13. Paths are relative to its folder. */
export const metadataPath = (role: Role, version: number): string =>
  role === 'timestamp' ? 'metadata/timestamp.json' : `metadata/${version}.${role}.json`;

export const targetPath = (name: string, sha256: string, version: string): string =>
  `targets/models/${name}/${sha256}.${version}.tar`;

/** The file's bytes; null when it is not there. */
export async function readIfThere(path: string): Promise<Buffer | null> {
  return readFile(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return null;
    throw error;
  });
}

/** Number of the newest root in the repository's folder; 0 without one. */
export async function newestRoot(dir: string): Promise<number> {
  const names = await readdir(join(dir, 'metadata')).catch(() => []);
  return Math.max(0, ...names.map((name) => Number(/^([1-9]\d{0,8})\.root\.json$/.exec(name)?.[1] ?? 0)));
}

/** Writes a file whole or not at all, and durably. `mode`: who may read it. */
export function putFile(path: string, bytes: string | Uint8Array, mode: 0o600 | 0o644): void {
  mkdirSync(dirname(path), { recursive: true, mode: mode === 0o600 ? 0o700 : 0o755 });
  const part = `${path}.part`;
  const fd = openSync(part, 'w', mode);
  try {
    writeFileSync(fd, bytes);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  chmodSync(part, mode);
  renameSync(part, path);
  syncFolder(dirname(path));
}
