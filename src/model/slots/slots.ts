import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { openBundle, type OpenBundleOptions } from '../bundle/bundle.ts';
import type { Bundle } from '../manifest.ts';
import { compareVersions, parseVersion } from '../semver.ts';

/** The bundle that ships with the agent; it needs no network and is what everything falls back to. */
const FACTORY_NAME = 'swellsight-factory';

export interface ResolveOptions extends OpenBundleOptions {
  /** Folder of the shipped bundles, `name/version` below it. */
  readonly shippedDir: string;
  /** Further folders of the same shape, looked through first; one that does not exist is passed over. */
  readonly installedDirs: readonly string[];
  /** `name/version`, or null for the factory bundle. */
  readonly active: string | null;
}

export interface ActiveModel {
  readonly bundle: Bundle;
  readonly slot: 'active' | 'factory';
  /** Why the wanted bundle is not the one in use; null when it is. */
  readonly fallback: AgentError | null;
}

/**
 * Opens the wanted bundle, or the factory bundle with the reason, so that a broken model never leaves a device without
 * one. Throws as `openBundle` does only when the factory bundle itself is broken.
 */
export async function resolveActive(options: ResolveOptions): Promise<ActiveModel> {
  if (options.active === null) return factory(options, null);
  try {
    return { bundle: await openNamed(options.active, options), slot: 'active', fallback: null };
  } catch (error) {
    options.signal?.throwIfAborted();
    return factory(options, asAgentError(error));
  }
}

async function factory(options: ResolveOptions, fallback: AgentError | null): Promise<ActiveModel> {
  const versions = await versionsOf(join(options.shippedDir, FACTORY_NAME));
  const newest = versions[0];
  if (newest === undefined) {
    throw new AgentError('model_not_found', 'the shipped model is missing', {
      context: { dir: options.shippedDir },
      cause: fallback,
    });
  }
  const bundle = await openBundle(join(options.shippedDir, FACTORY_NAME, newest), options);
  return { bundle, slot: 'factory', fallback };
}

async function openNamed(active: string, options: ResolveOptions): Promise<Bundle> {
  const [name = '', version = '', ...rest] = active.split('/');
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name) || !parseVersion(version) || rest.length > 0) {
    throw new AgentError('model_not_found', `model.active is ${JSON.stringify(active)}, not name/version`);
  }
  for (const root of [...options.installedDirs, options.shippedDir]) {
    if (!(await versionsOf(join(root, name))).includes(version)) continue;
    const bundle = await openBundle(join(root, name, version), options);
    const { name: ownName, version: ownVersion } = bundle.manifest;
    if (ownName === name && ownVersion === version) return bundle;
    throw new AgentError('model_manifest_invalid', `${active} calls itself ${ownName}/${ownVersion}`);
  }
  throw new AgentError('model_not_found', `there is no bundle ${active}`, { context: { active } });
}

/** Names of the version folders, newest first; empty when the folder does not exist. */
async function versionsOf(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new AgentError('model_not_found', 'the folder of models cannot be read', {
      context: { dir },
      cause: error,
    });
  });
  return names
    .map((name) => ({ name, version: parseVersion(name) }))
    .flatMap(({ name, version }) => (version ? [{ name, version }] : []))
    .sort((a, b) => compareVersions(b.version, a.version))
    .map(({ name }) => name);
}
