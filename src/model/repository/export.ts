import { AgentError } from '../../base/errors.ts';
import { packFiles } from '../archive/archive.ts';
import { signedTarget, targetName, type SignedTarget } from '../trust/target.ts';
import { metadataPath } from './files.ts';
import { Repository, type RepositoryOptions } from './repository.ts';

export interface Exported {
  readonly target: SignedTarget;
  /** Of the file that was written. `digest`: `sha256:…` of its bytes, as `model.install` wants it. */
  readonly sizeBytes: number;
  readonly digest: string;
}

/**
 * Writes the `.tar` that goes over MQTT: the metadata that a device needs, from the first root on, and one archive. The same
 * repository gives the same bytes. Throws `model_trust_target` when there is no such model, `repo_damaged`, `repo_missing`.
 */
export async function exportTarget(
  options: RepositoryOptions,
  name: string,
  version: string,
  file: string,
  signal: AbortSignal,
): Promise<Exported> {
  const { root, targets, snapshot } = await (await Repository.open(options)).read();
  const known = targets.signed.targets;
  const path = targetName(name, version);
  const target = signedTarget(Object.hasOwn(known, path) ? known[path] : undefined, name, version, true);
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
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw new AgentError('repo_damaged', 'a file of the repository is missing', { cause: error });
    throw error;
  }
}
