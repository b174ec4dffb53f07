import { statfs } from 'node:fs/promises';
import { isDiskFull } from '../base/disk-errors.ts';
import { AgentError } from '../base/errors.ts';

/** Throws `model_space` when fewer than `neededBytes` are free in the file system of the directory. */
export async function ensureSpace(dir: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  throw new AgentError(
    'model_space',
    `the model needs ${megabytes(neededBytes)} of disk space, ${megabytes(freeBytes)} are free`,
    { context: { needed_bytes: neededBytes, free_bytes: freeBytes } },
  );
}

/** Converts the error of a full disk or of an exceeded quota to `model_space`. Returns any other error unchanged. */
export const asSpaceError = (thrown: unknown): unknown =>
  isDiskFull(thrown) ? new AgentError('model_space', 'the disk is full', { cause: thrown }) : thrown;

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;
