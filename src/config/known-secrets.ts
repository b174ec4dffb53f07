import type { Scrub } from '../base/redact.ts';
import type { Settings } from './schema.ts';
import { createRedact, publicTexts } from './secret-keys.ts';

/** Work that began with former settings may still write a line; work of older ones has ended. */
const MAX_KEPT = 4;

/**
 * Removes the secrets of several settings from a text: of those in force, of those on trial, and of the former ones. The
 * public texts of all of them stay. Otherwise somebody who adds a camera could see whether its id is a secret.
 */
export class KnownSecrets {
  /** The oldest first. */
  #settings: readonly Settings[] = [];
  readonly #names = new Set<string>();
  #scrubs: readonly Scrub[] = [];

  /** Adds texts that everybody may read, such as the ids of cameras that the settings do not have any more. */
  allow(names: readonly string[]): void {
    for (const name of names) this.#names.add(name);
    this.#build();
  }

  /** `present`: the settings whose secrets must be known now. */
  redact(text: string, present: readonly Settings[]): string {
    if (present.some((settings) => !this.#settings.includes(settings))) {
      const former = this.#settings.filter((settings) => !present.includes(settings));
      this.#settings = [...former, ...new Set(present)].slice(-MAX_KEPT);
      this.#build();
    }
    return this.#scrubs.reduce((rest, scrub) => scrub(rest), text);
  }

  #build(): void {
    const names = [...this.#names, ...this.#settings.flatMap(publicTexts)];
    this.#scrubs = this.#settings.map((settings) => createRedact(settings, names));
  }
}
