import { Metadata, Root } from '@tufjs/models';
import { Role as TufRole } from '@tufjs/models/dist/role.js';
import { mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { relative, resolve, sep } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import type { SigningKey } from './keys.ts';
import { ROLES, type Role } from './files.ts';
import { withLock } from './lock.ts';
import {
  keyRing,
  Repository,
  signWith,
  SPEC_VERSION,
  timeText,
  type RepositoryOptions,
} from './repository.ts';
import { readSettings, type Settings } from './settings.ts';
import { commit, prepare } from './sign.ts';

export type PerRole = Readonly<Record<Role, number>>;

export interface InitOptions extends RepositoryOptions {
  readonly keyCounts: PerRole;
  readonly thresholds: PerRole;
  readonly expiresDays: PerRole;
}

/** Two of three root keys, so that one may be lost and one stolen; short lives where signing is by machine. */
export const DEFAULT_KEY_COUNTS: PerRole = { root: 3, targets: 1, snapshot: 1, timestamp: 1 };
export const DEFAULT_THRESHOLDS: PerRole = { root: 2, targets: 1, snapshot: 1, timestamp: 1 };
export const DEFAULT_EXPIRES_DAYS: PerRole = { root: 730, targets: 365, snapshot: 90, timestamp: 30 };

/**
 * Makes keys and an empty signed repository. Throws `repo_exists` where there is one already, and `usage` for thresholds
 * above the number of keys or keys below the folder that the world sees.
 */
export async function initRepository(options: InitOptions): Promise<{ root: Metadata<Root> }> {
  const { dir, keysDir, rootKeysDir, keyCounts, thresholds } = options;
  for (const folder of [keysDir, rootKeysDir])
    if (isInside(folder, dir)) throw new AgentError('usage', 'the keys must not lie in the published folder');
  for (const role of ROLES)
    if (thresholds[role] > keyCounts[role])
      throw new AgentError(
        'usage',
        `${role}: a threshold of ${thresholds[role]} with ${keyCounts[role]} keys`,
      );
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  return withLock(dir, () => make(options));
}

async function make(options: InitOptions): Promise<{ root: Metadata<Root> }> {
  const { dir, keysDir, keyCounts, thresholds } = options;
  const others = (await readdir(dir)).filter((name) => !name.startsWith('.lock'));
  if (others.length > 0) throw new AgentError('repo_exists', `${dir} is not empty`);
  if (await readSettings(keysDir))
    throw new AgentError('repo_exists', `${keysDir} holds the keys of a repository`);

  const ring = keyRing(options);
  const made = new Map<Role, SigningKey[]>(
    ROLES.map((role) => [role, Array.from({ length: keyCounts[role] }, () => ring.create(role))]),
  );
  const root = new Metadata(
    new Root({
      specVersion: SPEC_VERSION,
      version: 1,
      expires: timeText(options.nowMs + options.expiresDays.root * 86_400_000),
      consistentSnapshot: true,
      keys: Object.fromEntries([...made.values()].flat().map(({ key }) => [key.keyID, key])),
      roles: Object.fromEntries(
        ROLES.map((role) => [
          role,
          new TufRole({
            keyIDs: (made.get(role) ?? []).map(({ key }) => key.keyID),
            threshold: thresholds[role],
          }),
        ]),
      ),
    }),
  );
  signWith(root, made.get('root') ?? []);
  const published = { root: 1, timestamp: 1 };
  const settings: Settings = { format: 1, expires_days: { ...options.expiresDays }, published };
  const repository = Repository.begin(options, settings);
  commit(repository, await prepare(repository, root, null, 'targets'), true);
  return { root };
}

function isInside(folder: string, dir: string): boolean {
  const way = relative(resolve(dir), resolve(folder));
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`));
}
