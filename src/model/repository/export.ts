import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { packFiles } from '../archive/pack.ts';
import { signedRelease, type ReleaseArch, type SignedRelease } from '../trust/release-target.ts';
import { signedTarget, type SignedTarget } from '../trust/target.ts';
import { metadataPath } from './files.ts';
import { Repository, type CurrentMetadata, type RepositoryOptions } from './repository.ts';

export interface ExportedTarget<T = SignedTarget> {
  readonly target: T;
  /** Size of the written file. */
  readonly sizeBytes: number;
  /** Digest (`sha256:…`) of the written file, for the commands `model.install` and `agent.install`. */
  readonly digest: string;
}

/**
 * Writes the `.tar` file that a device receives over MQTT: all metadata, beginning with the first root, and the archive
 * of one model. The same repository always gives the same bytes. Throws `model_trust_target` when there is no such
 * model, `repo_damaged`, `repo_missing`.
 */
export async function exportTarget(
  options: RepositoryOptions,
  name: string,
  version: string,
  file: string,
  signal: AbortSignal,
): Promise<ExportedTarget> {
  const current = await (await Repository.open(options)).read();
  return pack(
    options,
    current,
    signedTarget(current.targets.signed.targets, name, version, true),
    file,
    signal,
  );
}

/** As `exportTarget`, for one version of the agent. */
export async function exportAgent(
  options: RepositoryOptions,
  version: string,
  arch: ReleaseArch,
  file: string,
  signal: AbortSignal,
): Promise<ExportedTarget<SignedRelease>> {
  const current = await (await Repository.open(options)).read();
  return pack(
    options,
    current,
    signedRelease(current.targets.signed.targets, version, arch, true),
    file,
    signal,
  );
}

async function pack<T extends { readonly path: string }>(
  { dir }: RepositoryOptions,
  { root, targets, snapshot }: CurrentMetadata,
  target: T,
  file: string,
  signal: AbortSignal,
): Promise<ExportedTarget<T>> {
  const roots = Array.from({ length: root.signed.version }, (_, index) => metadataPath('root', index + 1));
  const paths = [
    ...roots,
    metadataPath('timestamp', 0),
    metadataPath('snapshot', snapshot.signed.version),
    metadataPath('targets', targets.signed.version),
    target.path,
  ];
  try {
    const { sizeBytes, sha256 } = await packFiles(dir, paths, file, signal);
    return { target, sizeBytes, digest: `sha256:${sha256}` };
  } catch (error) {
    if (errorCode(error) === 'ENOENT')
      throw new AgentError('repo_damaged', 'a file of the repository is missing', { cause: error });
    throw error;
  }
}
