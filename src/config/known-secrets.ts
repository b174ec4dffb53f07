import type { Scrub } from '../base/redact.ts';
import type { Settings } from './schema.ts';
import { createRedact } from './secret-keys.ts';

/** Work that began with former settings may still write a line; work of older ones has ended. */
const MAX_KEPT = 4;

/** Removes the secrets of several settings from a text: of those in force, of those on trial, and of the former ones. */
export class KnownSecrets {
  /** By their settings, the oldest first. */
  readonly #scrubs = new Map<Settings, Scrub>();

  /** `present`: the settings whose secrets must be known now. */
  redact(text: string, present: readonly Settings[]): string {
    for (const settings of present) {
      if (this.#scrubs.has(settings)) continue;
      this.#scrubs.set(settings, createRedact(settings));
      for (const oldest of [...this.#scrubs.keys()].slice(0, -MAX_KEPT)) this.#scrubs.delete(oldest);
    }
    return this.#scrubs.values().reduce((rest, scrub) => scrub(rest), text);
  }
}
