import { Metadata, Root } from '@tufjs/models';
import { Role as TufRole } from '@tufjs/models/dist/role.js';
import { AgentError } from '../../base/errors.ts';
import { ROLES, type Role } from './files.ts';
import { withLock } from './lock.ts';
import { commit, firstUnvouched, prepare, SIGNED_ROLES } from './sign.ts';
import { Repository, signWith, SPEC_VERSION, type Current, type RepositoryOptions } from './repository.ts';

/** One change of the root of trust. */
export type RootChange =
  /** All keys of the role are replaced by as many new ones. */
  | { readonly kind: 'rotate'; readonly role: Role }
  | { readonly kind: 'add'; readonly role: Role }
  /** `keyId`: the whole id or its beginning, at least 8 digits. */
  | { readonly kind: 'revoke'; readonly keyId: string }
  | { readonly kind: 'threshold'; readonly role: Role; readonly threshold: number };

export interface RootReport {
  readonly version: number;
  readonly expires: string;
  readonly added: readonly KeyRef[];
  readonly revoked: readonly KeyRef[];
  /** Roles that were signed anew because their keys changed. */
  readonly signed: readonly Role[];
}

export interface KeyRef {
  readonly role: Role;
  readonly keyId: string;
}

type Rules = Map<Role, { keyIds: string[]; threshold: number }>;

/**
 * Makes the next root: changed as told, and with a new expiry in any case. It is signed by the threshold of the former root's
 * keys and of its own, and what changed keys must vouch for is signed anew. Throws `usage` for a change that leaves a role
 * without enough keys, `repo_keys`, `repo_busy`, `repo_damaged`, `repo_missing`.
 */
export async function changeRoot(
  options: RepositoryOptions,
  changes: readonly RootChange[],
): Promise<RootReport> {
  const repository = await Repository.open(options);
  return withLock(options.dir, () => change(repository, changes));
}

async function change(repository: Repository, changes: readonly RootChange[]): Promise<RootReport> {
  const current = await repository.read();
  const old = current.root.signed;
  // The old keys first: nothing is made that could not be signed for.
  const oldSigners = await repository.signers(current.root, 'root');
  const rules: Rules = new Map(
    ROLES.map((role) => {
      const rule = old.roles[role];
      return [role, { keyIds: [...(rule?.keyIDs ?? [])], threshold: rule?.threshold ?? 1 }];
    }),
  );
  const keys = { ...old.keys };
  for (const one of changes) {
    for (const { key } of applyChange(repository, rules, one)) keys[key.keyID] = key;
  }
  for (const [role, { keyIds, threshold }] of rules)
    if (threshold < 1 || threshold > keyIds.length)
      throw new AgentError(
        'usage',
        `${role} would have ${keyIds.length} keys and a threshold of ${threshold}`,
      );

  const used = new Set([...rules.values()].flatMap(({ keyIds }) => keyIds));
  const root = new Metadata(
    new Root({
      specVersion: SPEC_VERSION,
      version: old.version + 1,
      expires: repository.expires('root'),
      consistentSnapshot: true,
      keys: Object.fromEntries(Object.entries(keys).filter(([id]) => used.has(id))),
      roles: Object.fromEntries(
        [...rules].map(([role, { keyIds, threshold }]) => [role, new TufRole({ keyIDs: keyIds, threshold })]),
      ),
    }),
  );
  signWith(root, [...oldSigners, ...(await repository.signers(root, 'root'))]);
  const signed = await write(repository, current, root);
  return {
    version: root.signed.version,
    expires: root.signed.expires,
    added: difference(root.signed, old),
    revoked: difference(old, root.signed),
    signed,
  };
}

/** A root of changed online keys is written together with what they sign. */
async function write(repository: Repository, current: Current, root: Metadata<Root>): Promise<Role[]> {
  const from = firstUnvouched(root, current);
  if (from === null) {
    repository.write('root', root);
    repository.remember(root, current.timestamp);
    return [];
  }
  const prepared = await prepare(repository, root, current, from);
  await repository.beginRotation(root);
  commit(repository, prepared, true);
  return SIGNED_ROLES.slice(SIGNED_ROLES.indexOf(from));
}

function applyChange(repository: Repository, rules: Rules, change: RootChange) {
  const rule = (role: Role) => rules.get(role) ?? { keyIds: [], threshold: 1 };
  const create = (role: Role, count: number) => {
    const made = Array.from({ length: count }, () => repository.keys.create(role));
    rule(role).keyIds.push(...made.map(({ key }) => key.keyID));
    return made;
  };
  switch (change.kind) {
    case 'rotate':
      return create(change.role, rule(change.role).keyIds.splice(0).length);
    case 'add':
      return create(change.role, 1);
    case 'threshold':
      rule(change.role).threshold = change.threshold;
      return [];
    case 'revoke': {
      const all = new Set([...rules.values()].flatMap(({ keyIds }) => keyIds));
      const found = [...all].filter((id) => change.keyId.length >= 8 && id.startsWith(change.keyId));
      if (found.length !== 1)
        throw new AgentError(
          'usage',
          `${JSON.stringify(change.keyId)} names ${found.length} keys of the root`,
        );
      for (const { keyIds } of rules.values()) {
        const at = keyIds.indexOf(found[0] ?? '');
        if (at >= 0) keyIds.splice(at, 1);
      }
      return [];
    }
  }
}

/** Keys of `a` that `b` has not, role by role. */
function difference(a: Root, b: Root): KeyRef[] {
  return ROLES.flatMap((role) =>
    (a.roles[role]?.keyIDs ?? [])
      .filter((keyId) => b.roles[role]?.keyIDs.includes(keyId) !== true)
      .map((keyId) => ({ role, keyId })),
  );
}

export interface KeyView extends KeyRef {
  readonly threshold: number;
  /** The private key's file; null when it is not on this machine. */
  readonly file: string | null;
}

/** Every key that the newest root names. */
export async function listKeys(
  options: RepositoryOptions,
): Promise<{ version: number; expires: string; keys: KeyView[]; exposed: string[] }> {
  const repository = await Repository.open(options);
  const { signed } = await repository.root();
  const keys: KeyView[] = [];
  for (const role of ROLES) {
    const rule = signed.roles[role];
    for (const keyId of rule?.keyIDs ?? []) {
      const file = await repository.keys.find(role, keyId);
      keys.push({ role, keyId, threshold: rule?.threshold ?? 1, file });
    }
  }
  return { version: signed.version, expires: signed.expires, keys, exposed: await repository.keys.exposed() };
}
