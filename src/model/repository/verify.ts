import { Metadata, MetadataKind } from '@tufjs/models';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentError, asAgentError, isAbort, type ErrorCode } from '../../base/errors.ts';
import { unpackArchive } from '../archive/archive.ts';
import { BUNDLE_LIMITS } from '../bundle/files.ts';
import { openBundle } from '../bundle/bundle.ts';
import { folderSource } from '../trust/source.ts';
import { checkTarget, type SignedTarget } from '../trust/target.ts';
import { Trust } from '../trust/trust.ts';
import { metadataPath, newestRoot } from './files.ts';

export interface VerifyOptions {
  readonly dir: string;
  /** The root that devices have pinned; the first of the repository otherwise. */
  readonly rootFile: string | null;
  /** What expiry is held against, ms since the epoch. */
  readonly nowMs: number;
}

export interface VerifiedModel {
  readonly name: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly digest: string;
  /** Null when a device would take it. */
  readonly fault: { readonly code: ErrorCode; readonly message: string } | null;
}

export interface VerifyReport {
  readonly root: { readonly version: number; readonly expires: string };
  readonly models: readonly VerifiedModel[];
}

/**
 * Looks at a repository as a device would that has pinned the root and knows nothing else: metadata, then each archive and the
 * bundle in it. Throws as `Trust.refresh` when the metadata themselves are refused.
 */
export async function verifyRepository(options: VerifyOptions, signal: AbortSignal): Promise<VerifyReport> {
  const { dir } = options;
  if ((await newestRoot(dir)) === 0) throw new AgentError('repo_missing', `${dir} is no repository`);
  const scratch = await mkdtemp(join(tmpdir(), 'swellsight-verify-'));
  try {
    const trust = new Trust({
      dir: join(scratch, 'trust'),
      rootFile: options.rootFile ?? join(dir, metadataPath('root', 1)),
      syncedNowMs: options.nowMs,
    });
    await trust.refresh(folderSource(dir), signal);
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
    const size = await stat(file).catch((error: unknown) => {
      throw new AgentError('model_trust_target', 'its archive is not in the repository', { cause: error });
    });
    await checkTarget(file, size.size, target, signal);
    const limits = {
      maxBytes: BUNDLE_LIMITS.totalBytes,
      maxFiles: BUNDLE_LIMITS.files,
      layout: 'bundle',
    } as const;
    await unpackArchive(file, scratch, limits, signal);
    const bundle = await openBundle(scratch, { memoryMb: Number.MAX_SAFE_INTEGER, signal });
    if (bundle.digest !== digest || bundle.manifest.name !== name || bundle.manifest.version !== version)
      throw new AgentError('model_trust_mismatch', 'the archive holds another bundle than was signed for');
    return { ...model, fault: null };
  } catch (error) {
    if (isAbort(error)) throw error;
    const { code, message } = asAgentError(error);
    return { ...model, fault: { code, message } };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
