import { statfs } from 'node:fs/promises';
import { AgentError } from '../../base/errors.ts';

/** Throws `model_space` when the disk of the folder has less than this many bytes for us. */
export async function ensureSpace(dir: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  throw new AgentError(
    'model_space',
    `the model needs ${mb(neededBytes)} of disk, ${mb(freeBytes)} are free`,
    {
      context: { needed_bytes: neededBytes, free_bytes: freeBytes },
    },
  );
}

/** A full disk as `model_space`; anything else unchanged. */
export function asSpaceError(thrown: unknown): unknown {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : null;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return thrown;
  return new AgentError('model_space', 'the disk is full', { cause: thrown });
}

const mb = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;
