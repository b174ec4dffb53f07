import { existsSync, mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Makes a folder with the ones above it. Throws as `mkdirSync` does.
 * `recursive` of Node 24 does not do for the missing ones: it tries for ever where a parent that is there answers
 * ENOENT, as /proc does.
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  for (let folder = resolve(path); !existsSync(folder); folder = dirname(folder)) missing.push(folder);
  for (const folder of missing.reverse()) {
    try {
      mkdirSync(folder, { mode: 0o750 });
    } catch (error) {
      // Another process was faster.
      if (!existsSync(folder)) throw error;
    }
  }
  // What stands there may be a file, which only the use of it would show.
  mkdirSync(resolve(path), { recursive: true });
}
