import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { packFiles } from '../archive/pack.ts';
import { signedTarget, type SignedTarget } from '../trust/target.ts';
import { metadataPath } from './files.ts';
import { Repository, type RepositoryOptions } from './repository.ts';

export interface ExportedTarget {
  readonly target: SignedTarget;
  /** Of the written file. */
  readonly sizeBytes: number;
  /** `sha256:…` of the written file, for `model.install`. */
  readonly digest: string;
}

/**
 * Writes the `.tar` that a device receives over MQTT: all metadata from the first root on, and one archive. The same
 * repository gives the same bytes. Throws `model_trust_target` when there is no such model, `repo_damaged`, `repo_missing`.
 */
export async function exportTarget(
  options: RepositoryOptions,
  name: string,
  version: string,
  file: string,
  signal: AbortSignal,
): Promise<ExportedTarget> {
  const { root, targets, snapshot } = await (await Repository.open(options)).read();
  const target = signedTarget(targets.signed.targets, name, version, true);
  const roots = Array.from({ length: root.signed.version }, (_, index) => metadataPath('root', index + 1));
  const paths = [
    ...roots,
    metadataPath('timestamp', 0),
    metadataPath('snapshot', snapshot.signed.version),
    metadataPath('targets', targets.signed.version),
    target.path,
  ];
  try {
    const { sizeBytes, sha256 } = await packFiles(options.dir, paths, file, signal);
    return { target, sizeBytes, digest: `sha256:${sha256}` };
  } catch (error) {
    if (errorCode(error) === 'ENOENT')
      throw new AgentError('repo_damaged', 'a file of the repository is missing', { cause: error });
    throw error;
  }
}
