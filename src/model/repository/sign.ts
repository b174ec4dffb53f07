import {
  MetaFile,
  Metadata,
  Root,
  Snapshot,
  Targets,
  Timestamp,
  type Key,
  type TargetFile,
} from '@tufjs/models';
import { Role as TufRole } from '@tufjs/models/dist/role.js';
import { createHash } from 'node:crypto';
import { AgentError } from '../../base/errors.ts';
import { MAX_METADATA_BYTES } from '../trust/metadata-source.ts';
import type { Role } from './files.ts';
import type { SigningKey } from './keys.ts';
import {
  isSignedBy,
  metadataText,
  type CurrentMetadata,
  type Repository,
  type RoleMetadata,
} from './repository.ts';

const SPEC_VERSION = '1.0.31';

/**
 * The roles below root, in the order of signing: the metadata of each role list the digest of the metadata before them.
 */
export const SIGNED_ROLES = ['targets', 'snapshot', 'timestamp'] as const;
/** The first role to sign again. All roles after it are signed again too. */
export type SignFrom = (typeof SIGNED_ROLES)[number];

/** Signed metadata that have not been written to the repository yet. Null for a role whose metadata do not change. */
export interface PreparedMetadata {
  readonly root: Metadata<Root>;
  readonly targets: Metadata<Targets> | null;
  readonly snapshot: Metadata<Snapshot> | null;
  readonly timestamp: Metadata<Timestamp>;
}

export interface RoleRule {
  readonly keyIds: readonly string[];
  readonly threshold: number;
}

/** Builds a new version of the root metadata without signatures. */
export function buildRoot(
  version: number,
  expires: string,
  keys: readonly Key[],
  rules: ReadonlyMap<Role, RoleRule>,
): Metadata<Root> {
  return new Metadata(
    new Root({
      specVersion: SPEC_VERSION,
      version,
      expires,
      consistentSnapshot: true,
      keys: Object.fromEntries(keys.map((key) => [key.keyID, key])),
      roles: Object.fromEntries(
        [...rules].map(([role, { keyIds, threshold }]) => [
          role,
          new TufRole({ keyIDs: [...keyIds], threshold }),
        ]),
      ),
    }),
  );
}

/** Replaces all signatures of the metadata with signatures by the given keys. */
export function signWith(metadata: RoleMetadata, signers: readonly SigningKey[]): void {
  metadata.signatures = {};
  for (const signer of signers) metadata.sign(signer.sign);
}

/**
 * Signs the next version of the metadata under `root`, but writes nothing, so that a missing key is found before
 * anything changes. `current` is null for a new repository. Throws `repo_keys`.
 */
export async function prepareMetadata(
  repository: Repository,
  root: Metadata<Root>,
  current: CurrentMetadata | null,
  from: SignFrom,
  files: Readonly<Record<string, TargetFile>> = current?.targets.signed.targets ?? {},
): Promise<PreparedMetadata> {
  const nextVersion = (role: SignFrom) => ({
    specVersion: SPEC_VERSION,
    version: (current?.[role].signed.version ?? 0) + 1,
    expires: repository.expires(role),
  });
  let targets: Metadata<Targets> | null = null;
  if (from === 'targets') {
    targets = new Metadata(new Targets({ ...nextVersion('targets'), targets: { ...files } }));
    signWith(targets, await repository.signers(root, 'targets'));
    if (metadataText(targets).length > MAX_METADATA_BYTES.targets)
      throw new AgentError(
        'usage',
        'the targets metadata are larger than devices accept; withdraw old models',
      );
  }
  let snapshot: Metadata<Snapshot> | null = null;
  if (from !== 'timestamp') {
    const meta = { 'targets.json': metaFile(targets ?? current?.targets ?? null) };
    snapshot = new Metadata(new Snapshot({ ...nextVersion('snapshot'), meta }));
    signWith(snapshot, await repository.signers(root, 'snapshot'));
  }
  const snapshotMeta = metaFile(snapshot ?? current?.snapshot ?? null);
  const timestamp = new Metadata(new Timestamp({ ...nextVersion('timestamp'), snapshotMeta }));
  signWith(timestamp, await repository.signers(root, 'timestamp'));
  return { root, targets, snapshot, timestamp };
}

/**
 * Writes signed metadata. The timestamp is written last: until then, devices see the complete former state. A new root
 * is written just before the timestamp.
 */
export function writePrepared(repository: Repository, prepared: PreparedMetadata, isNewRoot: boolean): void {
  const { root, targets, snapshot, timestamp } = prepared;
  if (targets) repository.write('targets', targets);
  if (snapshot) repository.write('snapshot', snapshot);
  if (isNewRoot) repository.write('root', root);
  repository.write('timestamp', timestamp);
  repository.rememberPublished(root, timestamp);
}

/** The first role whose published signatures are not valid under this root; null when all are valid. */
export function firstRoleToSign(root: Metadata<Root>, current: CurrentMetadata): SignFrom | null {
  return SIGNED_ROLES.find((role) => !isSignedBy(root, role, current[role])) ?? null;
}

function metaFile(metadata: Metadata<Targets> | Metadata<Snapshot> | null): MetaFile {
  if (!metadata) throw new AgentError('internal', 'a new repository is signed from the targets on');
  const bytes = Buffer.from(metadataText(metadata));
  return new MetaFile({
    version: metadata.signed.version,
    length: bytes.length,
    hashes: { sha256: createHash('sha256').update(bytes).digest('hex') },
  });
}
