const MB = 1_048_576;
const OUTBOX_MB = 256;

export type StoreBounds = Pick<StoreOptions, 'retentionDays' | 'maxMb' | 'outbox'>;

export const outboxBounds = ({ outbox }: StoreBounds) => ({
  maxMessages: outbox.maxMessages,
  maxBytes: (outbox.maxMb ?? OUTBOX_MB) * MB,
});

export const retentionBounds = ({ retentionDays, maxMb, outbox }: StoreBounds) => ({
  retentionDays,
  maxMb,
  outboxMaxAgeDays: outbox.maxAgeDays,
});

export interface StoreOptions {
  /** Absolute; made when it is not there. */
  readonly stateDir: string;
  readonly retentionDays: number;
  readonly maxMb: number;
  readonly outbox: {
    readonly maxMessages: number;
    readonly maxAgeDays: number;
    /** Payloads, MB of 2^20 bytes; 256 when not set. */
    readonly maxMb?: number;
  };
  /** Of this boot, for the times of the events; without it they are not mended. */
  readonly bootId?: string;
}
