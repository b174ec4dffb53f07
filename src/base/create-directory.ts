import { existsSync, mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Creates a directory and its missing parents. Throws as `mkdirSync` does. The `recursive` option of Node 24 is not enough:
 * it loops for ever below an existing directory that answers ENOENT, such as /proc.
 */
export function createDirectory(path: string): void {
  const missing: string[] = [];
  for (let dir = resolve(path); !existsSync(dir); dir = dirname(dir)) missing.push(dir);
  for (const dir of missing.reverse()) {
    try {
      mkdirSync(dir, { mode: 0o750 });
    } catch (error) {
      // Another process may have created it in the meantime.
      if (!existsSync(dir)) throw error;
    }
  }
  // Throws when the path is a file.
  mkdirSync(resolve(path), { recursive: true });
}
