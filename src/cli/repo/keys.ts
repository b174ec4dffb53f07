import { resolve } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import {
  changeRoot,
  draftRoot,
  importRoot,
  listKeys,
  type RootChange,
  type RootReport,
} from '../../model/repository/change-root.ts';
import {
  DEFAULT_EXPIRES_DAYS,
  DEFAULT_KEY_COUNTS,
  DEFAULT_THRESHOLDS,
  initRepository,
} from '../../model/repository/init.ts';
import type { RepositoryOptions } from '../../model/repository/repository.ts';
import { signRootFile } from '../../model/repository/root-file.ts';
import { formatTable } from '../format.ts';
import { warn } from '../line.ts';
import { EXIT, printJson, toJson, type Terminal } from '../terminal.ts';
import {
  isCount,
  isDays,
  parseRole,
  parseRoleValues,
  repositoryOptions,
  type RepoOptions,
} from './options.ts';

/** Options of every command that changes the root. */
interface ChangeOptions extends RepoOptions {
  /** Write the new root into this file instead of publishing it. */
  readonly toSign?: string;
}

export interface RepoInitOptions extends RepoOptions {
  readonly count: readonly string[];
  readonly threshold: readonly string[];
  readonly expires: readonly string[];
}

/** `repo init DIR`: creates the keys and an empty repository. */
export async function initRepo(dir: string, options: RepoInitOptions, terminal: Terminal): Promise<number> {
  const common = await repositoryOptions(dir, options, terminal);
  const { root } = await initRepository({
    ...common,
    keyCounts: { ...DEFAULT_KEY_COUNTS, ...Object.fromEntries(parseRoleValues(options.count, isCount)) },
    thresholds: { ...DEFAULT_THRESHOLDS, ...Object.fromEntries(parseRoleValues(options.threshold, isCount)) },
    expiresDays: { ...DEFAULT_EXPIRES_DAYS, ...Object.fromEntries(parseRoleValues(options.expires, isDays)) },
  });
  const created = {
    dir: common.dir,
    keys_dir: common.keysDir,
    root_keys_dirs: common.rootKeysDirs,
    trust_root: `${common.dir}/metadata/1.root.json`,
    expires: root.signed.expires,
    encrypted: common.passphrase !== null,
  };
  if (options.json === true) terminal.out(toJson(created));
  else {
    terminal.out(
      formatTable([
        ['repository', created.dir],
        ['keys', created.keys_dir],
        ['root keys', `${created.root_keys_dirs.join(', ')} (keep them off this machine, in several places)`],
        ['pin on devices', `${created.trust_root} (model.trustRoot)`],
      ]),
    );
    const { threshold = 1, keyIDs = [] } = root.signed.roles['root'] ?? {};
    if (threshold === keyIDs.length)
      terminal.err(`root needs all of its ${threshold} keys: when one is lost, nobody can sign a new root`);
    if (!created.encrypted) terminal.err('the keys have no passphrase; set one with --passphrase-file');
  }
  return EXIT.ok;
}

export interface RepoKeysOptions extends ChangeOptions {
  readonly add: readonly string[];
  readonly revoke: readonly string[];
  readonly threshold: readonly string[];
}

/** `repo keys DIR`: changes the keys, then lists them. */
export async function manageRepoKeys(
  dir: string,
  options: RepoKeysOptions,
  terminal: Terminal,
): Promise<number> {
  const common = await repositoryOptions(dir, options, terminal);
  const changes: RootChange[] = [
    ...options.add.map((role) => ({ kind: 'add' as const, role: parseRole(role) })),
    ...options.revoke.map((keyId) => ({ kind: 'revoke' as const, keyId })),
    ...parseRoleValues(options.threshold, isCount).map(([role, threshold]) => ({
      kind: 'threshold' as const,
      role,
      threshold,
    })),
  ];
  if (changes.length === 0 && options.toSign !== undefined)
    throw new AgentError('usage', '--to-sign needs a change: --add, --revoke or --threshold');
  const change = changes.length === 0 ? null : await applyChanges(common, changes, options, terminal);
  const { version, expires, keys, exposed } = await listKeys(common);
  if (options.json === true) {
    const listed = keys.map(({ role, keyId, threshold, file }) => ({ role, key_id: keyId, threshold, file }));
    return printJson(terminal, {
      root: { version, expires },
      keys: listed,
      exposed,
      change: change && changeDocument(change),
    });
  }
  if (change) terminal.out(formatChange(change));
  const row = ({ role, keyId, threshold, file }: (typeof keys)[number]): string[] => {
    const count = keys.filter((key) => key.role === role).length;
    return [role, `${threshold} of ${count}`, keyId.slice(0, 16), file ?? 'not on this machine'];
  };
  terminal.out(formatTable(keys.map(row)));
  for (const file of exposed) terminal.err(warn(`other users can read ${file}: chmod 600`));
  return EXIT.ok;
}

