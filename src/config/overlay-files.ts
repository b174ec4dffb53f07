import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AgentError } from '../base/errors.ts';
import { replaceFile } from '../base/atomic-file.ts';
import { createDirectory } from '../base/create-directory.ts';
import { isObject } from './layers.ts';
import type { Overlay } from './overlay.ts';
import { MAX_OVERLAY_BYTES } from './patch.ts';

const FORMAT = 1;
const MAX_FILE_BYTES = 2 * MAX_OVERLAY_BYTES;

/** The content of the overlay file. `trial`: id of the trial that was confirmed last. */
export interface SavedOverlay {
  readonly overlay: Overlay;
  readonly trial: string | null;
}

/** The content of the trial file: a change that is not confirmed yet. */
export interface SavedTrial {
  readonly id: string;
  /** Dotted keys of the change. */
  readonly keys: readonly string[];
}

/** An unusable overlay file after its renaming. */
export interface QuarantinedOverlay {
  readonly file: string;
  readonly reason: string;
}

/**
 * The two files of remote configuration in the state directory: the confirmed overlay, and the change on trial. The trial
 * file exists only so that the next start can report an interrupted trial. Each file is replaced atomically and durably.
 */
export class OverlayFiles {
  readonly #dir: string;
  readonly #overlay: string;
  readonly #trial: string;

  constructor(options: { readonly stateDir: string }) {
    this.#dir = options.stateDir;
    this.#overlay = join(options.stateDir, 'config-overlay.json');
    this.#trial = join(options.stateDir, 'config-trial.json');
  }

  /** The confirmed overlay; empty when there is none. Throws `config_invalid` for an unusable file. */
  read(): SavedOverlay {
    const document = readDocument(this.#overlay);
    if (document === null) return { overlay: {}, trial: null };
    const { overlay, trial } = document;
    if (!isObject(overlay)) throw unusableOverlay('it contains no settings');
    return { overlay, trial: typeof trial === 'string' ? trial : null };
  }

  /** The change that was on trial when the agent stopped; null when there was none. Never throws. */
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
      // The content does not matter: the change was not confirmed.
      return { id: '', keys: [] };
    }
  }

  /** Throws `store_failed`. */
  writeTrial(trial: SavedTrial): void {
    this.#write(this.#trial, { format: FORMAT, ...trial });
  }

  /** Stores an overlay as the confirmed one. Throws `store_failed`, and keeps the former one. */
  confirm({ overlay, trial }: SavedOverlay): void {
    this.#write(this.#overlay, { format: FORMAT, trial, overlay });
  }

  /** Throws `store_failed`. A trial file that remains is harmless: it is never applied. */
  deleteTrial(): void {
    try {
      rmSync(this.#trial, { force: true });
    } catch (cause) {
      throw storeFailed(cause);
    }
  }

  /** Renames the overlay file: an operator can inspect it, and the agent does not read it again. */
  quarantine(reason: string, nowMs: number): QuarantinedOverlay {
    const file = `config-overlay.broken-${String(Math.round(nowMs))}.json`;
    try {
      if (existsSync(this.#overlay)) renameSync(this.#overlay, join(this.#dir, file));
    } catch {
      return { file: 'config-overlay.json', reason };
    }
    return { file, reason };
  }

  #write(path: string, document: object): void {
    try {
      createDirectory(this.#dir);
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
    if (statSync(path).size > MAX_FILE_BYTES) throw unusableOverlay('it is too large');
    document = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw thrown instanceof AgentError ? thrown : unusableOverlay('it cannot be read as JSON');
  }
  if (!isObject(document) || document['format'] !== FORMAT) throw unusableOverlay('it has another format');
  return document;
}

const unusableOverlay = (reason: string): AgentError =>
  new AgentError('config_invalid', `the overlay of remote commands cannot be used: ${reason}`, {
    hint: 'start the agent, which renames config-overlay.json in stateDir, or delete this file',
  });

const storeFailed = (cause: unknown): AgentError =>
  new AgentError('store_failed', 'the configuration cannot be written to the state directory', { cause });
