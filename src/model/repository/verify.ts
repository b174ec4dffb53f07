import { Metadata, MetadataKind } from '@tufjs/models';
import type { Stats } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeAtEnd } from '../../base/closing.ts';
import { AgentError, asAgentError, type ErrorCode } from '../../base/errors.ts';
import { BUNDLE_UNPACK_LIMITS, unpackArchive } from '../archive/unpack.ts';
import { openBundle } from '../bundle/bundle.ts';
import { directorySource } from '../trust/metadata-source.ts';
import type { ReleaseArch } from '../trust/release-target.ts';
import { checkTarget, type SignedTarget } from '../trust/target.ts';
import { Trust } from '../trust/trust.ts';
import { metadataPath, newestRootVersion } from './files.ts';

export interface VerifyOptions {
  readonly dir: string;
  /** Path of the root metadata that devices have pinned; null for the first root of the repository. */
  readonly rootFile: string | null;
  /** The time with which expiry dates are compared, ms since the epoch. */
  readonly nowMs: number;
}

export interface VerifiedModel {
  readonly name: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly digest: string;
  /** Why a device would refuse the model; null when it would accept the model. */
  readonly fault: { readonly code: ErrorCode; readonly message: string } | null;
}

/** As `VerifiedModel`, for a version of the agent. `digest` is the one of the archive. */
export interface VerifiedAgent extends Omit<VerifiedModel, 'name'> {
  readonly arch: ReleaseArch;
}

export interface VerifyReport {
  readonly root: { readonly version: number; readonly expires: string };
  readonly models: readonly VerifiedModel[];
  readonly agents: readonly VerifiedAgent[];
}

/**
 * Verifies a repository as a new device with this pinned root would do: first the metadata, then each archive and the
 * bundle in it. Throws the errors of `Trust.refresh` when the metadata are refused.
 */
export async function verifyRepository(options: VerifyOptions, signal: AbortSignal): Promise<VerifyReport> {
  const { dir } = options;
  if ((await newestRootVersion(dir)) === 0)
    throw new AgentError('repo_missing', `${dir} is not a repository`);
  const scratch = await mkdtemp(join(tmpdir(), 'swellsight-verify-'));
  await using _removed = closeAtEnd(() => rm(scratch, { recursive: true, force: true }));
  const trust = new Trust({
    dir: join(scratch, 'trust'),
    rootFile: options.rootFile ?? join(dir, metadataPath('root', 1)),
    syncedNowMs: options.nowMs,
  });
  await trust.refresh(directorySource(dir), signal);
  const models: VerifiedModel[] = [];
  for (const target of await trust.targets()) {
    models.push(await verifyModel(dir, target, join(scratch, 'bundle'), signal));
  }
  const agents: VerifiedAgent[] = [];
  for (const arch of ['amd64', 'arm64'] as const)
    for (const version of await trust.releaseVersions(arch))
      agents.push(await verifyAgent(dir, trust, version, arch, signal));
  const root = JSON.parse(await readFile(join(scratch, 'trust', 'root.json'), 'utf8')) as never;
  const { signed } = Metadata.fromJSON(MetadataKind.Root, root);
  return { root: { version: signed.version, expires: signed.expires }, models, agents };
}

async function verifyAgent(
  dir: string,
  trust: Trust,
  version: string,
  arch: ReleaseArch,
  signal: AbortSignal,
): Promise<VerifiedAgent> {
  const { path, sizeBytes, sha256 } = await trust.release(version, arch);
  const agent = { version, arch, sizeBytes, digest: `sha256:${sha256}` };
  const bundle = { name: 'the agent', version, digest: agent.digest };
  const fault = await findFault(signal, async () => {
    const file = join(dir, path);
    const stats = await statArchive(file);
    await checkTarget(file, stats.size, { path, sizeBytes, sha256, bundle, requires: null }, signal);
  });
  return { ...agent, fault };
}

async function verifyModel(
  dir: string,
  target: SignedTarget,
  scratch: string,
  signal: AbortSignal,
): Promise<VerifiedModel> {
  const { name, version, digest } = target.bundle;
  const model = { name, version, digest, sizeBytes: target.sizeBytes };
  const fault = await findFault(signal, async () => {
    const file = join(dir, target.path);
    const stats = await statArchive(file);
    await checkTarget(file, stats.size, target, signal);
    await unpackArchive(file, scratch, BUNDLE_UNPACK_LIMITS, signal);
    const bundle = await openBundle(scratch, { memoryMb: Number.MAX_SAFE_INTEGER, signal });
    if (bundle.digest !== digest || bundle.manifest.name !== name || bundle.manifest.version !== version)
      throw new AgentError('model_trust_mismatch', 'the archive contains another bundle than the signed one');
  }).finally(() => rm(scratch, { recursive: true, force: true }));
  return { ...model, fault };
}

const statArchive = (file: string): Promise<Stats> =>
  stat(file).catch((error: unknown) => {
    throw new AgentError('model_trust_target', 'the archive is not in the repository', { cause: error });
  });

/** Returns the fault with which `check` rejects; null without one. Rejects when the signal aborts. */
async function findFault(signal: AbortSignal, check: () => Promise<void>): Promise<VerifiedModel['fault']> {
  try {
    await check();
    return null;
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = asAgentError(error);
    return { code, message };
  }
}
