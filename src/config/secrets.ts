import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ConfigFault } from './faults.ts';

const MAX_SECRET_BYTES = 64 * 1024;

export interface SecretPlaces {
  readonly cwd: string;
  /** systemd's `$CREDENTIALS_DIRECTORY`: a relative name is looked up there first. */
  readonly credentialsDir: string | null;
}

/** Where the file of a secret lies: absolute. */
export function secretPath(file: string, { cwd, credentialsDir }: SecretPlaces): string {
  const credential = credentialsDir === null ? null : join(credentialsDir, file);
  return credential !== null && existsSync(credential) ? credential : resolve(cwd, file);
}

/**
 * A secret given as itself or by a file, never both. The file's last line break is dropped.
 * `key` is the secret's own key; its file stands under `{key}_file`.
 */
export function readSecret(
  input: { readonly key: string; readonly value: string | null; readonly file: string | null },
  places: SecretPlaces,
  faults: ConfigFault[],
): string | null {
  const { key, value, file } = input;
  if (file === null) return value;
  const fault = (given: string, wanted: string): null => {
    faults.push({ key: `${key}_file`, given, wanted, origin: null });
    return null;
  };
  if (value !== null) return fault(`both ${key} and ${key}_file`, 'one of the two');
  const path = secretPath(file, places);
  try {
    if (statSync(path).size > MAX_SECRET_BYTES) return fault(path, 'a file of at most 64 KiB');
    const secret = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
    return secret === '' ? fault(`${path}, which is empty`, 'a file that holds the secret') : secret;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    return fault(`${path} (${code})`, 'a readable file');
  }
}
