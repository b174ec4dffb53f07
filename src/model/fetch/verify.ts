import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { closeAtEnd } from '../../base/closing.ts';
import { syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { unpackArchive } from '../archive/unpack.ts';
import { openBundle } from '../bundle/bundle.ts';
import { BUNDLE_LIMITS } from '../bundle/files.ts';
import type { FetchEvents } from './download.ts';
import type { FetchJob } from './job.ts';
import { openArchive } from './open-archive.ts';
import { fetchDirs, removePart } from './part-file.ts';
import type { VerifiedBundle } from './report.ts';
import type { Bundle } from '../manifest.ts';
import type { SignedTarget } from '../trust/target.ts';

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
  await using _removed = closeAtEnd(() => rm(staging, { recursive: true, force: true }));
  const archive = await openArchive(job, events, signal);
  const unpacked = join(staging, 'bundle');
  const unpackLimits = {
    maxFiles: BUNDLE_LIMITS.files,
    maxBytes: limits.maxBytes,
    layout: 'bundle',
  } as const;
  await unpackArchive(archive.file, unpacked, unpackLimits, signal);
  const bundle = await openBundle(unpacked, { signal });
  checkIdentity(bundle, job, archive.signed?.target ?? null);
  await storeBundle(bundle, bundles, signal);
  await removePart({ dir: parts, updateId });
  const { name, version } = bundle.manifest;
  const { signed } = archive;
  return {
    name,
    version,
    digest: bundle.digest,
    trusted: signed !== null,
    ...(signed?.target.isExpiryChecked === false ? { expiryUnchecked: true } : {}),
  };
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
