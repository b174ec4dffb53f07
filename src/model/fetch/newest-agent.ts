import { AgentError } from '../../base/errors.ts';
import { parseVersion } from '../semver.ts';
import { releaseArch } from '../trust/release-target.ts';
import { Trust } from '../trust/trust.ts';
import { openRepository, type FetchEvents } from './download.ts';
import type { FetchJob } from './job.ts';
import { fetchDirs } from './part-file.ts';
import type { VerifiedBundle } from './report.ts';

/**
 * Refreshes the metadata of the repository and returns the newest version of the agent for this architecture, without
 * prereleases; null when there is none. Throws `model_trust_*` and `model_transfer_failed`.
 */
export async function findNewestAgent(
  job: FetchJob,
  events: FetchEvents,
  signal: AbortSignal,
): Promise<VerifiedBundle | null> {
  const { trustRoot, syncedNowMs, request } = job.options;
  if (trustRoot === null) throw new AgentError('update_no_repository', 'update.trustRoot is not set');
  const { trust: dir } = fetchDirs(job.dir, request.updateId);
  const trust = new Trust({ dir, rootFile: trustRoot, syncedNowMs });
  await trust.refresh(openRepository(job, events), signal);
  const arch = releaseArch();
  const versions = (await trust.releaseVersions(arch))
    .map((text) => parseVersion(text))
    .filter((version) => version !== null && version.prerelease.length === 0)
    .filter((version) => version !== null)
    .sort((a, b) => a.compare(b));
  const newest = versions.at(-1);
  if (newest === undefined) return null;
  const { version } = newest;
  const { sha256 } = await trust.release(version, arch);
  return { name: 'swellsight-edge', version, digest: `sha256:${sha256}`, trusted: true };
}
