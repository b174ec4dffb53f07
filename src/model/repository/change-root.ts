import type { Metadata, Root } from '@tufjs/models';
import { AgentError } from '../../base/errors.ts';
import { ROLES, writeFileAtomic, type Role } from './files.ts';
import { checkRootDirs, type SigningKey } from './keys.ts';
import { withLock } from './lock.ts';
import { Repository, metadataText, type CurrentMetadata, type RepositoryOptions } from './repository.ts';
import { checkRootSignatures, mergeRoots, readRootFile } from './root-file.ts';
import {
  buildRoot,
  firstRoleToSign,
  prepareMetadata,
  SIGNED_ROLES,
  signWith,
  writePrepared,
} from './sign.ts';

/** One change of the root metadata. */
export type RootChange =
  /** Replaces all keys of the role with the same number of new keys. */
  | { readonly kind: 'rotate'; readonly role: Role }
  | { readonly kind: 'add'; readonly role: Role }
  /** Removes one key. `keyId`: its complete id, or at least the first 8 digits of it. */
  | { readonly kind: 'revoke'; readonly keyId: string }
  | { readonly kind: 'threshold'; readonly role: Role; readonly threshold: number };

export interface RootReport {
  readonly version: number;
  readonly expires: string;
  readonly added: readonly KeyRef[];
  readonly revoked: readonly KeyRef[];
  /** Roles that were signed again because their keys changed. */
  readonly signed: readonly Role[];
}

export interface KeyRef {
  readonly role: Role;
  readonly keyId: string;
}

type Rules = Map<Role, { keyIds: string[]; threshold: number }>;

/**
 * Publishes the next version of the root metadata with the given changes and a new expiry date. It is signed by enough
 * keys of the former root and by enough of its own keys. Roles whose keys have changed are signed again. Throws `usage`
 * for a change that leaves a role without enough keys, `repo_keys`, `repo_busy`, `repo_damaged`, `repo_missing`.
 */
export async function changeRoot(
  options: RepositoryOptions,
  changes: readonly RootChange[],
): Promise<RootReport> {
  const repository = await Repository.open(options);
  return withLock(options.dir, async () => {
    const current = await repository.read();
    // Load the old keys before new keys are created: without the old keys the new root could not be signed.
    const oldSigners = await repository.signers(current.root, 'root');
    const root = buildNextRoot(repository, options, current.root.signed, changes);
    signWith(root, [...oldSigners, ...(await repository.signers(root, 'root'))]);
    return publishRoot(repository, current, root);
  });
}

/**
 * As `changeRoot`, but publishes nothing: writes the next root into a file, signed by the root keys that are on this
 * machine, so that others can sign it elsewhere. Also creates the new keys.
 */
export async function draftRoot(
  options: RepositoryOptions,
  changes: readonly RootChange[],
  file: string,
): Promise<RootReport> {
  const repository = await Repository.open(options);
  return withLock(options.dir, async () => {
    const { signed } = await repository.readRoot();
    const root = buildNextRoot(repository, options, signed, changes);
    const rules = [signed.roles['root'], root.signed.roles['root']];
    const ids = new Set(rules.flatMap((rule) => rule?.keyIDs ?? []));
    signWith(root, await repository.keys.signers('root', [...ids], 0));
    writeFileAtomic(file, metadataText(root), 0o644);
    return { ...describeChange(signed, root.signed), signed: [] };
  });
}

/**
 * Publishes a root of `draftRoot` that others have signed. `files`: copies of it, whose signatures are collected. Throws
 * `usage` for another file, `repo_keys` when too few keys have signed, and the errors of `changeRoot`.
 */
export async function importRoot(options: RepositoryOptions, files: readonly string[]): Promise<RootReport> {
  const repository = await Repository.open(options);
  return withLock(options.dir, async () => {
    const current = await repository.read();
    const root = mergeRoots(await Promise.all(files.map(readRootFile)));
    const { version } = current.root.signed;
    if (root.signed.version !== version + 1)
      throw new AgentError('usage', `the file has root ${root.signed.version}, wanted root ${version + 1}`);
    checkRootSignatures(current.root, root);
    return publishRoot(repository, current, root);
  });
}

