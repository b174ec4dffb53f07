import { chmodSync, closeSync, lstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The permissions of the group and of other users. */
const OF_OTHERS = 0o077;
/** What holds records, settings with secrets, or the lock. Files of operators and models have other names. */
const PRIVATE_FILES = /^(swellsight\.|config-|last-stop\.|pictures$)/;

/**
 * Creates an empty file that only its owner can open; SQLite gives the log and the index of a database the same
 * permissions. Does nothing when the file exists: closing a descriptor of it would release the locks of this process.
 */
export function createPrivateFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch {
    // It exists, or SQLite fails for the same reason and reports it.
  }
}

/**
 * Takes the permissions of other users from the files of the agent in its state directory, for example after a copy from a
 * backup. Anyone who can open the lock file can hold its lock and so prevent a start. Leaves links and files of other owners.
 * Never throws: some file systems, such as FAT, have no permissions. `doctor` reports a directory that others can open.
 */
export function closeToOthers(stateDir: string): void {
  for (const name of namesIn(stateDir)) {
    try {
      if (PRIVATE_FILES.test(name)) closeFile(join(stateDir, name));
    } catch {
      // See above.
    }
  }
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    // The next file that is opened fails too, and names the reason.
    return [];
  }
}

function closeFile(path: string): void {
  const found = lstatSync(path);
  if (found.isSymbolicLink() || found.uid !== process.geteuid?.()) return;
  if ((found.mode & OF_OTHERS) !== 0) chmodSync(path, found.mode & 0o777 & ~OF_OTHERS);
}
