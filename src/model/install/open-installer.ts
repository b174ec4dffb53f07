import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { Settings } from '../../config/schema.ts';
import type { ModelProgress } from '../../contract/model.ts';
import type { ModelRef } from '../../contract/observation.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { openBundle } from '../bundle/bundle.ts';
import { Fetcher } from '../fetch/fetcher.ts';
import type { InstallerDeps } from './types.ts';
import { Installer } from './install.ts';
import type { SlotStore } from '../slots/store.ts';
import { resolveActive } from '../slots/slots.ts';
import type { BlockSource, ModelHost } from '../types.ts';
import type { RaiseEvent } from '../../store/types.ts';

export interface InstallsOptions {
  readonly stateDir: string;
  readonly model: Settings['model'];
  /** Folder of the bundles that ship with the agent. */
  readonly shippedDir: string;
}

export interface InstallsDeps {
  readonly slots: SlotStore;
  readonly host: ModelHost;
  readonly blocks: BlockSource;
  readonly forecast: InstallerDeps['forecast'];
  /** The settings in force, which may change while it works. */
  readonly model: () => Settings['model'];
  /** ms since the epoch; null while the wall clock cannot be believed. */
  readonly syncedNowMs: () => number | null;
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  readonly onState: () => void;
  readonly onProgress: (progress: ModelProgress) => void;
}

/** Stands for a shipped bundle that cannot be read: nothing has this digest. */
const NO_FACTORY: ModelRef = { name: 'none', version: '0.0.0', digest: `sha256:${'0'.repeat(64)}` };

/** The parts that install models, put together. Works on nothing yet. */
export async function openInstaller(
  options: InstallsOptions,
  deps: InstallsDeps,
  signal: AbortSignal,
): Promise<Installer> {
  const { stateDir, model, shippedDir } = options;
  const { slots, host, blocks, forecast, clock, log, raise, onState, onProgress } = deps;
  const shipped = await factoryBundle(shippedDir, log, signal);
  const fetcher = new Fetcher({ dir: join(stateDir, 'models') }, { blocks, log });
  return new Installer(
    {
      factory: shipped.ref,
      factoryDir: shipped.dir,
      pinned: model.active !== null,
      // Read when a probation begins.
      probation: {
        get observations() {
          return deps.model().probation.observations;
        },
        get minutes() {
          return deps.model().probation.minutes;
        },
      },
    },
    {
      slots,
      fetcher,
      host,
      fetchOptions: (request) => ({
        request,
        repositoryUrl: model.repository,
        trustRoot: model.trustRoot,
        allowUnsigned: model.allowUnsigned,
        maxBytesPerS: 1000 * (deps.model().maxKbPerS ?? 0),
        syncedNowMs: deps.syncedNowMs(),
      }),
      openBundle: (dir, until) => openBundle(dir, { signal: until }),
      forecast,
      clock,
      log,
      raise,
      onState,
      onProgress,
    },
  );
}

/** An agent whose shipped bundle is broken still runs what was installed. */
async function factoryBundle(
  shippedDir: string,
  log: Log,
  signal: AbortSignal,
): Promise<{ readonly ref: ModelRef; readonly dir: string }> {
  try {
    const { bundle } = await resolveActive({ shippedDir, installedDirs: [], active: null, signal });
    const { manifest, digest, dir } = bundle;
    return { ref: { name: manifest.name, version: manifest.version, digest }, dir };
  } catch (thrown) {
    signal.throwIfAborted();
    log.error({ err: asAgentError(thrown) }, 'the shipped model cannot be read');
    return { ref: NO_FACTORY, dir: shippedDir };
  }
}
