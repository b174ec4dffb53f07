import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { replaceFile } from '../base/atomic-file.ts';
import { makeFolder } from '../base/make-folder.ts';
import { isObject, type Overlay } from './overlay.ts';
import { MAX_OVERLAY_BYTES } from './patch.ts';

const FORMAT = 1;
const MAX_FILE_BYTES = 2 * MAX_OVERLAY_BYTES;

/** What lies on the disk. `trial` of the overlay is the one that was confirmed last. */
export interface SavedOverlay {
  readonly overlay: Overlay;
  readonly trial: string | null;
}

/** A change that had not been confirmed when it was written. */
export interface SavedTrial {
  readonly id: string;
  /** Dotted keys that it changes. */
  readonly keys: readonly string[];
}

/** A file that could not be understood and was renamed. */
export interface SetAside {
  readonly file: string;
  readonly reason: string;
}

/**
 * The two files of a state folder that remote configuration has: what is confirmed, and the change on trial, which is
 * there only so that its end is told when the agent did not see it. Each is replaced as a whole, durably.
 */
export class OverlayFiles {
  readonly #folder: string;
  readonly #overlay: string;
  readonly #trial: string;

  constructor(options: { readonly stateDir: string }) {
    this.#folder = options.stateDir;
    this.#overlay = join(options.stateDir, 'config-overlay.json');
    this.#trial = join(options.stateDir, 'config-trial.json');
  }

  /** What was confirmed; empty when there is none. Throws `config_invalid` for a file that cannot be understood. */
  read(): SavedOverlay {
    const document = readDocument(this.#overlay);
    if (document === null) return { overlay: {}, trial: null };
    const { overlay, trial } = document;
    if (!isObject(overlay)) throw unreadable('it holds no settings');
    return { overlay, trial: typeof trial === 'string' ? trial : null };
  }

  /** The change that was on trial when the agent ended; null when there was none. Never throws. */
  readTrial(): SavedTrial | null {
    try {
      const document = readDocument(this.#trial);
      if (document === null) return null;
      const { id, keys } = document;
      return {
        id: typeof id === 'string' ? id : '',
        keys: Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : [],
      };
    } catch {
      // Whatever it was, it was not confirmed.
      return { id: '', keys: [] };
    }
  }

  /** Throws `store_failed`. */
  writeTrial(trial: SavedTrial): void {
    this.#write(this.#trial, { format: FORMAT, ...trial });
  }

  /** Makes an overlay the confirmed one. Throws `store_failed`; the former one stands then. */
  confirm({ overlay, trial }: SavedOverlay): void {
    this.#write(this.#overlay, { format: FORMAT, trial, overlay });
  }

  /** Throws `store_failed`. A trial that stays on the disk does no harm: it is never applied. */
  dropTrial(): void {
    try {
      rmSync(this.#trial, { force: true });
    } catch (cause) {
      throw storeFailed(cause);
    }
  }

  /** Renames the confirmed overlay, so that it can be looked at and is not read again. */
  setAside(reason: string, nowMs: number): SetAside {
    const file = `config-overlay.broken-${String(Math.round(nowMs))}.json`;
    try {
      if (existsSync(this.#overlay)) renameSync(this.#overlay, join(this.#folder, file));
    } catch {
      return { file: 'config-overlay.json', reason };
    }
    return { file, reason };
  }

  #write(path: string, document: object): void {
    try {
      makeFolder(this.#folder);
      replaceFile(path, `${JSON.stringify(document)}\n`);
    } catch (cause) {
      throw storeFailed(cause);
    }
  }
}

function readDocument(path: string): Readonly<Record<string, unknown>> | null {
  if (!existsSync(path)) return null;
  let document: unknown;
  try {
    if (statSync(path).size > MAX_FILE_BYTES) throw unreadable('it is too large');
    document = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw thrown instanceof AgentError ? thrown : unreadable('it cannot be read as JSON');
  }
  if (!isObject(document) || document['format'] !== FORMAT) throw unreadable('it is of another format');
  return document;
}

const unreadable = (reason: string): AgentError =>
  new AgentError('config_invalid', `the overlay set by remote command cannot be used: ${reason}`);

const storeFailed = (cause: unknown): AgentError =>
  new AgentError('store_failed', 'the configuration cannot be written to the state folder', { cause });