export type RepoRotateOptions = ChangeOptions;

/** `repo rotate DIR [ROLE...]`: replaces the keys of the roles. */
export async function rotateRepoKeys(
  dir: string,
  roles: readonly string[],
  options: RepoRotateOptions,
  terminal: Terminal,
): Promise<number> {
  const changes = [...new Set(roles)].map((role) => ({ kind: 'rotate' as const, role: parseRole(role) }));
  const common = await repositoryOptions(dir, options, terminal);
  const change = await applyChanges(common, changes, options, terminal);
  terminal.out(options.json === true ? toJson(changeDocument(change)) : formatChange(change));
  return EXIT.ok;
}

/** Publishes the changes, or writes them into the file of --to-sign. */
async function applyChanges(
  common: RepositoryOptions,
  changes: readonly RootChange[],
  { toSign }: ChangeOptions,
  terminal: Terminal,
): Promise<RootReport> {
  if (toSign === undefined) return changeRoot(common, changes);
  const change = await draftRoot(common, changes, resolve(terminal.cwd, toSign));
  terminal.err(`nothing is published yet: let others sign ${toSign}, then run \`repo import-root\``);
  return change;
}

/** `repo sign-root FILE`: signs a root of --to-sign, without the repository. */
export async function signRoot(file: string, options: RepoOptions, terminal: Terminal): Promise<number> {
  const common = await repositoryOptions('.', options, terminal);
  if ((options.rootKeys ?? []).length === 0)
    throw new AgentError('usage', 'name the directory of your root key with --root-keys');
  const signed = await signRootFile(resolve(terminal.cwd, file), common);
  const { version, expires, roles, signedBy } = signed;
  if (options.json === true) {
    const listed = roles.map(({ role, threshold, keyIds }) => ({ role, threshold, key_ids: keyIds }));
    return printJson(terminal, { root: { version, expires }, roles: listed, signed_by: signedBy });
  }
  const rows = roles.flatMap(({ role, threshold, keyIds }) =>
    keyIds.map((id) => [
      role,
      `${threshold} of ${keyIds.length}`,
      id.slice(0, 16),
      signedBy.includes(id) ? 'has signed' : '',
    ]),
  );
  terminal.out([`root ${version}, valid until ${expires}`, ...formatTable(rows)]);
  terminal.err(
    'signed; ask the operator over another channel whether these are the right keys before you send it',
  );
  return EXIT.ok;
}

/** `repo import-root DIR FILE...`: publishes a root that others have signed. */
export async function importSignedRoot(
  dir: string,
  files: readonly string[],
  options: RepoOptions,
  terminal: Terminal,
): Promise<number> {
  const common = await repositoryOptions(dir, options, terminal);
  const change = await importRoot(
    common,
    files.map((file) => resolve(terminal.cwd, file)),
  );
  terminal.out(options.json === true ? toJson(changeDocument(change)) : formatChange(change));
  return EXIT.ok;
}

const changeDocument = ({ version, expires, added, revoked, signed }: RootReport) => ({
  root: { version, expires },
  added: added.map(({ role, keyId }) => ({ role, key_id: keyId })),
  revoked: revoked.map(({ role, keyId }) => ({ role, key_id: keyId })),
  signed,
});

function formatChange({ version, expires, added, revoked }: RootReport): string[] {
  const toLine = (sign: string) => (key: RootReport['added'][number]) =>
    `${sign} ${key.role}  ${key.keyId.slice(0, 16)}`;
  return [`root ${version}, valid until ${expires}`, ...added.map(toLine('+')), ...revoked.map(toLine('-'))];
}
