import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { isRole, ROLES, type Role } from '../../model/repository/files.ts';
import type { RepositoryOptions } from '../../model/repository/repository.ts';
import type { Terminal } from '../terminal.ts';

/** Options of every command that works in an operator's repository. */
export interface RepoOptions {
  readonly json?: boolean;
  readonly keys?: string;
  readonly rootKeys?: string;
  readonly passphraseFile?: string;
}

/** Folders and passphrase, from options and environment. Throws `usage` for a passphrase that cannot be read. */
export async function repositoryOptions(
  dir: string,
  options: RepoOptions,
  terminal: Terminal,
): Promise<RepositoryOptions> {
  const at = (path: string): string => resolve(terminal.cwd, path);
  const keysDir = options.keys === undefined ? `${at(dir)}-keys` : at(options.keys);
  return {
    dir: at(dir),
    keysDir,
    rootKeysDir: options.rootKeys === undefined ? join(keysDir, 'root') : at(options.rootKeys),
    passphrase: await passphrase(options, terminal),
    nowMs: Date.now(),
  };
}

async function passphrase({ passphraseFile }: RepoOptions, { env, cwd }: Terminal): Promise<string | null> {
  const file = passphraseFile ?? env['SWELLSIGHT_REPO_PASSPHRASE_FILE'] ?? '';
  if (file === '') return env['SWELLSIGHT_REPO_PASSPHRASE'] ?? null;
  try {
    return (await readFile(resolve(cwd, file), 'utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    throw new AgentError('usage', 'the file of the passphrase cannot be read', { cause: error });
  }
}

export function asRole(text: string): Role {
  if (isRole(text)) return text;
  throw new AgentError('usage', `${JSON.stringify(text)} is no role: ${ROLES.join(', ')}`);
}

/** `role=number`, several of them. Throws `usage`. */
export function perRole(texts: readonly string[], isFit: (value: number) => boolean): [Role, number][] {
  return texts.map((text) => {
    const [role = '', value = '', ...rest] = text.split('=');
    const number = Number(value);
    if (rest.length > 0 || value.trim() === '' || !isFit(number))
      throw new AgentError('usage', `${JSON.stringify(text)} is not role=number`);
    return [asRole(role), number];
  });
}

export const isCount = (value: number): boolean => Number.isInteger(value) && value >= 1 && value <= 32;
export const isDays = (value: number): boolean => value > 0 && value <= 36_500;
