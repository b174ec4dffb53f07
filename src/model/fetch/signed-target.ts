import { AgentError } from '../../base/errors.ts';
import { checkRequirements } from '../bundle/bundle.ts';
import type { FetchJob } from './job.ts';
import { fetchDirs } from './part-file.ts';
import type { MetadataSource } from '../trust/metadata-source.ts';
import { releaseArch } from '../trust/release-target.ts';
import type { SignedTarget } from '../trust/target.ts';
import { Trust } from '../trust/trust.ts';

/** A signed target with the result of the check of its metadata. */
export interface CheckedTarget extends SignedTarget {
  /** See `Trust.isExpiryChecked`. */
  readonly isExpiryChecked: boolean;
}

/**
 * Refreshes the TUF metadata from the source and returns the signed target of the requested bundle or agent. Throws
 * `model_trust_*`, `model_digest_mismatch`, `model_too_large` and `model_requires`.
 */
export async function findSignedTarget(
  { product, dir, options, limits }: FetchJob,
  source: MetadataSource,
  signal: AbortSignal,
): Promise<CheckedTarget> {
  const { trustRoot, syncedNowMs, request } = options;
  if (trustRoot === null) throw new AgentError('model_unsigned', 'there is no root of trust');
  const { trust: trustDir } = fetchDirs(dir, request.updateId);
  const trust = new Trust({ dir: trustDir, rootFile: trustRoot, syncedNowMs });
  await trust.refresh(source, signal);
  const target =
    product === 'agent'
      ? await findRelease(trust, request.version)
      : await trust.target(request.name, request.version);
  if (request.digest !== null && target.bundle.digest !== request.digest)
    throw new AgentError('model_digest_mismatch', 'the repository signed other bytes under this version', {
      context: { signed: target.bundle.digest },
    });
  if (target.sizeBytes > limits.maxBytes)
    throw new AgentError(
      'model_too_large',
      `the archive has ${target.sizeBytes} bytes, ${limits.maxBytes} are allowed`,
    );
  // Do not download a bundle that cannot run on this device. The hardware is checked later, by `ProviderLadder`.
  if (target.requires !== null) await checkRequirements({ requires: target.requires }, {});
  return { ...target, isExpiryChecked: trust.isExpiryChecked };
}

/** The target of a version of the agent. Its `bundle.digest` is the digest of the archive. */
async function findRelease(trust: Trust, version: string): Promise<SignedTarget> {
  const { path, sizeBytes, sha256 } = await trust.release(version, releaseArch());
  const bundle = { name: 'swellsight-edge', version, digest: `sha256:${sha256}` };
  return { path, sizeBytes, sha256, bundle, requires: null };
}
