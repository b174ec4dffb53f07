import { TargetFile } from '@tufjs/models';
import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { syncFolder } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { packBundle, unpackArchive } from '../archive/archive.ts';
import { BUNDLE_LIMITS } from '../bundle/files.ts';
import { openBundle } from '../bundle/bundle.ts';
import type { Bundle } from '../manifest.ts';
import { targetName } from '../trust/target.ts';
import { targetPath } from './files.ts';
import { withLock } from './lock.ts';
import { commit, firstUnvouched, prepare } from './sign.ts';
import { Repository, type Current, type RepositoryOptions } from './repository.ts';

export interface PublishOptions extends RepositoryOptions {
  /** Folders or archives of bundles. */
  readonly bundles: readonly string[];
  /** `name/version` of those to be offered no longer. */
  readonly withdraw: readonly string[];
  /** Only a new timestamp: what a timer runs, with no other key at hand. */
  readonly timestampOnly: boolean;
}

export interface Published {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly sizeBytes: number;
  /** `unchanged`: the same bytes were published before. */
  readonly outcome: 'published' | 'unchanged' | 'withdrawn';
}

export interface PublishReport {
  readonly models: readonly Published[];
  readonly versions: { readonly targets: number; readonly snapshot: number; readonly timestamp: number };
  /** When each role must have been signed again, ISO 8601. */
  readonly expires: {
    readonly root: string;
    readonly targets: string;
    readonly snapshot: string;
    readonly timestamp: string;
  };
}

/**
 * Packs bundles, lays them into the repository and signs for them; without bundles it signs anew what is there. A version is
 * published once: the same bytes again change nothing, others throw `repo_version_taken`. Also throws as `openBundle`,
 * `repo_busy`, `repo_damaged`, `repo_keys`, `repo_missing`.
 */
export async function publish(options: PublishOptions, signal: AbortSignal): Promise<PublishReport> {
  const repository = await Repository.open(options);
  return withLock(options.dir, () => work(repository, options, signal));
}

async function work(
  repository: Repository,
  options: PublishOptions,
  signal: AbortSignal,
): Promise<PublishReport> {
  const current = await repository.read();
  const { root } = current;
  // After a rotation that a power cut ended, more is to be signed than was asked for.
  const from = options.timestampOnly ? (firstUnvouched(root, current) ?? 'timestamp') : 'targets';
  // Keys first: a forgotten passphrase shows before a long packing.
  await prepare(repository, root, current, from);
  const files = { ...current.targets.signed.targets };
  const models: Published[] = [];
  for (const name of options.withdraw) models.push(withdraw(files, name));
  for (const path of options.bundles) models.push(await addBundle(repository.dir, files, path, signal));
  const prepared = await prepare(repository, root, current, from, files);
  signal.throwIfAborted();
  commit(repository, prepared, false);
  return report(models, { ...current, ...withoutNulls(prepared) });
}

const withoutNulls = <T extends object>(value: T): { [K in keyof T]: NonNullable<T[K]> } =>
  Object.fromEntries(Object.entries(value).filter(([, part]) => part !== null)) as {
    [K in keyof T]: NonNullable<T[K]>;
  };

function report(
  models: readonly Published[],
  { root, targets, snapshot, timestamp }: Current,
): PublishReport {
  return {
    models,
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

function withdraw(files: Record<string, TargetFile>, label: string): Published {
  const [name = '', version = ''] = label.split('/');
  const path = targetName(name, version);
  const file = Object.hasOwn(files, path) ? files[path] : undefined;
  if (!file) throw new AgentError('usage', `the repository has no ${JSON.stringify(label)} (name/version)`);
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a plain record of what is signed
  delete files[path];
  return { name, version, digest: digestOf(file), sizeBytes: file.length, outcome: 'withdrawn' };
}

async function addBundle(
  dir: string,
  files: Record<string, TargetFile>,
  path: string,
  signal: AbortSignal,
): Promise<Published> {
  const scratch = await mkdtemp(join(tmpdir(), 'swellsight-publish-'));
  try {
    const bundle = await openAny(path, scratch, signal);
    const { name, version } = bundle.manifest;
    if (version.includes('+'))
      throw new AgentError('usage', `${version}: a version that is published has no build part after "+"`);
    const target = targetName(name, version);
    const known = Object.hasOwn(files, target) ? files[target] : undefined;
    const packed = await layDown(dir, bundle, known ?? null, signal);
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
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A bundle's folder, or an archive of one. What devices have is not held against this machine's memory. */
async function openAny(path: string, scratch: string, signal: AbortSignal): Promise<Bundle> {
  const into = join(scratch, 'bundle');
  const isFile = (await stat(path).catch(() => null))?.isFile() === true;
  if (isFile) {
    const limits = {
      maxBytes: BUNDLE_LIMITS.totalBytes,
      maxFiles: BUNDLE_LIMITS.files,
      layout: 'bundle',
    } as const;
    await unpackArchive(path, into, limits, signal);
  }
  return openBundle(isFile ? into : path, { memoryMb: Number.MAX_SAFE_INTEGER, signal });
}

/** The archive, durable under its final name before anything is signed for it. */
async function layDown(
  dir: string,
  { dir: folder, digest, manifest: { name, version } }: Bundle,
  known: TargetFile | null,
  signal: AbortSignal,
): Promise<{ sizeBytes: number; sha256: string }> {
  const into = join(dir, dirname(targetPath(name, '', version)));
  mkdirSync(into, { recursive: true, mode: 0o755 });
  for (const left of (await readdir(into)).filter((entry) => entry.startsWith('.')))
    await rm(join(into, left), { force: true });
  const part = join(into, `.${randomUUID()}.tar`);
  try {
    const packed = await packBundle(folder, part, signal);
    if (known && (known.hashes['sha256'] !== packed.sha256 || digestOf(known) !== digest))
      throw new AgentError('repo_version_taken', `${name} ${version} was published with other bytes`);
    renameSync(part, join(dir, targetPath(name, packed.sha256, version)));
    syncFolder(into);
    return packed;
  } finally {
    await rm(part, { force: true });
  }
}

function digestOf(file: TargetFile): string {
  const bundle = file.custom['bundle'] as { digest?: unknown } | undefined;
  return typeof bundle?.digest === 'string' ? bundle.digest : '';
}
