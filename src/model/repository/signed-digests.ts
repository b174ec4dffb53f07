import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extract } from 'tar';
import { closeAtEnd } from '../../base/closing.ts';
import { AgentError } from '../../base/errors.ts';
import { directorySource } from '../trust/metadata-source.ts';
import { Trust } from '../trust/trust.ts';
import { metadataPath, newestRootVersion } from './files.ts';

/** A version of a model; of the agent when `name` is null. */
export interface WantedVersion {
  readonly name: string | null;
  readonly version: string;
}

/**
 * The digests that a repository signs under a version: that of the bundle of a model, or those of the archives of the
 * agent, one for each architecture. Verifies the metadata, but reads no archive. Throws `repo_missing`,
 * `model_trust_target` when the version is not there, and the errors of `Trust.refresh`.
 */
export async function readSignedDigests(
  dir: string,
  { name, version }: WantedVersion,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if ((await newestRootVersion(dir)) === 0)
    throw new AgentError('repo_missing', `${dir} is not a repository`);
  const scratch = await mkdtemp(join(tmpdir(), 'swellsight-trust-'));
  await using _removed = closeAtEnd(() => rm(scratch, { recursive: true, force: true }));
  const trust = new Trust({
    dir: scratch,
    rootFile: join(dir, metadataPath('root', 1)),
    syncedNowMs: Date.now(),
  });
  await trust.refresh(directorySource(dir), signal);
  if (name !== null) return [(await trust.target(name, version)).bundle.digest];
  const digests: string[] = [];
  for (const arch of ['amd64', 'arm64'] as const)
    if ((await trust.releaseVersions(arch)).includes(version))
      digests.push(`sha256:${(await trust.release(version, arch)).sha256}`);
  if (digests.length > 0) return digests;
  throw new AgentError('model_trust_target', `the repository has no agent ${version}`);
}

/** The same for a file of `repo export`. Null for an unsigned archive, which has no metadata. */
export async function readExportedDigests(
  file: string,
  wanted: WantedVersion,
  signal: AbortSignal,
): Promise<readonly string[] | null> {
  const dir = await mkdtemp(join(tmpdir(), 'swellsight-export-'));
  await using _removed = closeAtEnd(() => rm(dir, { recursive: true, force: true }));
  await extract({ file, cwd: dir, filter: (path) => path.startsWith('metadata/') });
  return (await newestRootVersion(dir)) === 0 ? null : await readSignedDigests(dir, wanted, signal);
}
