import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../base/atomic-file.ts';
import { AgentError } from '../../base/errors.ts';
import { MAX_METADATA_BYTES, MAX_NEW_ROOTS, type MetadataSource, type TopRole } from './metadata-source.ts';

/**
 * Copies the metadata that `Trust.refresh` has just verified into a directory, under the names that they have in the
 * repository, so that another TUF client with an older state can verify them again. Adds all earlier roots of the
 * repository, because that client may need each of them. Replaces the directory.
 */
export async function exportMetadata(
  { trustDir, intoDir }: { readonly trustDir: string; readonly intoDir: string },
  source: MetadataSource,
  signal: AbortSignal,
): Promise<void> {
  await rm(intoDir, { recursive: true, force: true });
  await mkdir(intoDir, { recursive: true, mode: 0o750 });
  const copy = async (role: TopRole): Promise<number> => {
    const bytes = await readFile(join(trustDir, `${role}.json`));
    const { signed } = JSON.parse(bytes.toString('utf8')) as { signed: { version: unknown } };
    const version = Number(signed.version);
    const name = role === 'timestamp' ? 'timestamp.json' : `${String(version)}.${role}.json`;
    await writeFile(join(intoDir, name), bytes, { flush: true });
    return version;
  };
  const rootVersion = await copy('root');
  await copy('timestamp');
  await copy('snapshot');
  await copy('targets');
  if (rootVersion > MAX_NEW_ROOTS)
    throw new AgentError('model_trust_root', `the repository has more than ${String(MAX_NEW_ROOTS)} roots`);
  for (let version = 1; version < rootVersion; version += 1) {
    const name = `${String(version)}.root.json`;
    const bytes = await source.fetch(`metadata/${name}`, MAX_METADATA_BYTES.root, signal);
    if (bytes !== null && bytes.length <= MAX_METADATA_BYTES.root)
      await writeFile(join(intoDir, name), bytes, { flush: true });
  }
  syncDirectory(intoDir);
}
