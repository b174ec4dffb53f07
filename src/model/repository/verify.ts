import { Metadata, MetadataKind } from '@tufjs/models';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentError, asAgentError, isAbort, type ErrorCode } from '../../base/errors.ts';
import { BUNDLE_UNPACK_LIMITS, unpackArchive } from '../archive/unpack.ts';
import { openBundle } from '../bundle/bundle.ts';
import { directorySource } from '../trust/metadata-source.ts';
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

export interface VerifyReport {
  readonly root: { readonly version: number; readonly expires: string };
  readonly models: readonly VerifiedModel[];
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
  try {
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
    const root = JSON.parse(await readFile(join(scratch, 'trust', 'root.json'), 'utf8')) as never;
    const { signed } = Metadata.fromJSON(MetadataKind.Root, root);
    return { root: { version: signed.version, expires: signed.expires }, models };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function verifyModel(
  dir: string,
  target: SignedTarget,
  scratch: string,
  signal: AbortSignal,
): Promise<VerifiedModel> {
  const { name, version, digest } = target.bundle;
  const model = { name, version, digest, sizeBytes: target.sizeBytes };
  try {
    const file = join(dir, target.path);
    const stats = await stat(file).catch((error: unknown) => {
      throw new AgentError('model_trust_target', 'the archive is not in the repository', { cause: error });
    });
    await checkTarget(file, stats.size, target, signal);
    await unpackArchive(file, scratch, BUNDLE_UNPACK_LIMITS, signal);
    const bundle = await openBundle(scratch, { memoryMb: Number.MAX_SAFE_INTEGER, signal });
    if (bundle.digest !== digest || bundle.manifest.name !== name || bundle.manifest.version !== version)
      throw new AgentError('model_trust_mismatch', 'the archive contains another bundle than the signed one');
    return { ...model, fault: null };
  } catch (error) {
    if (isAbort(error)) throw error;
    const { code, message } = asAgentError(error);
    return { ...model, fault: { code, message } };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
