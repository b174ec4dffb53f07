import { existsSync, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { unpackArchive } from '../archive/unpack.ts';
import { openBundle } from '../bundle/bundle.ts';
import { BUNDLE_LIMITS, digestFile } from '../bundle/files.ts';
import { ensureSpace } from '../disk-space.ts';
import { openRepository, requiresSignature, type FetchEvents } from './download.ts';
import type { FetchJob } from './job.ts';
import { fetchDirs, partPath, removePart } from './part-file.ts';
import type { VerifiedBundle } from './report.ts';
import type { Bundle } from '../manifest.ts';
import type { SignedTarget } from '../trust/target.ts';

/** Most files of a repository: its metadata, every version of the root metadata, and one archive. */
const MAX_REPOSITORY_FILES = 1024;

/**
 * The archive of a bundle, and its signed target (the signed entry with its size and digest); null when the archive is
 * unsigned.
 */
interface Archive {
  readonly file: string;
  readonly target: SignedTarget | null;
}

/**
 * Turns the part file into a bundle in the bundles directory, named by its digest. Checks metadata, digests, archive,
 * manifest and requirements. Removes the part file on success, and all unpacked files in any case.
 */
export async function verify(
  job: FetchJob,
  events: FetchEvents,
  signal: AbortSignal,
): Promise<VerifiedBundle> {
  const { dir, options, limits } = job;
  const { updateId } = options.request;
  const { staging, bundles, parts } = fetchDirs(dir, updateId);
  // Remove the files of an earlier attempt that a power cut ended.
  await rm(staging, { recursive: true, force: true });
  createDirectory(staging);
  try {
    const archive = await openArchive(job, events, signal);
    const unpacked = join(staging, 'bundle');
    const unpackLimits = {
      maxFiles: BUNDLE_LIMITS.files,
      maxBytes: limits.maxBytes,
      layout: 'bundle',
    } as const;
    await unpackArchive(archive.file, unpacked, unpackLimits, signal);
    const bundle = await openBundle(unpacked, { signal });
    checkIdentity(bundle, job, archive.target);
    await storeBundle(bundle, bundles, signal);
    await removePart({ dir: parts, updateId });
    const { name, version } = bundle.manifest;
    return { name, version, digest: bundle.digest, trusted: archive.target !== null };
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function openArchive(job: FetchJob, events: FetchEvents, signal: AbortSignal): Promise<Archive> {
  const { dir, options } = job;
  const { updateId, source } = options.request;
  const { parts } = fetchDirs(dir, updateId);
  const file = partPath({ dir: parts, updateId });
  const sizeBytes = statSync(file, { throwIfNoEntry: false })?.size;
  if (sizeBytes === undefined)
    throw new AgentError('model_transfer_changed', 'the downloaded file is missing');
  const isSigned = requiresSignature(job);
  if (source.kind === 'mqtt') {
    if ((await digestFile(file, signal)) !== source.digest)
      throw new AgentError(
        'model_transfer_changed',
        'the file received over MQTT has another digest than the announced one',
      );
    return isSigned ? openMqttRepository(job, file, sizeBytes, signal) : { file, target: null };
  }
  await ensureSpace(parts, sizeBytes + job.limits.reserveBytes);
  if (!isSigned) return { file, target: null };
  const { findSignedTarget } = await import('./signed-target.ts');
  const { checkTarget } = await import('../trust/target.ts');
  const target = await findSignedTarget(job, openRepository(job, events), signal);
  await checkTarget(file, sizeBytes, target, signal);
  return { file, target };
}

/** Unpacks a repository that came over MQTT. The TUF metadata in this repository sign the archive in it. */
async function openMqttRepository(
  job: FetchJob,
  file: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Archive> {
  const { staging } = fetchDirs(job.dir, job.options.request.updateId);
  const repositoryDir = join(staging, 'repository');
  await ensureSpace(dirname(file), 2 * sizeBytes + job.limits.reserveBytes);
  await unpackArchive(
    file,
    repositoryDir,
    { maxBytes: job.limits.maxBytes, maxFiles: MAX_REPOSITORY_FILES, layout: 'repository' },
    signal,
  );
  const { findSignedTarget } = await import('./signed-target.ts');
  const { checkTarget } = await import('../trust/target.ts');
  const { directorySource } = await import('../trust/metadata-source.ts');
  const target = await findSignedTarget(job, directorySource(repositoryDir), signal);
  const archive = join(repositoryDir, target.path);
  const stats = statSync(archive, { throwIfNoEntry: false });
  if (!stats)
    throw new AgentError('model_trust_mismatch', 'the received repository lacks the signed archive');
  await checkTarget(archive, stats.size, target, signal);
  return { file: archive, target };
}

/** Throws unless the bundle is both the signed one and the requested one. */
function checkIdentity(
  { manifest, digest }: Bundle,
  { options }: FetchJob,
  target: SignedTarget | null,
): void {
  const { name, version, digest: requested } = options.request;
  if (manifest.name !== name || manifest.version !== version) {
    throw new AgentError(
      'model_digest_mismatch',
      `the bundle's manifest names ${manifest.name} ${manifest.version}`,
    );
  }
  for (const promised of [target?.bundle.digest, requested]) {
    if (promised === undefined || promised === null || promised === digest) continue;
    throw new AgentError('model_digest_mismatch', 'the bundle has another digest than the expected one', {
      context: { promised, digest },
    });
  }
}

/**
 * Moves the unpacked bundle to the directory that is named by its digest. If an intact bundle is already there, keeps
 * that one.
 */
async function storeBundle(bundle: Bundle, bundlesDir: string, signal: AbortSignal): Promise<void> {
  createDirectory(bundlesDir);
  const place = join(bundlesDir, bundle.digest.replace('sha256:', ''));
  if (existsSync(place)) {
    const existing = await openBundle(place, { signal }).catch(() => null);
    if (existing?.digest === bundle.digest) return;
    // The stored bundle is damaged and cannot run. Rename it into the staging directory, which is removed afterwards.
    await rename(place, `${bundle.dir}.damaged`);
  }
  signal.throwIfAborted();
  await rename(bundle.dir, place);
  syncDirectory(bundlesDir);
  syncDirectory(dirname(bundle.dir));
}
