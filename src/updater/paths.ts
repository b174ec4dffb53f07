import { join } from 'node:path';
import type { InstalledVersion } from '../contract/update-files.ts';

/** The places that the updater works on. */
export interface UpdaterPaths {
  /** Holds `versions/`, the link `current` and `updater/`. */
  readonly root: string;
  /** The updater's own state. Root writes it, everyone may read it. */
  readonly state: string;
  /** Where the agent writes requests. The service user owns it, so nothing in it can be trusted. */
  readonly requests: string;
  /** Holds the lock. In memory, so that a reboot releases it. */
  readonly run: string;
  /** The TUF root that the updater trusts. */
  readonly rootFile: string;
  /** The configuration file of the agent, for the preflight. */
  readonly config: string;
}

export const DEFAULT_PATHS: UpdaterPaths = {
  root: '/opt/swellsight',
  state: '/var/lib/swellsight-updater',
  requests: '/var/lib/swellsight/update',
  run: '/run/swellsight-updater',
  rootFile: '/opt/swellsight/updater/agent-root.json',
  config: '/etc/swellsight/swellsight.yaml',
};

/** The directory of a version below the root; also the target of the link `current`. */
export const versionPath = ({ version, digest }: InstalledVersion): string =>
  `versions/${version}-${digest.slice(0, 12)}`;

/** The programs of a version. */
export const nodeOf = (root: string, version: InstalledVersion): string =>
  join(root, versionPath(version), 'node/bin/node');
export const mainOf = (root: string, version: InstalledVersion): string =>
  join(root, versionPath(version), 'dist/main.js');
