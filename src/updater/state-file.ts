import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { schemaChecker } from '../base/schema-checker.ts';
import { ModelVersion } from '../contract/model.ts';
import { UpdaterState, type InstalledVersion } from '../contract/update-files.ts';
import { parseVersion } from '../model/semver.ts';
import { writeIfSpace, writeWithReserve } from './reserve.ts';

const checker = schemaChecker({ strict: true, validateFormats: false });
const isState = checker.compile<UpdaterState>(UpdaterState);
const isVersion = checker.compile<string>(ModelVersion);

const STATE_FILE = 'state.json';
/** Older bans are dropped. */
const MAX_BANS = 100;

/** The state in the directory; null when there is none or it is damaged. */
export async function readState(dir: string): Promise<UpdaterState | null> {
  try {
    const state: unknown = JSON.parse(await readFile(join(dir, STATE_FILE), 'utf8'));
    return isState(state) ? state : null;
  } catch {
    return null;
  }
}

/**
 * Replaces the state atomically. It is on the disk when this returns. While a trial is on, a full disk keeps the former
 * state: the reserve is for the end of the trial, and until then the files of the trial say everything.
 */
export function writeState(dir: string, state: UpdaterState): void {
  const write = state.trial === null ? writeWithReserve : writeIfSpace;
  write(dir, STATE_FILE, `${JSON.stringify(state, null, 2)}\n`);
}

/** The state of a device on which `running` is installed and nothing was updated yet. */
export function newState(
  running: InstalledVersion,
  installed: readonly InstalledVersion[],
  updaterVersion: string,
): UpdaterState {
  return {
    format: 1,
    running,
    last_good: null,
    factory: oldestOf([running, ...installed]) ?? running,
    installed: [...installed],
    banned: [],
    trial: null,
    working: null,
    last_result: null,
    last_request: null,
    updater_version: updaterVersion,
  };
}

/** The state after the version that runs was changed by hand. The version that ran before stays for a rollback. */
export function withRunning(
  state: UpdaterState,
  running: InstalledVersion,
  installed: readonly InstalledVersion[],
): UpdaterState {
  const former = state.running;
  if (isSameVersion(former, running)) return state;
  const isUsable = isInstalled(former, installed) && !isBanned(state, former.digest);
  return { ...state, running, last_good: isUsable ? former : state.last_good };
}

/** The stored factory version may be gone after a removal of the agent: then the oldest installed version replaces it. */
export function withInstalledFactory(
  state: UpdaterState,
  installed: readonly InstalledVersion[],
): UpdaterState {
  if (isInstalled(state.factory, installed)) return state;
  const usable = installed.filter(({ digest }) => !isBanned(state, digest));
  return { ...state, factory: oldestOf(usable) ?? oldestOf(installed) ?? state.factory };
}

export function withBan(
  state: UpdaterState,
  { version, digest }: InstalledVersion,
  reason: string,
  at: string,
): UpdaterState {
  // The factory version is the last resort: it is never banned.
  if (digest === state.factory.digest || isBanned(state, digest)) return state;
  return { ...state, banned: [...state.banned, { version, digest, reason, at }].slice(-MAX_BANS) };
}

export const isBanned = (state: UpdaterState, digest: string): boolean =>
  state.banned.some((ban) => ban.digest === digest);

const isInstalled = (version: InstalledVersion, installed: readonly InstalledVersion[]): boolean =>
  installed.some((other) => isSameVersion(other, version));

export const isSameVersion = (a: InstalledVersion | null, b: InstalledVersion | null): boolean =>
  a !== null && b !== null && a.digest === b.digest && a.version === b.version;

export const isVersionText = (text: string): boolean => isVersion(text);

function oldestOf(versions: readonly InstalledVersion[]): InstalledVersion | undefined {
  return versions.toSorted((a, b) => {
    const [left, right] = [parseVersion(a.version), parseVersion(b.version)];
    return left && right ? left.compare(right) : 0;
  })[0];
}
