import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import type { Terminal } from '../terminal.ts';

/**
 * Hands on the folder of a bundle: `path` itself, or what its archive unpacks to, which is removed afterwards. Throws
 * `model_not_found`, and for an archive `model_archive_refused`, `model_too_large` and `model_space`.
 */
export async function withBundle<T>(
  path: string,
  terminal: Terminal,
  use: (dir: string) => Promise<T>,
): Promise<T> {
  const place = resolve(terminal.cwd, path);
  const found = await stat(place).catch((cause: unknown) => {
    throw new AgentError('model_not_found', `there is no ${path}`, { cause });
  });
  if (!found.isFile()) return use(place);
  const { unpackArchive } = await import('../../model/archive/unpack.ts');
  const { BUNDLE_LIMITS } = await import('../../model/bundle/files.ts');
  const folder = await mkdtemp(join(tmpdir(), 'swellsight-model-'));
  try {
    const dir = join(folder, 'bundle');
    const { totalBytes: maxBytes, files: maxFiles } = BUNDLE_LIMITS;
    await unpackArchive(place, dir, { maxBytes, maxFiles, layout: 'bundle' }, terminal.signal);
    return await use(dir);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `4.7 MB` */
export const sizePhrase = (bytes: number): string =>
  bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
