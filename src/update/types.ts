import type { ErrorCode } from '../base/errors.ts';
import type { AgentUpdate, UpdatePhase } from '../contract/agent-update.ts';
import type { FetchOptions, FetchProgress, InstallSource, SlotRef } from '../model/types.ts';

export interface UpdateReason {
  readonly code: ErrorCode;
  readonly message: string;
}

/** The stored state of the current update of the agent, or of the last one. */
export interface UpdateRecord {
  readonly format: 1;
  /** UUID of this update, also for the updater. */
  readonly id: string;
  readonly action: AgentUpdate['action'];
  readonly automatic: boolean;
  /** The version that the update leads to. */
  readonly version: string;
  /** Digest of its archive, 64 hexadecimal digits; null until it is known. */
  readonly digest: string | null;
  /** Null for a rollback. */
  readonly source: InstallSource | null;
  /** The command that gets the result; null without one. */
  readonly commandId: string | null;
  readonly phase: UpdatePhase;
  readonly reason: UpdateReason | null;
  readonly startedAtMs: number;
  readonly phaseAtMs: number;
  /** Received bytes, and total bytes of the download; the total is null until it is known. */
  readonly bytes: number;
  readonly totalBytes: number | null;
}

/** What a new update needs to know. */
export interface WantedUpdate extends Pick<
  UpdateRecord,
  'action' | 'automatic' | 'version' | 'digest' | 'source'
> {
  readonly ids?: UpdateIds;
}

export interface UpdateIds {
  readonly updateId: string;
  readonly commandId: string;
}

/** The state of the device when it hands a version over to the updater. A trial is compared with it. */
export interface BeforeUpdate {
  readonly format: 1;
  /** The update. */
  readonly id: string;
  readonly degraded: readonly string[];
  readonly connected: boolean;
  /** True when at least one camera delivered frames. */
  readonly camera_up: boolean;
}

/** Downloads and verifies a version of the agent. See `Fetcher`. */
export interface ReleaseFetcher {
  download(
    options: FetchOptions,
    onProgress: (progress: FetchProgress) => void,
    signal: AbortSignal,
  ): Promise<void>;
  verifyArchive(options: FetchOptions, signal: AbortSignal): Promise<SlotRef>;
  newest(options: FetchOptions, signal: AbortSignal): Promise<SlotRef | null>;
  discard(updateId: string): Promise<void>;
}

/** The version that runs. */
export interface RunningVersion {
  readonly version: string;
  /** The first twelve digits of the digest of its archive; null for a checkout and in a container. */
  readonly digestPrefix: string | null;
}

/** Reads the running version from the name of its directory, `{version}-{first 12 digits of the digest}`. */
export function runningVersion(version: string, installationDir: string): RunningVersion {
  const name = installationDir.replace(/\/+$/, '').split('/').at(-1) ?? '';
  const isVersionDir = name.startsWith(`${version}-`) && name.length === version.length + 13;
  const prefix = name.slice(-12);
  return { version, digestPrefix: isVersionDir && /^[0-9a-f]{12}$/.test(prefix) ? prefix : null };
}

/** True when this release is the running one. */
export const isRunning = (
  { version, digestPrefix }: RunningVersion,
  release: { readonly version: string; readonly digest: string },
): boolean =>
  release.version === version && (digestPrefix === null || release.digest.startsWith(digestPrefix));
