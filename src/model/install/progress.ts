import type { Clock } from '../../base/clock.ts';
import type { ModelProgress } from '../../contract/model.ts';
import type { InstallRecord, Progress } from '../types.ts';

/** Between two messages within one phase. */
const PACE_MS = 1000;

/** What is said on `model/progress`: each phase once, and within a phase not more often than once a second. */
export class ProgressTeller {
  readonly #clock: Clock;
  readonly #tell: (progress: ModelProgress) => void;
  #phase = '';
  #toldMonoMs = 0;
  #newest: { readonly updateId: string; readonly bytes: Progress } | null = null;

  constructor(deps: { readonly clock: Clock; readonly onProgress: (progress: ModelProgress) => void }) {
    this.#clock = deps.clock;
    this.#tell = deps.onProgress;
  }

  /** `share01`: how much of the phase is done, where that can be told. */
  tell(install: InstallRecord, share01: number | null): void {
    const { updateId, phase } = install;
    const nowMs = this.#clock.monoMs();
    const key = `${updateId} ${phase}`;
    if (key === this.#phase && nowMs - this.#toldMonoMs < PACE_MS && share01 !== 1) return;
    this.#phase = key;
    this.#toldMonoMs = nowMs;
    const { bytes, totalBytes } = this.withBytes(install);
    this.#tell({
      schema: 'swellsight.model_progress/1',
      update_id: updateId,
      phase,
      bytes,
      total_bytes: totalBytes,
      percent: share01 === null ? null : Math.round(Math.min(1, Math.max(0, share01)) * 1000) / 10,
    });
  }

  /** Bytes came: they are told and shown, but not stored each time. */
  bytes(install: InstallRecord, progress: Progress): void {
    this.#newest = { updateId: install.updateId, bytes: progress };
    const { bytes, totalBytes } = progress;
    this.tell(install, totalBytes === null ? null : totalBytes === 0 ? 1 : bytes / totalBytes);
  }

  /** The record with the newest count of bytes. */
  withBytes(install: InstallRecord): InstallRecord {
    if (this.#newest?.updateId !== install.updateId) return install;
    const { bytes, totalBytes } = this.#newest.bytes;
    return { ...install, bytes, totalBytes };
  }
}
