import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { openBundle, type OpenBundleOptions } from '../bundle/bundle.ts';
import type { Bundle } from '../manifest.ts';
import { parseVersion } from '../semver.ts';

/** The bundle that ships with the agent. It needs no network, and it is the last choice when other models fail. */
const FACTORY_NAME = 'swellsight-factory';

export interface ActiveModelOptions extends OpenBundleOptions {
  /** Directory of the shipped bundles, with subdirectories `name/version`. */
  readonly shippedDir: string;
  /** More directories with the same layout. They are searched before `shippedDir`. A missing directory is skipped. */
  readonly installedDirs: readonly string[];
  /** The requested bundle as `name/version`, or null for the factory bundle. */
  readonly active: string | null;
}

export interface ActiveModel {
  readonly bundle: Bundle;
  readonly slot: 'active' | 'factory';
  /** Why `bundle` is the factory bundle instead of the requested one; null when `bundle` is the requested one. */
  readonly fallback: AgentError | null;
}

/**
 * Opens the requested bundle. When that fails, opens the factory bundle instead and returns the reason, so that a
 * device with a damaged model still has a model. Throws the errors of `openBundle` only when the factory bundle itself
 * cannot be opened.
 */
export async function resolveActiveModel(options: ActiveModelOptions): Promise<ActiveModel> {
  const { active, shippedDir, installedDirs } = options;
  if (active === null) return { bundle: await openFactoryBundle(options), slot: 'factory', fallback: null };
  try {
    const bundle = await openNamedBundle(active, [...installedDirs, shippedDir], options);
    return { bundle, slot: 'active', fallback: null };
  } catch (error) {
    options.signal?.throwIfAborted();
    const fallback = asAgentError(error);
    return { bundle: await openFactoryBundle(options, fallback), slot: 'factory', fallback };
  }
}

/** The shipped bundle: its reference and its directory. */
export interface FactoryModel {
  readonly ref: ModelRef;
  readonly dir: string;
}

/** Stands for a shipped bundle that cannot be read. No real bundle has this digest. */
const UNREADABLE_FACTORY: ModelRef = { name: 'none', version: '0.0.0', digest: `sha256:${'0'.repeat(64)}` };

/**
 * Reads the newest shipped bundle. When it cannot be read, logs the reason and returns `UNREADABLE_FACTORY`, because an
 * agent with a damaged factory bundle can still run an installed model. Rejects only when the signal fires.
 */
export async function readFactoryModel(
  { shippedDir }: Pick<ActiveModelOptions, 'shippedDir'>,
  { log }: { readonly log: Log },
  signal: AbortSignal,
): Promise<FactoryModel> {
  try {
    const { manifest, digest, dir } = await openFactoryBundle({ shippedDir, signal });
    return { ref: { name: manifest.name, version: manifest.version, digest }, dir };
  } catch (thrown) {
    signal.throwIfAborted();
    log.error({ err: asAgentError(thrown) }, 'cannot read the factory model');
    return { ref: UNREADABLE_FACTORY, dir: shippedDir };
  }
}

/** Opens the newest shipped bundle. `cause` is the cause of the error when there is none. */
export async function openFactoryBundle(
  options: OpenBundleOptions & Pick<ActiveModelOptions, 'shippedDir'>,
  cause?: AgentError,
): Promise<Bundle> {
  const [newest] = await listVersions(join(options.shippedDir, FACTORY_NAME));
  if (newest === undefined) {
    throw new AgentError('model_not_found', 'the shipped model is missing', {
      context: { dir: options.shippedDir },
      cause,
    });
  }
  return openBundle(join(options.shippedDir, FACTORY_NAME, newest), options);
}

/** Opens the bundle `name/version` in the first of `roots` that has it. Throws `model_not_found` as `openBundle`. */
export async function openNamedBundle(
  active: string,
  roots: readonly string[],
  options: OpenBundleOptions,
): Promise<Bundle> {
  const [name = '', version = '', ...rest] = active.split('/');
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name) || !parseVersion(version) || rest.length > 0) {
    throw new AgentError('model_not_found', `model.active is ${JSON.stringify(active)}, not name/version`);
  }
  for (const root of roots) {
    if (!(await listVersions(join(root, name))).includes(version)) continue;
    const bundle = await openBundle(join(root, name, version), options);
    const { name: ownName, version: ownVersion } = bundle.manifest;
    if (ownName === name && ownVersion === version) return bundle;
    throw new AgentError(
      'model_manifest_invalid',
      `the manifest of ${active} names ${ownName}/${ownVersion} instead`,
    );
  }
  throw new AgentError('model_not_found', `bundle ${active} does not exist`, { context: { active } });
}

/** Names of the version directories in `dir`, the newest version first; empty when `dir` does not exist. */
async function listVersions(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new AgentError('model_not_found', 'the models directory cannot be read', {
      context: { dir },
      cause: error,
    });
  });
  return names
    .flatMap((name) => parseVersion(name) ?? [])
    .sort((a, b) => b.compare(a))
    .map(({ raw }) => raw);
}
