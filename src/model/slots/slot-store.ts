import { lstatSync, readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, isDiskFull } from '../../base/disk-errors.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { isFinalPhase } from '../../contract/model.ts';
import { parseSlotsState, readSlotsFile, setBrokenFileAside, writeSlotsFile } from './slots-file.ts';
import type { InstallRecord, SlotsState } from '../types.ts';

const EMPTY: SlotsState = {
  format: 1,
  active: null,
  previous: null,
  candidate: null,
  install: null,
  refused: [],
};

/**
 * At most this many refused digests are kept. The oldest are dropped; such a bundle is tested again when an install
 * requests it.
 */
const MAX_REFUSED = 64;

const DIGEST = /^sha256:([0-9a-f]{64})$/;
/** Name prefix of a file or directory that is being removed. No bundle digest and no install id begins with it. */
const REMOVING_PREFIX = '.gone-';

/**
 * Stores which bundle is in which model slot, and the state of the current install, in `slots.json` in the models
 * directory. It also removes the bundles that no slot refers to.
 *
 * INVARIANT: only the control process writes this file.
 */
export class SlotStore {
  /**
   * Why the slots file could not be used; null when it was valid or missing. When the file is damaged, the factory
   * model serves.
   */
  readonly damaged: AgentError | null;
  readonly #dir: string;
  readonly #log: Log;
  #state: SlotsState;

  private constructor(dir: string, log: Log, state: SlotsState, damaged: AgentError | null) {
    this.#dir = dir;
    this.#log = log;
    this.#state = state;
    this.damaged = damaged;
  }

  /**
   * Reads the slots file in `dir`, which is `{stateDir}/models`. Renames a damaged slots file, and never throws because
   * of one.
   */
  static open(dir: string, { log }: { readonly log: Log }): SlotStore {
    const path = join(dir, 'slots.json');
    const read = readSlotsFile(path);
    if (read === null) return new SlotStore(dir, log, EMPTY, null);
    if ('slots' in read) return new SlotStore(dir, log, read.slots, null);
    return new SlotStore(dir, log, EMPTY, setDamageAside(path, read.fault));
  }

  get state(): SlotsState {
    return this.#state;
  }

  /**
   * Changes the state. When this returns, the new state is on the disk; when it throws, nothing has changed. Throws
   * `model_space` or `store_failed` when the file cannot be written, and `internal` for a state that is not valid.
   */
  update(change: (state: SlotsState) => SlotsState): SlotsState {
    const changed = change(this.#state);
    const wanted = { ...changed, refused: changed.refused.slice(-MAX_REFUSED) };
    const read = parseSlotsState(JSON.parse(JSON.stringify(wanted)));
    if ('fault' in read) throw new AgentError('internal', `the new slots state is not valid: ${read.fault}`);
    try {
      createDirectory(this.#dir);
      writeSlotsFile(join(this.#dir, 'slots.json'), read.slots);
    } catch (thrown) {
      throw asWriteError(thrown);
    }
    this.#state = read.slots;
    return read.slots;
  }

  /**
   * Returns the directory of a bundle; it may not exist. Throws `model_not_found` when `digest` is not a bundle digest.
   */
  bundleDir(digest: string): string {
    const hex = DIGEST.exec(digest)?.[1];
    if (hex === undefined)
      throw new AgentError('model_not_found', `${JSON.stringify(digest)} is not the digest of a bundle`);
    return join(this.#dir, 'bundles', hex);
  }

  /**
   * Removes the bundles that neither a slot nor an install refers to. Also removes the files of ended installs in
   * `parts/` and `staging/`, whose names begin with the id of the install. Logs what cannot be removed; the next call
   * tries again.
   */
  async collect(): Promise<void> {
    const isOfInstall = (name: string): boolean => {
      const install = this.#currentInstall();
      return install !== null && name.startsWith(install.updateId);
    };
    await removeEntries(join(this.#dir, 'bundles'), (name) => this.#isReferenced(name), this.#log);
    await removeEntries(join(this.#dir, 'parts'), isOfInstall, this.#log);
    await removeEntries(join(this.#dir, 'staging'), isOfInstall, this.#log);
  }

  #currentInstall(): InstallRecord | null {
    const { install } = this.#state;
    return install !== null && !isFinalPhase(install.phase) ? install : null;
  }

  #isReferenced(hex: string): boolean {
    const { active, previous, candidate } = this.#state;
    const install = this.#currentInstall();
    // The fetcher may just have written the bundle of this install, whose digest is not stored in the slots file yet.
    if (install !== null && install.candidate === null) return true;
    // The slots file was damaged and may have referred to any bundle: keep all bundles.
    if (this.damaged !== null && active === null) return true;
    // A rollback of a model on probation needs the bundles of the slots before the swap.
    const ofInstall = [install?.candidate, install?.former?.active, install?.former?.previous];
    return [active, previous, candidate, ...ofInstall].some((ref) => ref?.digest === `sha256:${hex}`);
  }
}

/**
 * Removes the entries of a directory, except those for which `kept` returns true. Renames each entry before it is
 * removed, so that a power cut never leaves a partly removed directory under its own name. No other code runs between
 * the call of `kept` and the rename. Removes symbolic links and never follows them.
 */
async function removeEntries(dir: string, kept: (name: string) => boolean, log: Log): Promise<void> {
  for (const name of listEntries(dir, log)) {
    const path = join(dir, name);
    const gone = name.startsWith(REMOVING_PREFIX) ? path : join(dir, REMOVING_PREFIX + name);
    try {
      if (gone !== path) {
        if (kept(name)) continue;
        renameSync(path, gone);
      }
      await rm(gone, { recursive: true, force: true });
    } catch (thrown) {
      log.warn({ err: thrown, path }, 'cannot remove a model file that is not in use');
    }
  }
}

/**
 * Lists the names in a directory in sorted order: the leftovers of an interrupted removal come first, because they
 * would block the rename of the entry with the same name.
 */
function listEntries(dir: string, log: Log): string[] {
  try {
    if (lstatSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) return [];
    return readdirSync(dir).sort();
  } catch (thrown) {
    log.warn({ err: thrown, path: dir }, 'cannot list the files in a model directory');
    return [];
  }
}

function setDamageAside(path: string, fault: string): AgentError {
  let aside: string | null = null;
  try {
    aside = setBrokenFileAside(path);
  } catch (thrown) {
    // The unreadable slots file stays in place; the next write of the slots replaces it.
    fault += `; it cannot be renamed: ${asAgentError(thrown).message}`;
  }
  return new AgentError(
    'model_slots_damaged',
    `the model slots file cannot be read, so the factory model serves: ${fault}`,
    { context: { file: path, aside } },
  );
}

function asWriteError(thrown: unknown): AgentError {
  const code = isDiskFull(thrown) ? 'model_space' : 'store_failed';
  return new AgentError(code, 'the model slots file cannot be written', {
    context: { reason: errorCode(thrown) ?? '' },
    cause: thrown,
  });
}
