// Types of scripts/setup.mjs, which is plain JavaScript because an old Node runs it.
import type { SpawnSyncOptions, SpawnSyncReturns } from 'node:child_process';

export const root: string;
/** The version of Node that set-up fetches and that packages contain. */
export const NODE_VERSION: string;
/** npm's integrity of the package of that version, such as `sha512-…`, by platform and architecture. */
export const NODE_INTEGRITY: Readonly<Record<'linux-x64' | 'linux-arm64', string>>;
/**
 * Fetches the package of the Node runtime into a directory. Returns the path of the binary. Throws when the package has
 * another integrity.
 */
export function fetchNode(directory: string, platform: string, integrity: string): string;
/** Runs npm under a given Node, in the checkout unless `cwd` is given. Throws when it fails. */
export function npm(
  node: string,
  args: readonly string[],
  options?: Pick<SpawnSyncOptions, 'cwd' | 'stdio' | 'encoding' | 'maxBuffer'>,
): SpawnSyncReturns<string>;
