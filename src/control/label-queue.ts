import type { QueueReason } from '../contract/history.ts';
import type { RecordValues } from '../store/record-values.ts';

/** The sea is much the same within this time. */
const NEAR_MS = 3 * 3_600_000;
/** The light is much the same within this time of the day. */
const NEAR_IN_DAY_MS = 1.5 * 3_600_000;
const DAY_MS = 86_400_000;
/** What remains of the value of a frame at a time of the day that has readings already. */
const KNOWN_LIGHT_WEIGHT = 0.5;
/** An interval of this share of its height is wide. */
const WIDE_SHARE = 0.6;
/** Below this height, the share of the interval is that of this height, metres. */
const SMALL_HEIGHT_M = 0.5;
/** Readings that are compared: the newest. */
const MAX_READINGS = 250;

export interface QueuedFrame {
  readonly record: RecordValues;
  readonly reason: QueueReason;
}

/** A frame without a reading. */
interface Candidate {
  readonly record: RecordValues;
  readonly uncertain01: number;
  /** To the nearest reading, or frame before it in the queue. */
  nearestMs: number;
  nearestInDayMs: number;
}

/**
 * The frames whose readings help the calibration most, the best first: uncertain ones; far in time from all readings and from
 * the frames before them in the queue, because readings of one visit count once; and at times of the day without a reading,
 * because the light differs. Only frames that the model has seen and that can get a label. `readAtMs`: when the frames with a
 * reading were captured, the oldest first.
 */
export function orderLabelQueue(
  records: readonly RecordValues[],
  readAtMs: readonly number[],
  limit: number,
): readonly QueuedFrame[] {
  const candidates = new Set<Candidate>();
  for (const record of records)
    if (record.status === 'measured' && record.isLabellable)
      candidates.add({
        record,
        uncertain01: uncertainty01(record),
        nearestMs: Infinity,
        nearestInDayMs: Infinity,
      });
  const approach = (atMs: number): void => {
    for (const one of candidates) {
      one.nearestMs = Math.min(one.nearestMs, Math.abs(one.record.capturedAtMs - atMs));
      one.nearestInDayMs = Math.min(one.nearestInDayMs, distanceInDayMs(one.record.capturedAtMs, atMs));
    }
  };
  for (const atMs of readAtMs.slice(-MAX_READINGS)) approach(atMs);
  const queue: QueuedFrame[] = [];
  while (queue.length < limit) {
    const best = mostUseful(candidates);
    if (best === null) break;
    candidates.delete(best);
    approach(best.record.capturedAtMs);
    queue.push({ record: best.record, reason: queueReason(best.record) });
  }
  return queue;
}

/** The newest of equally useful ones: people remember it best. */
function mostUseful(candidates: Iterable<Candidate>): Candidate | null {
  let [best, bestValue]: [Candidate | null, number] = [null, -1];
  for (const one of candidates) {
    const light = newness01(one.nearestInDayMs / NEAR_IN_DAY_MS);
    const value =
      one.uncertain01 *
      newness01(one.nearestMs / NEAR_MS) *
      (KNOWN_LIGHT_WEIGHT + (1 - KNOWN_LIGHT_WEIGHT) * light);
    const isNewer = best === null || one.record.capturedAtMs > best.record.capturedAtMs;
    if (value > bestValue || (value === bestValue && isNewer)) [best, bestValue] = [one, value];
  }
  return best;
}

const newness01 = (distance: number): number => 1 - Math.exp(-distance);

/** Between the times of the day of two moments, ms: at most half a day. */
function distanceInDayMs(aMs: number, bMs: number): number {
  const apartMs = Math.abs(aMs - bMs) % DAY_MS;
  return Math.min(apartMs, DAY_MS - apartMs);
}

/** Width of the interval as a share of the height; null when the height was not measured. */
function intervalShare({ heightM, lowM, highM, basis }: RecordValues): number | null {
  if (heightM === null || basis === 'site_median' || lowM === null || highM === null) return null;
  return Math.max(0, highM - lowM) / Math.max(SMALL_HEIGHT_M, heightM);
}

/** 1: the height is not measured; 0: it is known without error. */
function uncertainty01(record: RecordValues): number {
  const share = intervalShare(record);
  return share === null ? 1 : share / (share + WIDE_SHARE);
}

function queueReason(record: RecordValues): QueueReason {
  const share = intervalShare(record);
  if (record.heightM === null) return 'no_height';
  if (share === null) return 'usual_height';
  return share >= WIDE_SHARE ? 'wide_interval' : 'other_time';
}
