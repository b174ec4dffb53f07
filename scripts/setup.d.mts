// Types of scripts/setup.mjs, which is plain JavaScript because an old Node runs it.
import type { SpawnSyncOptions, SpawnSyncReturns } from 'node:child_process';

export const root: string;
/** The version of Node that set-up fetches and that packages contain. */
export const NODE_VERSION: string;
/** Runs npm under a given Node, in the checkout unless `cwd` is given. Throws when it fails. */
export function npm(
  node: string,
  args: readonly string[],
  options?: Pick<SpawnSyncOptions, 'cwd' | 'stdio' | 'encoding' | 'maxBuffer'>,
): SpawnSyncReturns<string>;
