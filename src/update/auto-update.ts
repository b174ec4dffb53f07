import type { Clock } from '../base/clock.ts';
import { asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { randomUUID } from 'node:crypto';
import type { Settings } from '../config/schema.ts';
import { isNewer } from './requests.ts';
import { fromWireDigest } from './state-view.ts';
import type { ReleaseFetcher } from './types.ts';
import type { Updates } from './updates.ts';
import { isInWindow, windowMinutes } from './window.ts';

export interface AutoUpdateDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly settings: () => Settings['update'];
  readonly syncedNowMs: () => number | null;
  readonly fetcher: ReleaseFetcher;
  readonly updates: Updates;
}

const TICK_MS = 60_000;
const NEXT_CHECK_MS = 6 * 3_600_000;
/** The devices of a fleet check at different times: within this time after the window opens, but in its first half. */
const MAX_SPREAD_MS = 30 * 60_000;
/** A version that failed for another reason than its bytes is tried again after this time. */
const RETRY_FAILED_MS = 20 * 3_600_000;

/** With `update.auto`, installs the newest version of the repository. It begins and restarts only in the window. */
export class AutoUpdate {
  readonly #deps: AutoUpdateDeps;
  #nextMonoMs: number | null = null;

  constructor(deps: AutoUpdateDeps) {
    this.#deps = deps;
  }

  /** Rejects when the signal fires. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock } = this.#deps;
    for (;;) {
      await clock.sleep(TICK_MS, signal);
      if (this.#isDue()) await this.#check(signal);
    }
  }

  #isDue(): boolean {
    const { clock, random, settings, syncedNowMs, updates } = this.#deps;
    const { auto, window, repository, trustRoot } = settings();
    const nowMs = syncedNowMs();
    // A wrong clock makes the window and the expiry of the metadata wrong.
    if (!auto || nowMs === null || !isInWindow(nowMs, window)) {
      this.#nextMonoMs = null;
      return false;
    }
    const spreadMs = Math.min(MAX_SPREAD_MS, (windowMinutes(window) * 60_000) / 2);
    this.#nextMonoMs ??= clock.monoMs() + random() * spreadMs;
    return clock.monoMs() >= this.#nextMonoMs && updates.isIdle && repository !== null && trustRoot !== null;
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { clock, fetcher, log, settings, syncedNowMs, updates } = this.#deps;
    this.#nextMonoMs = clock.monoMs() + NEXT_CHECK_MS;
    const { repository, trustRoot } = settings();
    const request = {
      updateId: randomUUID(),
      name: 'swellsight-edge',
      version: '0.0.0',
      digest: null,
      source: { kind: 'repository' },
    } as const;
    try {
      const newest = await fetcher.newest(
        {
          request,
          repositoryUrl: repository,
          trustRoot,
          allowUnsigned: false,
          maxBytesPerS: 0,
          syncedNowMs: syncedNowMs(),
        },
        signal,
      );
      updates.noteCheck({ atMs: clock.nowMs(), newest: newest?.version ?? null, error: null });
      if (newest !== null) this.#beginIfNewer(newest.version, fromWireDigest(newest.digest));
    } catch (thrown) {
      signal.throwIfAborted();
      const { code, message } = asAgentError(thrown);
      log.warn({ err: thrown }, 'cannot check for a newer version of the agent');
      updates.noteCheck({ atMs: clock.nowMs(), newest: null, error: { code, message } });
    }
  }

  #beginIfNewer(version: string, digest: string): void {
    const { clock, updates } = this.#deps;
    const { updater, lastRecord, running } = updates;
    if (!updates.isIdle || !isNewer(version, running.version)) return;
    if (updater?.banned.some((banned) => banned.digest === digest) === true) return;
    const failedLately =
      lastRecord?.digest === digest &&
      lastRecord.phase !== 'committed' &&
      clock.nowMs() - lastRecord.phaseAtMs < RETRY_FAILED_MS;
    if (failedLately) return;
    updates.begin({ action: 'install', automatic: true, version, digest, source: { kind: 'repository' } });
  }
}
