import { errorCode } from '../../base/disk-errors.ts';
import { AgentError } from '../../base/errors.ts';
import { packFiles } from '../archive/pack.ts';
import { signedTarget, type SignedTarget } from '../trust/target.ts';
import { metadataPath } from './files.ts';
import { Repository, type RepositoryOptions } from './repository.ts';

export interface ExportedTarget {
  readonly target: SignedTarget;
  /** Size of the written file. */
  readonly sizeBytes: number;
  /** Digest (`sha256:…`) of the written file, for the command `model.install`. */
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
