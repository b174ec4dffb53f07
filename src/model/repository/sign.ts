import { MetaFile, Metadata, Snapshot, Targets, Timestamp, type Root, type TargetFile } from '@tufjs/models';
import { createHash } from 'node:crypto';
import { AgentError } from '../../base/errors.ts';
import { METADATA_LIMITS } from '../trust/fetcher.ts';
import { signWith, SPEC_VERSION, textOf, type Current, type Repository } from './repository.ts';

/** What is to be signed anew: that role, and all that vouch for it. */
export const SIGNED_ROLES = ['targets', 'snapshot', 'timestamp'] as const;
export type SignFrom = (typeof SIGNED_ROLES)[number];

/** Signed, but not written yet; `null` for what stays as it is. */
export interface Prepared {
  readonly root: Metadata<Root>;
  readonly targets: Metadata<Targets> | null;
  readonly snapshot: Metadata<Snapshot> | null;
  readonly timestamp: Metadata<Timestamp>;
}

/**
 * Signs the next versions under `root`. Nothing is written: all keys are proved to be here before anything changes. `current`
 * is null for a new repository. Throws `repo_keys`.
 */
export async function prepare(
  repository: Repository,
  root: Metadata<Root>,
  current: Current | null,
  from: SignFrom,
  files: Readonly<Record<string, TargetFile>> = current?.targets.signed.targets ?? {},
): Promise<Prepared> {
  const next = (role: SignFrom) => ({
    specVersion: SPEC_VERSION,
    version: (current?.[role].signed.version ?? 0) + 1,
    expires: repository.expires(role),
  });
  let targets: Metadata<Targets> | null = null;
  if (from === 'targets') {
    targets = new Metadata(new Targets({ ...next('targets'), targets: { ...files } }));
    signWith(targets, await repository.signers(root, 'targets'));
    if (textOf(targets).length > METADATA_LIMITS.targets)
      throw new AgentError('usage', 'so many models make metadata that no device takes; withdraw old ones');
  }
  let snapshot: Metadata<Snapshot> | null = null;
  if (from !== 'timestamp') {
    const meta = { 'targets.json': metaFile(targets ?? current?.targets ?? null) };
    snapshot = new Metadata(new Snapshot({ ...next('snapshot'), meta }));
    signWith(snapshot, await repository.signers(root, 'snapshot'));
  }
  const snapshotMeta = metaFile(snapshot ?? current?.snapshot ?? null);
  const timestamp = new Metadata(new Timestamp({ ...next('timestamp'), snapshotMeta }));
  signWith(timestamp, await repository.signers(root, 'timestamp'));
  return { root, targets, snapshot, timestamp };
}

/**
 * Writes what was signed. The timestamp comes last: until it is there, devices see the former state, whole; a new root comes
 * right before it.
 */
export function commit(repository: Repository, prepared: Prepared, newRoot: boolean): void {
  const { root, targets, snapshot, timestamp } = prepared;
  if (targets) repository.write('targets', targets);
  if (snapshot) repository.write('snapshot', snapshot);
  if (newRoot) repository.write('root', root);
  repository.write('timestamp', timestamp);
  repository.remember(root, timestamp);
}

/** The first role whose signatures this root does not take; null when all hold. */
export function firstUnvouched(root: Metadata<Root>, current: Current): SignFrom | null {
  const vouched = (role: SignFrom): boolean => {
    try {
      root.verifyDelegate(role, current[role]);
      return true;
    } catch {
      return false;
    }
  };
  return SIGNED_ROLES.find((role) => !vouched(role)) ?? null;
}

function metaFile(metadata: Metadata<Targets> | Metadata<Snapshot> | null): MetaFile {
  if (!metadata) throw new AgentError('internal', 'a first signature begins with the targets');
  const bytes = Buffer.from(textOf(metadata));
  return new MetaFile({
    version: metadata.signed.version,
    length: bytes.length,
    hashes: { sha256: createHash('sha256').update(bytes).digest('hex') },
  });
}
