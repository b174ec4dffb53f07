import { DEFAULT_TRANSFER, type TransferTuning } from './transfer-tuning.ts';

/** Bounds of one fetched bundle and of the process that fetches it. */
export interface FetchLimits {
  /** Of an archive, and of what is unpacked from it. */
  readonly maxBytes: number;
  /** Left free on the disk for observations, whatever a model needs. */
  readonly reserveBytes: number;
  /** V8's heap, MiB, and the resident size at which the process is ended, MiB. */
  readonly heapMb: number;
  readonly rssMb: number;
  /** A process that says nothing for so long hangs. */
  readonly silenceMs: number;
  /** Longest verification. */
  readonly verifyMs: number;
  readonly transfer: TransferTuning;
}

export const DEFAULT_FETCH_LIMITS: FetchLimits = {
  // What a bundle may have, and the archive's own headers.
  maxBytes: 1024 * 1024 * 1024 + 1024 * 1024,
  reserveBytes: 64 * 1024 * 1024,
  heapMb: 96,
  rssMb: 320,
  silenceMs: 60_000,
  verifyMs: 1_800_000,
  transfer: DEFAULT_TRANSFER,
};
