import type { Clock } from '../base/clock.ts';
import { withDeadline } from '../base/deadline.ts';
import { AgentError } from '../base/errors.ts';
import { isoTime } from '../base/clock.ts';
import type { Settings } from '../config/schema.ts';
import type { Health } from '../contract/health.ts';
import type { FetchOptions, FetchProgress } from '../model/types.ts';
import { snapshotBefore, type TrialLimits } from './criteria.ts';
import { fromWireDigest, toWireDigest } from './state-view.ts';
import { toPhase } from './transitions.ts';
import type { ReleaseFetcher, UpdateRecord } from './types.ts';
import type { UpdateFiles } from './update-files.ts';
import { isInWindow } from './window.ts';

export interface UpdateRunDeps {
  readonly clock: Clock;
  readonly files: UpdateFiles;
  readonly fetcher: ReleaseFetcher;
  /** The settings at present; the window may change while the agent runs. */
  readonly settings: () => Settings['update'];
  /** The time, ms since the epoch; null while the wall clock is not synchronised. */
  readonly syncedNowMs: () => number | null;
  /** The newest heartbeat. */
  readonly health: () => Promise<Health>;
  /** Stores and publishes the record. Throws `store_failed`. */
  readonly store: (record: UpdateRecord) => UpdateRecord;
  /** Publishes the number of received bytes. */
  readonly reportBytes: (record: UpdateRecord, progress: FetchProgress) => void;
}

const DOWNLOAD_MS = 20 * 3_600_000;
const VERIFY_MS = 30 * 60_000;
const WINDOW_CHECK_MS = 30_000;
/** A slow board needs this time to start and to prove its model. */
const MIN_TRIAL_S = 1800;
/** The largest value that the updater accepts. */
const MAX_TRIAL_S = 172_800;
/** During a trial, the agent captures at least this often. */
const OBSERVATION_S = 60;

/**
 * The agent's own part of an install, from the request to the hand-over. Each phase is stored before its work begins, so
 * that it continues after a restart or a power cut:
 *
 *     requested -> downloading -> verifying -> (waiting) -> installing
 *
 * From `installing` on the updater works; see `followUpdater`.
 */
export class UpdateRun {
  readonly #deps: UpdateRunDeps;

  constructor(deps: UpdateRunDeps) {
    this.#deps = deps;
  }

  /** Rejects with the error that ends the update, or with the reason of the signal. */
  async toHandOver(begun: UpdateRecord, signal: AbortSignal): Promise<void> {
    let record = begun;
    if (record.action === 'install') {
      if (record.phase === 'requested' || record.phase === 'downloading')
        record = await this.#download(record, signal);
      if (record.phase === 'downloading' || record.phase === 'verifying')
        record = await this.#verify(record, signal);
      if (record.automatic) record = await this.#waitForWindow(record, signal);
    }
    await this.handOver(record);
  }

  async #download(record: UpdateRecord, signal: AbortSignal): Promise<UpdateRecord> {
    const { clock, fetcher, store, reportBytes } = this.#deps;
    const begun = store(toPhase(record, 'downloading', clock.nowMs()));
    const onTimeout = (): AgentError =>
      new AgentError('model_transfer_failed', `the download took longer than ${DOWNLOAD_MS / 3_600_000} h`);
    let received: FetchProgress = { bytes: begun.bytes, totalBytes: begun.totalBytes };
    const onProgress = (progress: FetchProgress): void => {
      received = progress;
      reportBytes(begun, progress);
    };
    await withDeadline({ clock, ms: DOWNLOAD_MS, signal, onTimeout }, (until) =>
      fetcher.download(this.#fetchOptions(begun), onProgress, until),
    );
    return { ...begun, ...received };
  }

  async #verify(record: UpdateRecord, signal: AbortSignal): Promise<UpdateRecord> {
    const { clock, fetcher, store } = this.#deps;
    const begun = store(toPhase(record, 'verifying', clock.nowMs()));
    const onTimeout = (): AgentError =>
      new AgentError('model_fetch_crashed', 'the verification of the archive took too long');
    const { digest } = await withDeadline({ clock, ms: VERIFY_MS, signal, onTimeout }, (until) =>
      fetcher.verifyArchive(this.#fetchOptions(begun), until),
    );
    return { ...begun, digest: fromWireDigest(digest) };
  }

  async #waitForWindow(record: UpdateRecord, signal: AbortSignal): Promise<UpdateRecord> {
    const { clock, settings, syncedNowMs, store } = this.#deps;
    let waiting = record;
    for (;;) {
      if (!settings().auto)
        throw new AgentError('command_interrupted', 'update.auto was switched off before the window');
      const nowMs = syncedNowMs();
      if (nowMs !== null && isInWindow(nowMs, settings().window)) return waiting;
      if (waiting.phase !== 'waiting') waiting = store(toPhase(waiting, 'waiting', clock.nowMs()));
      await clock.sleep(WINDOW_CHECK_MS, signal);
    }
  }

  /** Writes the request for the updater. Writing it again changes nothing: the updater handles each id once. */
  async handOver(record: UpdateRecord): Promise<void> {
    const { clock, files, health, store } = this.#deps;
    const before = snapshotBefore(record.id, await health());
    const begun = store(toPhase(record, 'installing', clock.nowMs()));
    const { id, action, version, digest } = begun;
    const isInstall = action === 'install';
    files.writeRequest(
      {
        format: 1,
        id,
        action,
        version: isInstall ? version : null,
        digest: isInstall ? digest : null,
        archive: isInstall && digest !== null ? `${digest}.tar.gz` : null,
        metadata: isInstall ? 'metadata' : null,
        requested_at: isoTime(clock.nowMs()),
        trial_s: trialSeconds(this.#deps.settings().probation),
      },
      before,
    );
  }

  #fetchOptions({ id, version, digest, source }: UpdateRecord): FetchOptions {
    const { settings, syncedNowMs } = this.#deps;
    const { repository, trustRoot } = settings();
    return {
      request: {
        updateId: id,
        name: 'swellsight-edge',
        version,
        digest: toWireDigest(digest),
        source: source ?? { kind: 'repository' },
      },
      repositoryUrl: repository,
      trustRoot,
      allowUnsigned: false,
      maxBytesPerS: 0,
      syncedNowMs: syncedNowMs(),
    };
  }
}

/** How long a trial may take with these criteria. */
const trialSeconds = ({ minutes, observations }: TrialLimits): number =>
  Math.min(MAX_TRIAL_S, Math.ceil(MIN_TRIAL_S + minutes * 60 + observations * OBSERVATION_S));
