import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { closeAtEnd } from '../../base/closing.ts';
import { syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { createDirectory } from '../../base/create-directory.ts';
import { exportMetadata } from '../trust/export-metadata.ts';
import type { FetchEvents } from './download.ts';
import type { FetchJob } from './job.ts';
import { openArchive } from './open-archive.ts';
import { fetchDirs, removePart } from './part-file.ts';
import type { VerifiedBundle } from './report.ts';

const ARCHIVE_NAME = /^[0-9a-f]{64}\.tar\.gz$/;

/**
 * Turns the part file into the verified archive of an agent, `{sha256}.tar.gz` in the directory of the job, and puts the
 * metadata that sign it beside it in `metadata/`, because the updater verifies both again. Does not unpack the archive.
 * Removes the archives of earlier updates.
 */
export async function verifyAgent(
  job: FetchJob,
  events: FetchEvents,
  signal: AbortSignal,
): Promise<VerifiedBundle> {
  const { dir, options } = job;
  const { updateId, version } = options.request;
  const { staging, parts, trust } = fetchDirs(dir, updateId);
  await rm(staging, { recursive: true, force: true });
  createDirectory(staging);
  await using _removed = closeAtEnd(() => rm(staging, { recursive: true, force: true }));
  const { file, signed } = await openArchive(job, events, signal);
  if (signed === null) throw new AgentError('model_unsigned', 'an agent is never installed unsigned');
  const { target, source } = signed;
  const name = `${target.sha256}.tar.gz`;
  for (const other of await readdir(dir))
    if (ARCHIVE_NAME.test(other) && other !== name) await rm(join(dir, other), { force: true });
  await exportMetadata({ trustDir: trust, intoDir: join(dir, 'metadata') }, source, signal);
  await rename(file, join(dir, name));
  syncDirectory(dir);
  await removePart({ dir: parts, updateId });
  return { name: target.bundle.name, version, digest: target.bundle.digest, trusted: true };
}
