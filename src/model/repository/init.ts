import type { Metadata, Root } from '@tufjs/models';
import { mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { relative, resolve, sep } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { readSettings, ROLES, type Role, type Settings } from './files.ts';
import { checkRootDirs, type SigningKey } from './keys.ts';
import { withLock } from './lock.ts';
import { openKeyRing, Repository, tufTime, type RepositoryOptions } from './repository.ts';
import { buildRoot, prepareMetadata, signWith, writePrepared } from './sign.ts';

export type PerRole = Readonly<Record<Role, number>>;

export interface InitOptions extends RepositoryOptions {
  readonly keyCounts: PerRole;
  readonly thresholds: PerRole;
  readonly expiresDays: PerRole;
}

/**
 * Two of the three root keys must sign, so the operator may lose one key, and an attacker may steal one. Signatures of
 * the other roles expire sooner.
 */
export const DEFAULT_KEY_COUNTS: PerRole = { root: 3, targets: 1, snapshot: 1, timestamp: 1 };
export const DEFAULT_THRESHOLDS: PerRole = { root: 2, targets: 1, snapshot: 1, timestamp: 1 };
export const DEFAULT_EXPIRES_DAYS: PerRole = { root: 730, targets: 365, snapshot: 90, timestamp: 30 };

/**
 * Creates keys and a signed repository without models. Throws `repo_exists` when there is a repository already, and
 * `usage` when a threshold is above the number of keys or the keys directory is inside the published directory.
 */
export async function initRepository(options: InitOptions): Promise<{ root: Metadata<Root> }> {
  const { dir, keysDir, rootKeysDirs, keyCounts, thresholds } = options;
  for (const keys of [keysDir, ...rootKeysDirs])
    if (isInside(keys, dir))
      throw new AgentError('usage', 'the keys directory must not be inside the published directory');
  for (const role of ROLES)
    if (thresholds[role] > keyCounts[role])
      throw new AgentError(
        'usage',
        `${role}: a threshold of ${thresholds[role]} with ${keyCounts[role]} keys`,
      );
  checkRootDirs(rootKeysDirs, keyCounts.root, thresholds.root);
  for (const path of rootKeysDirs) mkdirSync(path, { recursive: true, mode: 0o700 });
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  return withLock(dir, () => createRepository(options));
}

async function createRepository(options: InitOptions): Promise<{ root: Metadata<Root> }> {
  const { dir, keysDir, keyCounts, thresholds } = options;
  const others = (await readdir(dir)).filter((name) => !name.startsWith('.lock'));
  if (others.length > 0) throw new AgentError('repo_exists', `${dir} is not empty`);
  if (await readSettings(keysDir))
    throw new AgentError('repo_exists', `${keysDir} has the keys of another repository`);

  const keyRing = openKeyRing(options);
  const created = new Map<Role, SigningKey[]>(
    ROLES.map((role) => [role, Array.from({ length: keyCounts[role] }, () => keyRing.create(role))]),
  );
  const root = buildRoot(
    1,
    tufTime(options.nowMs + options.expiresDays.root * 86_400_000),
    [...created.values()].flat().map(({ key }) => key),
    new Map(
      [...created].map(([role, keys]) => [
        role,
        { keyIds: keys.map(({ key }) => key.keyID), threshold: thresholds[role] },
      ]),
    ),
  );
  signWith(root, created.get('root') ?? []);
  const published = { root: 1, timestamp: 1 };
  const settings: Settings = { format: 1, expires_days: { ...options.expiresDays }, published };
  const repository = new Repository(options, settings);
  writePrepared(repository, await prepareMetadata(repository, root, null, 'targets'), true);
  return { root };
}

function isInside(path: string, dir: string): boolean {
  const way = relative(resolve(dir), resolve(path));
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`));
}
