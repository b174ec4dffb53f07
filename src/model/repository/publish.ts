import { TargetFile } from '@tufjs/models';
import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { closeAtEnd } from '../../base/closing.ts';
import { syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { packBundle } from '../archive/pack.ts';
import { BUNDLE_UNPACK_LIMITS, unpackArchive } from '../archive/unpack.ts';
import { openBundle } from '../bundle/bundle.ts';
import type { Bundle } from '../manifest.ts';
import { targetName, targetPath } from '../trust/target.ts';
import { addAgent, withdrawAgent, type PublishedAgent } from './agents.ts';
import { withLock } from './lock.ts';
import { Repository, type CurrentMetadata, type RepositoryOptions } from './repository.ts';
import { firstRoleToSign, prepareMetadata, writePrepared } from './sign.ts';

export interface PublishOptions extends RepositoryOptions {
  /** Paths of the bundles to publish: directories or archives. */
  readonly bundles: readonly string[];
  /** Paths of the archives of agents to publish. */
  readonly agents?: readonly string[];
  /** Versions of the agent to withdraw, for all architectures. */
  readonly withdrawAgents?: readonly string[];
  /** `name/version` of the models to withdraw. */
  readonly withdraw: readonly string[];
  /** Signs only a new timestamp. A timer on a machine that has only the timestamp key uses this. */
  readonly timestampOnly: boolean;
}

export interface PublishedModel {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly sizeBytes: number;
  /** `unchanged`: the same bytes were already published. */
  readonly outcome: 'published' | 'unchanged' | 'withdrawn';
}

export interface PublishReport {
  readonly models: readonly PublishedModel[];
  readonly agents: readonly PublishedAgent[];
  readonly versions: { readonly targets: number; readonly snapshot: number; readonly timestamp: number };
  /** When the signature of each role expires, ISO 8601. */
  readonly expires: {
    readonly root: string;
    readonly targets: string;
    readonly snapshot: string;
    readonly timestamp: string;
  };
}

/**
 * Packs bundles, adds them to the repository and signs the repository. Without bundles, signs the present content
 * again. A version of a model is published only once: publishing the same bytes again changes nothing, and other bytes
 * throw `repo_version_taken`. Also throws the errors of `openBundle`, and `repo_busy`, `repo_damaged`, `repo_keys`,
 * `repo_missing`.
 */
export async function publish(options: PublishOptions, signal: AbortSignal): Promise<PublishReport> {
  const repository = await Repository.open(options);
  return withLock(options.dir, () => publishLocked(repository, options, signal));
}

async function publishLocked(
  repository: Repository,
  options: PublishOptions,
  signal: AbortSignal,
): Promise<PublishReport> {
  const current = await repository.read();
  const { root } = current;
  // After an interrupted key rotation, other roles than the timestamp may need a new signature too.
  const from = options.timestampOnly ? (firstRoleToSign(root, current) ?? 'timestamp') : 'targets';
  // Sign once before the work begins, so that a wrong passphrase is reported before the slow packing.
  await prepareMetadata(repository, root, current, from);
  const files = { ...current.targets.signed.targets };
  const models: PublishedModel[] = [];
  for (const name of options.withdraw) models.push(withdrawModel(files, name));
  for (const path of options.bundles) models.push(await addBundle(repository.dir, files, path, signal));
  const agents = (options.withdrawAgents ?? []).flatMap((version) => withdrawAgent(files, version));
  for (const path of options.agents ?? []) agents.push(await addAgent(repository.dir, files, path, signal));
  const prepared = await prepareMetadata(repository, root, current, from, files);
  signal.throwIfAborted();
  writePrepared(repository, prepared, false);
  const { targets, snapshot, timestamp } = prepared;
  return publishReport(models, agents, {
    root,
    targets: targets ?? current.targets,
    snapshot: snapshot ?? current.snapshot,
    timestamp,
  });
}

function publishReport(
  models: readonly PublishedModel[],
  agents: readonly PublishedAgent[],
  { root, targets, snapshot, timestamp }: CurrentMetadata,
): PublishReport {
  return {
    models,
    agents,
    versions: {
      targets: targets.signed.version,
      snapshot: snapshot.signed.version,
      timestamp: timestamp.signed.version,
    },
    expires: {
      root: root.signed.expires,
      targets: targets.signed.expires,
      snapshot: snapshot.signed.expires,
      timestamp: timestamp.signed.expires,
    },
  };
}

function withdrawModel(files: Record<string, TargetFile>, label: string): PublishedModel {
  const [name = '', version = ''] = label.split('/');
  const path = targetName(name, version);
  const file = Object.hasOwn(files, path) ? files[path] : undefined;
  if (!file) throw new AgentError('usage', `the repository has no ${JSON.stringify(label)} (name/version)`);
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a plain record of the signed targets
  delete files[path];
  return { name, version, digest: bundleDigestOf(file), sizeBytes: file.length, outcome: 'withdrawn' };
}

async function addBundle(
  dir: string,
  files: Record<string, TargetFile>,
  path: string,
  signal: AbortSignal,
): Promise<PublishedModel> {
  const scratch = await mkdtemp(join(tmpdir(), 'swellsight-publish-'));
  await using _removed = closeAtEnd(() => rm(scratch, { recursive: true, force: true }));
  const bundle = await openDirOrArchive(path, scratch, signal);
  const { name, version } = bundle.manifest;
  if (version.includes('+'))
    throw new AgentError('usage', `${version}: a published version must not have build metadata after "+"`);
  const target = targetName(name, version);
  const known = Object.hasOwn(files, target) ? files[target] : undefined;
  const packed = await storeArchive(dir, bundle, known ?? null, signal);
  files[target] = new TargetFile({
    path: target,
    length: packed.sizeBytes,
    hashes: { sha256: packed.sha256 },
    unrecognizedFields: {
      custom: { bundle: { name, version, digest: bundle.digest }, requires: bundle.manifest.requires },
    },
  });
  const outcome = known ? 'unchanged' : 'published';
  return { name, version, digest: bundle.digest, sizeBytes: packed.sizeBytes, outcome };
}

/**
 * Opens the directory or archive of a bundle. Does not check `requires.memory_mb`, because this machine is not the
 * device that will run the model.
 */
async function openDirOrArchive(path: string, scratch: string, signal: AbortSignal): Promise<Bundle> {
  const into = join(scratch, 'bundle');
  const isFile = (await stat(path).catch(() => null))?.isFile() === true;
  if (isFile) {
    await unpackArchive(path, into, BUNDLE_UNPACK_LIMITS, signal);
  }
  return openBundle(isFile ? into : path, { memoryMb: Number.MAX_SAFE_INTEGER, signal });
}

/**
 * Packs the bundle into an archive under its final name. The archive is on the disk when this returns, which is before
 * it is signed.
 */
async function storeArchive(
  dir: string,
  { dir: bundleDir, digest, manifest: { name, version } }: Bundle,
  known: TargetFile | null,
  signal: AbortSignal,
): Promise<{ sizeBytes: number; sha256: string }> {
  const into = join(dir, dirname(targetPath(name, null, version)));
  mkdirSync(into, { recursive: true, mode: 0o755 });
  // Remove the files of an interrupted run.
  for (const leftover of (await readdir(into)).filter((entry) => entry.startsWith('.')))
    await rm(join(into, leftover), { force: true });
  const part = join(into, `.${randomUUID()}.tar`);
  await using _removed = closeAtEnd(() => rm(part, { force: true }));
  const packed = await packBundle(bundleDir, part, signal);
  if (known && (known.hashes['sha256'] !== packed.sha256 || bundleDigestOf(known) !== digest))
    throw new AgentError('repo_version_taken', `${name} ${version} is already published with other bytes`);
  renameSync(part, join(dir, targetPath(name, packed.sha256, version)));
  syncDirectory(into);
  return packed;
}

function bundleDigestOf(file: TargetFile): string {
  const bundle = file.custom['bundle'] as { digest?: unknown } | undefined;
  return typeof bundle?.digest === 'string' ? bundle.digest : '';
}