function buildNextRoot(
  repository: Repository,
  { rootKeysDirs }: RepositoryOptions,
  old: Root,
  changes: readonly RootChange[],
): Metadata<Root> {
  const rules: Rules = new Map(
    ROLES.map((role) => {
      const rule = old.roles[role];
      return [role, { keyIds: [...(rule?.keyIDs ?? [])], threshold: rule?.threshold ?? 1 }];
    }),
  );
  const rootRule = rules.get('root');
  if (rootRule && changes.some((change) => change.kind === 'rotate' && change.role === 'root'))
    checkRootDirs(rootKeysDirs, rootRule.keyIds.length, rootRule.threshold);
  const keys = { ...old.keys };
  for (const change of changes) {
    for (const { key } of applyChange(repository, rules, change)) keys[key.keyID] = key;
  }
  for (const [role, { keyIds, threshold }] of rules)
    if (threshold < 1 || threshold > keyIds.length)
      throw new AgentError(
        'usage',
        `${role} would have ${keyIds.length} keys and a threshold of ${threshold}`,
      );

  const usedIds = new Set([...rules.values()].flatMap(({ keyIds }) => keyIds));
  const usedKeys = Object.values(keys).filter(({ keyID }) => usedIds.has(keyID));
  return buildRoot(old.version + 1, repository.expires('root'), usedKeys, rules);
}

/** Publishes a signed root. */
async function publishRoot(
  repository: Repository,
  current: CurrentMetadata,
  root: Metadata<Root>,
): Promise<RootReport> {
  const signed = await writeRoot(repository, current, root);
  return { ...describeChange(current.root.signed, root.signed), signed };
}

const describeChange = (old: Root, next: Root): Omit<RootReport, 'signed'> => ({
  version: next.version,
  expires: next.expires,
  added: keysOnlyIn(next, old),
  revoked: keysOnlyIn(old, next),
});

/** Writes new root metadata, and signs the roles again whose signatures became invalid. Returns these roles. */
async function writeRoot(
  repository: Repository,
  current: CurrentMetadata,
  root: Metadata<Root>,
): Promise<Role[]> {
  const from = firstRoleToSign(root, current);
  if (from === null) {
    repository.write('root', root);
    repository.rememberPublished(root, current.timestamp);
    return [];
  }
  const prepared = await prepareMetadata(repository, root, current, from);
  await repository.beginRotation(root);
  writePrepared(repository, prepared, true);
  return SIGNED_ROLES.slice(SIGNED_ROLES.indexOf(from));
}

/** Applies a change to the rules (the keys and threshold of each role). Returns the keys that it created. */
function applyChange(repository: Repository, rules: Rules, change: RootChange): SigningKey[] {
  const ruleOf = (role: Role) => rules.get(role) ?? { keyIds: [], threshold: 1 };
  const createKeys = (role: Role, count: number) => {
    const created = Array.from({ length: count }, () => repository.keys.create(role));
    ruleOf(role).keyIds.push(...created.map(({ key }) => key.keyID));
    return created;
  };
  switch (change.kind) {
    case 'rotate':
      return createKeys(change.role, ruleOf(change.role).keyIds.splice(0).length);
    case 'add':
      return createKeys(change.role, 1);
    case 'threshold':
      ruleOf(change.role).threshold = change.threshold;
      return [];
    case 'revoke': {
      const all = new Set([...rules.values()].flatMap(({ keyIds }) => keyIds));
      const matching = [...all].filter((id) => change.keyId.length >= 8 && id.startsWith(change.keyId));
      if (matching.length !== 1)
        throw new AgentError(
          'usage',
          `${JSON.stringify(change.keyId)} matches ${matching.length} keys of the root`,
        );
      for (const { keyIds } of rules.values()) {
        const at = keyIds.indexOf(matching[0] ?? '');
        if (at >= 0) keyIds.splice(at, 1);
      }
      return [];
    }
  }
}

/** The keys that root `a` has and root `b` does not have, by role. */
function keysOnlyIn(a: Root, b: Root): KeyRef[] {
  return ROLES.flatMap((role) =>
    (a.roles[role]?.keyIDs ?? [])
      .filter((keyId) => b.roles[role]?.keyIDs.includes(keyId) !== true)
      .map((keyId) => ({ role, keyId })),
  );
}

export interface KeyView extends KeyRef {
  readonly threshold: number;
  /** Path of the private key; null when the private key is not on this machine. */
  readonly file: string | null;
}

/** Lists every key of the newest root, and the files of private keys that other users can read. */
export async function listKeys(
  options: RepositoryOptions,
): Promise<{ version: number; expires: string; keys: KeyView[]; exposed: string[] }> {
  const repository = await Repository.open(options);
  const { signed } = await repository.readRoot();
  const keys: KeyView[] = [];
  for (const role of ROLES) {
    const rule = signed.roles[role];
    for (const keyId of rule?.keyIDs ?? []) {
      const file = await repository.keys.find(role, keyId);
      keys.push({ role, keyId, threshold: rule?.threshold ?? 1, file });
    }
  }
  return {
    version: signed.version,
    expires: signed.expires,
    keys,
    exposed: await repository.keys.exposedFiles(),
  };
}
