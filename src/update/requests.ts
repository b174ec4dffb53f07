import { AgentError } from '../base/errors.ts';
import type { Settings } from '../config/schema.ts';
import type { ModelSource } from '../contract/model.ts';
import { rollbackVersion, type InstalledVersion, type UpdaterState } from '../contract/update-files.ts';
import { parseVersion } from '../model/semver.ts';
import type { InstallSource } from '../model/types.ts';
import { isRunning, type RunningVersion, type WantedUpdate } from './types.ts';

export interface InstallFacts {
  readonly updater: UpdaterState;
  readonly running: RunningVersion;
  readonly settings: Settings['update'];
}

/**
 * Checks before anything is downloaded what the updater would refuse anyway. Returns true when the wanted version runs
 * already. Throws `update_no_repository`, `update_banned`, `update_downgrade`.
 */
export function checkInstall(wanted: WantedUpdate, { updater, running, settings }: InstallFacts): boolean {
  const { version, digest, source } = wanted;
  if (settings.trustRoot === null)
    throw new AgentError('update_no_repository', 'update.trustRoot is not set: no version can be verified');
  if (source?.kind === 'repository' && settings.repository === null)
    throw new AgentError('update_no_repository', 'update.repository is not set');
  if (version === running.version)
    return digest === null || isRunning(running, { version, digest }) || refuseSameVersion(version);
  const ban = updater.banned.find((banned) =>
    digest === null ? banned.version === version : banned.digest === digest,
  );
  if (ban)
    throw new AgentError('update_banned', `version ${version} failed on this device before: ${ban.reason}`);
  if (!isNewer(version, running.version))
    throw new AgentError(
      'update_downgrade',
      `version ${running.version} runs, which is newer than ${version}`,
    );
  return false;
}

function refuseSameVersion(version: string): never {
  throw new AgentError('update_downgrade', `another archive of version ${version} runs already`);
}

/** True when `version` is newer than `than`, by the precedence of semver. */
export function isNewer(version: string, than: string): boolean {
  const [a, b] = [parseVersion(version), parseVersion(than)];
  return a !== null && b !== null && a.compare(b) > 0;
}

/** The version to which a rollback leads. Throws `update_no_previous`. */
export function rollbackTarget(updater: UpdaterState, running: RunningVersion): InstalledVersion {
  if (updater.trial !== null) return updater.trial.former;
  const target = rollbackVersion(updater, (version) => isRunning(running, version));
  if (target !== null) return target;
  throw new AgentError('update_no_previous', `version ${running.version} is the only one on this device`);
}

export const toInstallSource = (source: ModelSource): InstallSource =>
  source.kind === 'repository'
    ? source
    : { kind: source.kind, sizeBytes: source.size_bytes, digest: source.digest };
