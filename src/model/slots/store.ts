import { join } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { makeFolder } from '../../base/make-folder.ts';
import { clear } from './collect.ts';
import { readSlots, setAside, writeSlots } from './file.ts';
import { asSlots } from './schema.ts';
import type { InstallRecord, SlotsState } from '../types.ts';

const EMPTY: SlotsState = {
  format: 1,
  active: null,
  previous: null,
  candidate: null,
  install: null,
  refused: [],
};

/** The oldest beyond these are forgotten: what failed so long ago is proved anew when it comes again. */
const MAX_REFUSED = 64;

const DIGEST = /^sha256:([0-9a-f]{64})$/;

/**
 * Which bundle is in which slot, and the install in hand: `slots.json` of the models' folder, and the bundles' folders
 * that it names. There is one writer, the control process.
 */
export class SlotStore {
  /** Why what was on the disk could not be used: the factory model serves then. */
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

  /** Reads the slots of `dir`, `{stateDir}/models`. A file that cannot be used is set aside; never throws for it. */
  static open(dir: string, { log }: { readonly log: Log }): SlotStore {
    const path = join(dir, 'slots.json');
    const read = readSlots(path);
    if (read.kind === 'slots') return new SlotStore(dir, log, read.slots, null);
    if (read.kind === 'none') return new SlotStore(dir, log, EMPTY, null);
    return new SlotStore(dir, log, EMPTY, damage(path, read.fault));
  }

  get state(): SlotsState {
    return this.#state;
  }

  /**
   * Changes the state; it is on the disk when this returns, and else nothing has changed. Throws `model_space` and
   * `store_failed` when the disk will not take it, and `internal` for a state that could not be read again.
   */
  update(change: (state: SlotsState) => SlotsState): SlotsState {
    const changed = change(this.#state);
    const wanted = { ...changed, refused: changed.refused.slice(-MAX_REFUSED) };
    const read = asSlots(JSON.parse(JSON.stringify(wanted)));
    if ('fault' in read) throw new AgentError('internal', `these are no slots: ${read.fault}`);
    try {
      makeFolder(this.#dir);
      writeSlots(join(this.#dir, 'slots.json'), read.slots);
    } catch (thrown) {
      throw asDiskError(thrown);
    }
    this.#state = read.slots;
    return read.slots;
  }

  /** Folder of a bundle, whether it is there or not. Throws `model_not_found` for what is no digest. */
  bundleDir(digest: string): string {
    const hex = DIGEST.exec(digest)?.[1];
    if (hex === undefined)
      throw new AgentError('model_not_found', `${JSON.stringify(digest)} is no digest of a bundle`);
    return join(this.#dir, 'bundles', hex);
  }

  /**
   * Removes the bundles that no slot and no install names, and what ended installs left in `parts/` and `staging/`: there
   * the names begin with the install's id. What cannot be removed is logged and stays for the next time.
   */
  async collect(): Promise<void> {
    const ofInstall = (name: string): boolean => {
      const install = this.#inHand();
      return install !== null && name.startsWith(install.updateId);
    };
    await clear(join(this.#dir, 'bundles'), (name) => this.#isNamed(name), this.#log);
    await clear(join(this.#dir, 'parts'), ofInstall, this.#log);
    await clear(join(this.#dir, 'staging'), ofInstall, this.#log);
  }

  #inHand(): InstallRecord | null {
    const { install } = this.#state;
    return install !== null && !isEnd(install) ? install : null;
  }

  #isNamed(folder: string): boolean {
    const { active, previous, candidate } = this.#state;
    const inHand = this.#inHand();
    // Its bundle may have been laid down a moment ago, before its digest is known here.
    if (inHand !== null && inHand.candidate === null) return true;
    // What the broken file named is not known: it may be wanted again.
    if (this.damaged !== null && active === null) return true;
    // On probation also what served before, to which a return leads.
    const ofInstall = [inHand?.candidate, inHand?.former?.active, inHand?.former?.previous];
    return [active, previous, candidate, ...ofInstall].some((ref) => ref?.digest === `sha256:${folder}`);
  }
}

const isEnd = ({ phase }: InstallRecord): boolean =>
  phase === 'committed' || phase === 'failed' || phase === 'rolled_back';

function damage(path: string, fault: string): AgentError {
  let aside: string | null = null;
  try {
    aside = setAside(path);
  } catch (thrown) {
    // It stays where it is: the next change replaces it.
    fault += `; it cannot be renamed: ${asAgentError(thrown).message}`;
  }
  return new AgentError(
    'model_slots_damaged',
    `the slots of the models could not be read, the factory model serves: ${fault}`,
    { context: { file: path, aside } },
  );
}

function asDiskError(thrown: unknown): AgentError {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new AgentError(full ? 'model_space' : 'store_failed', 'the slots of the models cannot be written', {
    context: { reason: code },
    cause: thrown,
  });
}
