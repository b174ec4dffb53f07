import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { decodeSecret } from '../../base/secret-text.ts';
import { AgentError } from '../../base/errors.ts';
import { isRole, ROLES, type Role } from '../../model/repository/files.ts';
import type { RepositoryOptions } from '../../model/repository/repository.ts';
import type { Terminal } from '../terminal.ts';

/** Options of every command that changes an operator's repository. */
export interface RepoOptions {
  readonly json?: boolean;
  readonly keys?: string;
  readonly rootKeys?: readonly string[];
  readonly passphraseFile?: string;
}

/** Directories and passphrase, from options and environment. Throws `usage` for an unreadable passphrase file. */
export async function repositoryOptions(
  dir: string,
  options: RepoOptions,
  terminal: Terminal,
): Promise<RepositoryOptions> {
  const resolvePath = (path: string): string => resolve(terminal.cwd, path);
  const keysDir = options.keys === undefined ? `${resolvePath(dir)}-keys` : resolvePath(options.keys);
  const rootKeys = options.rootKeys ?? [];
  return {
    dir: resolvePath(dir),
    keysDir,
    rootKeysDirs: rootKeys.length === 0 ? [join(keysDir, 'root')] : [...new Set(rootKeys.map(resolvePath))],
    passphrase: await readPassphrase(options, terminal),
    nowMs: Date.now(),
  };
}

async function readPassphrase(
  { passphraseFile }: RepoOptions,
  { env, cwd }: Terminal,
): Promise<string | null> {
  const file = passphraseFile ?? env['SWELLSIGHT_REPO_PASSPHRASE_FILE'] ?? '';
  if (file === '') return env['SWELLSIGHT_REPO_PASSPHRASE'] ?? null;
  try {
    return decodeSecret(await readFile(resolve(cwd, file)));
  } catch (error) {
    throw new AgentError('usage', 'the passphrase file cannot be read', { cause: error });
  }
}

/** Throws `usage` for an unknown role. */
export function parseRole(text: string): Role {
  if (isRole(text)) return text;
  throw new AgentError('usage', `${JSON.stringify(text)} is not a role: ${ROLES.join(', ')}`);
}

/** Parses a list of `role=number`. Throws `usage`. */
export function parseRoleValues(
  texts: readonly string[],
  isValid: (value: number) => boolean,
): [Role, number][] {
  return texts.map((text) => {
    const [role = '', value = '', ...rest] = text.split('=');
    const number = Number(value);
    if (rest.length > 0 || value.trim() === '' || !isValid(number))
      throw new AgentError('usage', `${JSON.stringify(text)} is not role=number`);
    return [parseRole(role), number];
  });
}

export const isCount = (value: number): boolean => Number.isInteger(value) && value >= 1 && value <= 32;
export const isDays = (value: number): boolean => value > 0 && value <= 36_500;
