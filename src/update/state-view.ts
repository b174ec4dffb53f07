import { isoTime } from '../base/clock.ts';
import type {
  AgentProgress,
  AgentRelease,
  AgentUpdate,
  AgentUpdateResult,
  AgentVersions,
} from '../contract/agent-update.ts';
import type { InstalledVersion, UpdaterState } from '../contract/update-files.ts';
import { isUnderWay } from './transitions.ts';
import { isRunning, type RunningVersion, type UpdateRecord } from './types.ts';

/* Converts the stored state of updates to payloads of the contract. */

/** The percentage in the retained state is rounded to this step. */
const PERCENT_STEP = 5;

/** The result of the last check for a newer version. */
export interface AutoCheck {
  readonly atMs: number;
  readonly newest: string | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

export interface VersionSources {
  readonly running: RunningVersion;
  /** Null without an updater. */
  readonly updater: UpdaterState | null;
  readonly record: UpdateRecord | null;
  readonly missing: readonly string[];
  readonly isAuto: boolean;
  readonly check: AutoCheck | null;
}

/** `sha256:…` on the wire, 64 digits in the files of the updater. */
export const toWireDigest = (digest: string | null): string | null =>
  digest === null ? null : `sha256:${digest}`;

export const fromWireDigest = (digest: string): string => digest.replace('sha256:', '');

/** The payload of `agent/state`. */
export function toAgentVersions(sources: VersionSources): AgentVersions {
  const { running, updater, record, missing, isAuto, check } = sources;
  const known = updater?.installed.find((release) => isRunning(running, release));
  return {
    schema: 'swellsight.agent_state/1',
    available: updater !== null,
    updater_version: updater?.updater_version ?? null,
    running: { version: running.version, digest: toWireDigest(known?.digest ?? null) },
    last_good: updater?.last_good ? toRelease(updater.last_good) : null,
    factory: updater ? toRelease(updater.factory) : null,
    installed: updater?.installed.map(toRelease) ?? [],
    banned:
      updater?.banned.map(({ version, digest, reason, at }) => ({
        version,
        digest: `sha256:${digest}`,
        reason,
        at,
      })) ?? [],
    update: record && toAgentUpdate(record, missing),
    auto: {
      enabled: isAuto,
      checked_at: check === null ? null : isoTime(check.atMs),
      newest: check?.newest ?? null,
      error: check?.error ?? null,
    },
  };
}

const toRelease = ({ version, digest }: InstalledVersion): AgentRelease => ({
  version,
  digest: `sha256:${digest}`,
});

export function toAgentUpdate(record: UpdateRecord, missing: readonly string[] = []): AgentUpdate {
  const { phase, source, reason } = record;
  const percent = percentOf(record);
  return {
    update_id: record.id,
    action: record.action,
    automatic: record.automatic,
    version: record.version,
    digest: toWireDigest(record.digest),
    source: source?.kind ?? null,
    phase,
    in_progress: isUnderWay(record),
    reason: reason && { code: reason.code, message: reason.message },
    bytes: record.bytes,
    total_bytes: record.totalBytes,
    percent: percent === null ? null : Math.floor(percent / PERCENT_STEP) * PERCENT_STEP,
    started_at: isoTime(record.startedAtMs),
    at: isoTime(record.phaseAtMs),
    waiting_for: phase === 'trial' ? [...missing] : [],
  };
}

export const toAgentProgress = (record: UpdateRecord): AgentProgress => ({
  schema: 'swellsight.agent_progress/1',
  update_id: record.id,
  phase: record.phase,
  bytes: record.bytes,
  total_bytes: record.totalBytes,
  percent: percentOf(record),
});

export const toUpdateResult = ({ id, version, digest }: UpdateRecord): AgentUpdateResult => ({
  update_id: id,
  version,
  digest: toWireDigest(digest),
});

function percentOf({ phase, bytes, totalBytes }: UpdateRecord): number | null {
  if (phase !== 'downloading' || totalBytes === null) return null;
  return totalBytes === 0 ? 100 : Math.min(100, Math.round((1000 * bytes) / totalBytes) / 10);
}
