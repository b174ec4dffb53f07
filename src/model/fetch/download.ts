import { closeAtEnd } from '../../base/closing.ts';
import { systemClock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { ensureSpace } from '../disk-space.ts';
import { HttpDownload } from './http-download.ts';
import { HttpRepository } from './http-repository.ts';
import type { FetchJob } from './job.ts';
import { fetchDirs, PartFile } from './part-file.ts';
import type { FetchProgress } from '../types.ts';

/** The events that a running job reports. */
export interface FetchEvents {
  readonly onProgress: (progress: FetchProgress) => void;
  readonly onWait: (reason: string, retryInMs: number) => void;
}

/** Downloads the archive from the web server into the part file. */
export async function download(job: FetchJob, events: FetchEvents, signal: AbortSignal): Promise<void> {
  const { dir, options, limits } = job;
  const { name, version, updateId } = options.request;
  const { parts } = fetchDirs(dir, updateId);
  const repository = openRepository(job, events);
  const target = requiresSignature(job) ? await loadSignedTarget(job, repository, signal) : null;
  const path = target?.path ?? `targets/models/${name}/${version}.tar`;
  const part = await PartFile.open(
    { dir: parts, updateId, reserveBytes: limits.reserveBytes },
    { of: `http:${path}`, sha256: target?.sha256 ?? null, sizeBytes: target?.sizeBytes ?? null },
  );
  await using _closed = closeAtEnd(() => part.close());
  // The disk must hold the rest of the archive and the unpacked files.
  const onSize = (sizeBytes: number): Promise<void> =>
    ensureSpace(parts, sizeBytes - part.heldBytes + sizeBytes + limits.reserveBytes);
  const { onProgress } = events;
  await new HttpDownload(repository, part, {
    path,
    expected: target,
    maxBytes: limits.maxBytes,
    onSize,
    onProgress,
  }).run(signal);
}

/**
 * Compares the digest of a part file that came over MQTT with the announced digest. Empties the part file if they
 * differ.
 */
export async function checkBlocks({ dir, options, limits }: FetchJob, signal: AbortSignal): Promise<void> {
  const { updateId, source } = options.request;
  if (source.kind !== 'mqtt') return;
  const sha256 = source.digest.replace('sha256:', '');
  const place = { dir: fetchDirs(dir, updateId).parts, updateId, reserveBytes: limits.reserveBytes };
  const part = await PartFile.open(place, { of: 'mqtt:', sha256, sizeBytes: source.sizeBytes });
  await using _closed = closeAtEnd(() => part.close());
  const isComplete = part.heldBytes === source.sizeBytes;
  if (isComplete && (await part.hash(signal)).digest('hex') === sha256) return;
  await part.restart({});
  throw new AgentError(
    'model_transfer_changed',
    'the bytes received over MQTT have another digest than the announced one',
  );
}

/** Opens the configured repository. Throws `model_no_repository`. */
export function openRepository({ options, limits }: FetchJob, { onWait }: FetchEvents): HttpRepository {
  const { repositoryUrl, syncedNowMs, maxBytesPerS } = options;
  if (repositoryUrl === null) throw new AgentError('model_no_repository', 'model.repository is not set');
  return new HttpRepository(
    { baseUrl: repositoryUrl, clockSynced: syncedNowMs !== null, limits: limits.transfer, maxBytesPerS },
    { clock: systemClock, onWait },
  );
}

/**
 * True when a bundle must be signed. Throws `model_unsigned` when there is no root of trust and unsigned models are not
 * allowed.
 */
export function requiresSignature({ options }: FetchJob): boolean {
  if (options.trustRoot !== null) return true;
  if (options.allowUnsigned) return false;
  throw new AgentError('model_unsigned', 'there is no root of trust, and unsigned models are not allowed');
}

/**
 * Loads the code of the TUF client only when it is needed, because loading it takes most of the start time of a job.
 */
async function loadSignedTarget(job: FetchJob, source: HttpRepository, signal: AbortSignal) {
  const { findSignedTarget } = await import('./signed-target.ts');
  return findSignedTarget(job, source, signal);
}
