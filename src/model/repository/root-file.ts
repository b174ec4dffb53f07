import { Metadata, MetadataKind, type Root } from '@tufjs/models';
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { AgentError } from '../../base/errors.ts';
import { MAX_METADATA_BYTES } from '../trust/metadata-source.ts';
import { ROLES, writeFileAtomic, type Role } from './files.ts';
import { KeyRing } from './keys.ts';
import { isSignedBy, metadataText } from './repository.ts';

/** Reads a root that may lack signatures. Throws `usage` for any other file. */
export async function readRootFile(file: string): Promise<Metadata<Root>> {
  try {
    const bytes = await readFile(file);
    if (bytes.length > MAX_METADATA_BYTES.root) throw new Error('it is too large');
    return Metadata.fromJSON(MetadataKind.Root, JSON.parse(bytes.toString('utf8')) as never);
  } catch (cause) {
    throw new AgentError('usage', `${file} is not a root of \`--to-sign\``, { cause });
  }
}

export interface SignedRootFile {
  readonly version: number;
  readonly expires: string;
  /** The keys that the root names. */
  readonly roles: readonly {
    readonly role: Role;
    readonly threshold: number;
    readonly keyIds: readonly string[];
  }[];
  /** The ids of all keys that have signed the file so far. */
  readonly signedBy: readonly string[];
}

/** Adds the signatures of all root keys in the directories. Throws `usage`, and `repo_keys` when there is no key. */
export async function signRootFile(
  file: string,
  {
    rootKeysDirs,
    passphrase,
  }: { readonly rootKeysDirs: readonly string[]; readonly passphrase: string | null },
): Promise<SignedRootFile> {
  const root = await readRootFile(file);
  const [first = ''] = rootKeysDirs;
  for (const { sign } of await new KeyRing({ online: first, root: rootKeysDirs }, passphrase).rootKeys())
    root.sign(sign);
  writeFileAtomic(file, metadataText(root), 0o644);
  const { version, expires, roles } = root.signed;
  return {
    version,
    expires,
    roles: ROLES.map((role) => {
      const { keyIDs = [], threshold = 1 } = roles[role] ?? {};
      return { role, threshold, keyIds: keyIDs };
    }),
    signedBy: Object.keys(root.signatures),
  };
}

/** Collects the signatures of copies of one root. Throws `usage` when they differ in more than that. */
export function mergeRoots(roots: readonly Metadata<Root>[]): Metadata<Root> {
  const [first, ...others] = roots;
  if (!first) throw new AgentError('usage', 'name the file of a signed root');
  for (const { signed, signatures } of others) {
    if (!isDeepStrictEqual(signed.toJSON(), first.signed.toJSON()))
      throw new AgentError('usage', 'the files contain different roots');
    Object.assign(first.signatures, signatures);
  }
  return first;
}

/** Removes the signatures of other keys. Throws `repo_keys` unless enough keys of both roots have signed `next`. */
export function checkRootSignatures(former: Metadata<Root>, next: Metadata<Root>): void {
  const rules = [former, next].map(({ signed }) => signed.roles['root']);
  const known = new Set(rules.flatMap((rule) => rule?.keyIDs ?? []));
  next.signatures = Object.fromEntries(Object.entries(next.signatures).filter(([id]) => known.has(id)));
  if (isSignedBy(former, 'root', next) && isSignedBy(next, 'root', next)) return;
  const [of = '?', ofNext = '?'] = rules.map(
    (rule) => `${rule?.threshold ?? 1} of ${rule?.keyIDs.length ?? 0}`,
  );
  const ids = Object.keys(next.signatures).map((id) => id.slice(0, 16));
  throw new AgentError(
    'repo_keys',
    `the root needs valid signatures by ${of} former and ${ofNext} new root keys; it has those of ${ids.join(', ') || 'none'}`,
    { hint: 'let others sign the file: `swellsight repo sign-root FILE --root-keys DIR`' },
  );
}
