import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { unpackArchive } from '../archive/unpack.ts';
import { digestFile } from '../bundle/files.ts';
import { ensureSpace } from '../disk-space.ts';
import { openRepository, requiresSignature, type FetchEvents } from './download.ts';
import type { FetchJob } from './job.ts';
import { fetchDirs, partPath } from './part-file.ts';
import type { CheckedTarget } from './signed-target.ts';
import type { MetadataSource } from '../trust/metadata-source.ts';

/** Most files of a repository: its metadata, every version of the root metadata, and one archive. */
const MAX_REPOSITORY_FILES = 1024;

/** The archive of a bundle or of an agent. */
export interface OpenedArchive {
  readonly file: string;
  /** The signed entry with its size and digest, and where its metadata came from; null for an unsigned archive. */
  readonly signed: { readonly target: CheckedTarget; readonly source: MetadataSource } | null;
}

/**
 * Finds the archive in the part file of a job, and compares it with its signed target. Throws `model_transfer_changed`,
 * `model_space`, and the errors of `findSignedTarget` and `checkTarget`.
 */
export async function openArchive(
  job: FetchJob,
  events: FetchEvents,
  signal: AbortSignal,
): Promise<OpenedArchive> {
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
    return isSigned ? openMqttRepository(job, file, sizeBytes, signal) : { file, signed: null };
  }
  await ensureSpace(parts, sizeBytes + job.limits.reserveBytes);
  if (!isSigned) return { file, signed: null };
  const { findSignedTarget } = await import('./signed-target.ts');
  const { checkTarget } = await import('../trust/target.ts');
  const repository = openRepository(job, events);
  const target = await findSignedTarget(job, repository, signal);
  await checkTarget(file, sizeBytes, target, signal);
  return { file, signed: { target, source: repository } };
}

/** Unpacks a repository that came over MQTT. The TUF metadata in this repository sign the archive in it. */
async function openMqttRepository(
  job: FetchJob,
  file: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<OpenedArchive> {
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
  const source = directorySource(repositoryDir);
  const target = await findSignedTarget(job, source, signal);
  const archive = join(repositoryDir, target.path);
  const stats = statSync(archive, { throwIfNoEntry: false });
  if (!stats)
    throw new AgentError('model_trust_mismatch', 'the received repository lacks the signed archive');
  await checkTarget(archive, stats.size, target, signal);
  return { file: archive, signed: { target, source } };
}
