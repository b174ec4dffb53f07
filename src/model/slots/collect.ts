import { lstatSync, readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../base/log.ts';

/** Begins the name of what is being removed, which no digest and no install's id does. */
const GONE = '.gone-';

/**
 * Removes what lies in a folder and is not `kept`. Each thing is renamed first, so that a power cut leaves it whole
 * under its name or not under it; `kept` is asked in the same turn. Links are removed, never followed.
 */
export async function clear(dir: string, kept: (name: string) => boolean, log: Log): Promise<void> {
  for (const name of namesIn(dir, log)) {
    const path = join(dir, name);
    const gone = name.startsWith(GONE) ? path : join(dir, GONE + name);
    try {
      if (gone !== path) {
        if (kept(name)) continue;
        renameSync(path, gone);
      }
      await rm(gone, { recursive: true, force: true });
    } catch (thrown) {
      log.warn({ err: thrown, path }, 'what no slot names could not be removed');
    }
  }
}

/** What was left half removed comes first, so that it cannot stand in the way. */
function namesIn(dir: string, log: Log): string[] {
  try {
    if (lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) return [];
    return readdirSync(dir).sort();
  } catch (thrown) {
    log.warn({ err: thrown, path: dir }, 'the folder could not be looked through');
    return [];
  }
}
