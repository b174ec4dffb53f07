import { existsSync, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { makeFolder } from '../../base/make-folder.ts';
import { unpackArchive } from '../archive/archive.ts';
import { openBundle } from '../bundle/bundle.ts';
import { BUNDLE_LIMITS, digestFile } from '../bundle/files.ts';
import type { FetchDeps } from './download.ts';
import { mustBeSigned, repositoryOf, signedTargetOf } from './download.ts';
import type { FetchJob, VerifiedBundle } from './messages.ts';
import { placesOf } from './places.ts';
import type { Bundle } from '../manifest.ts';
import { partPath, removePart } from './part-file.ts';
import { ensureSpace } from './space.ts';
import { checkTarget, type SignedTarget } from '../trust/target.ts';
import { folderSource } from '../trust/source.ts';

const BUNDLE = { maxFiles: BUNDLE_LIMITS.files, layout: 'bundle' } as const;
/** Metadata, each root of its history, and one archive. */
const REPOSITORY_FILES = 1024;

/** The archive of a bundle, and who vouches for it. */
interface Archive {
  readonly file: string;
  readonly target: SignedTarget | null;
}

/**
 * From the part to a bundle in its place, named by its digest: metadata, digests, archive, manifest, requirements. The
 * part is gone then. Nothing of what was unpacked is left behind, however it ends.
 */
export async function verify(job: FetchJob, deps: FetchDeps, signal: AbortSignal): Promise<VerifiedBundle> {
  const { dir, options } = job;
  const { updateId } = options.request;
  const places = placesOf(dir, updateId);
  // What a power cut left of an earlier try.
  await rm(places.staging, { recursive: true, force: true });
  makeFolder(places.staging);
  try {
    const archive = await openArchive(job, deps, signal);
    const unpacked = join(places.staging, 'bundle');
    await unpackArchive(archive.file, unpacked, { ...BUNDLE, maxBytes: job.limits.maxBytes }, signal);
    const bundle = await openBundle(unpacked, { signal });
    checkIdentity(bundle, job, archive.target);
    await layDown(bundle, places.bundles, signal);
    await removePart({ dir: places.parts, updateId });
    const { name, version } = bundle.manifest;
    return { name, version, digest: bundle.digest, trusted: archive.target !== null };
  } finally {
    await rm(places.staging, { recursive: true, force: true });
  }
}

async function openArchive(job: FetchJob, deps: FetchDeps, signal: AbortSignal): Promise<Archive> {
  const { dir, options } = job;
  const { updateId, source } = options.request;
  const { parts } = placesOf(dir, updateId);
  const file = partPath({ dir: parts, updateId });
  const sizeBytes = statSync(file, { throwIfNoEntry: false })?.size;
  if (sizeBytes === undefined)
    throw new AgentError('model_transfer_changed', 'what was fetched is no longer there');
  const signed = mustBeSigned(job);
  if (source.kind === 'mqtt') {
    if ((await digestFile(file, signal)) !== source.digest)
      throw new AgentError('model_transfer_changed', 'what came by MQTT is not what was announced');
    return signed ? openSent(job, file, sizeBytes, signal) : { file, target: null };
  }
  await ensureSpace(parts, sizeBytes + job.limits.reserveBytes);
  if (!signed) return { file, target: null };
  const target = await signedTargetOf(job, repositoryOf(job, deps), signal);
  await checkTarget(file, sizeBytes, target, signal);
  return { file, target };
}

/** A repository that came by MQTT: its own metadata vouch for the archive in it. */
async function openSent(
  job: FetchJob,
  file: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Archive> {
  const { staging } = placesOf(job.dir, job.options.request.updateId);
  const folder = join(staging, 'repository');
  await ensureSpace(dirname(file), 2 * sizeBytes + job.limits.reserveBytes);
  await unpackArchive(
    file,
    folder,
    { maxBytes: job.limits.maxBytes, maxFiles: REPOSITORY_FILES, layout: 'repository' },
    signal,
  );
  const target = await signedTargetOf(job, folderSource(folder), signal);
  const inside = join(folder, target.path);
  const found = statSync(inside, { throwIfNoEntry: false });
  if (!found) throw new AgentError('model_trust_mismatch', 'what was sent does not hold the signed archive');
  await checkTarget(inside, found.size, target, signal);
  return { file: inside, target };
}

/** The bundle is the one that was signed for, and the one that was asked for. */
function checkIdentity(
  { manifest, digest }: Bundle,
  { options }: FetchJob,
  target: SignedTarget | null,
): void {
  const { name, version, digest: wanted } = options.request;
  if (manifest.name !== name || manifest.version !== version) {
    throw new AgentError(
      'model_digest_mismatch',
      `the bundle calls itself ${manifest.name} ${manifest.version}`,
    );
  }
  for (const promised of [target?.bundle.digest, wanted]) {
    if (promised === undefined || promised === null || promised === digest) continue;
    throw new AgentError('model_digest_mismatch', 'the bundle has another digest than was promised', {
      context: { promised, digest },
    });
  }
}

/** Moves the unpacked bundle to where its digest says. One that lies there already and is sound stays. */
async function layDown(bundle: Bundle, bundlesDir: string, signal: AbortSignal): Promise<void> {
  makeFolder(bundlesDir);
  const place = join(bundlesDir, bundle.digest.replace('sha256:', ''));
  if (existsSync(place)) {
    const there = await openBundle(place, { signal }).catch(() => null);
    if (there?.digest === bundle.digest) return;
    // Damaged: nobody can run it. First out of the way by one rename, then removed.
    const damaged = `${bundle.dir}.damaged`;
    await rename(place, damaged);
  }
  signal.throwIfAborted();
  await rename(bundle.dir, place);
  syncFolder(bundlesDir);
  syncFolder(dirname(bundle.dir));
}
