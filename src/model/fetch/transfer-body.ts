import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../base/clock.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import { Excess, passing } from './transfer-fault.ts';
import { asFault } from './transfer-request.ts';
import type { TransferTuning } from './transfer-tuning.ts';

export interface BodyOptions {
  readonly tuning: TransferTuning;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** One byte more, and the attempt has failed. */
  readonly maxBytes: number;
  /** 0: no limit. */
  readonly maxBytesPerS: number;
}

/**
 * The pieces of a body, none held back. Throws `TransferFault` when it ends before its announced length, goes on beyond
 * `maxBytes`, pauses, drips, or the connection fails. Holds the bandwidth down to what is allowed.
 */
export async function* bodyOf(response: IncomingMessage, options: BodyOptions): AsyncGenerator<Buffer> {
  const { tuning, clock, signal, maxBytes, maxBytesPerS } = options;
  let windowBytes = 0;
  let takenBytes = 0;
  const bandwidth = new TokenBucket({ perS: maxBytesPerS, burst: 1 }, clock);
  const watch = setInterval(() => {
    if (windowBytes < tuning.leastBytes) response.destroy(passing('it only drips'));
    windowBytes = 0;
  }, tuning.windowMs);
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      windowBytes += piece.length;
      takenBytes += piece.length;
      if (takenBytes > maxBytes) throw new Excess();
      yield piece;
      bandwidth.take(piece.length);
      const waitMs = bandwidth.waitMs();
      if (waitMs > 0) await clock.sleep(waitMs, signal);
    }
    if (!response.complete) throw passing('the connection broke');
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown instanceof Error && isConnection(thrown) ? asFault(thrown, true) : thrown;
  } finally {
    clearInterval(watch);
    response.destroy();
  }
}

/** An error of the socket or of HTTP, not one of ours or of the disk. */
const isConnection = (error: Error): boolean =>
  'code' in error &&
  typeof error.code === 'string' &&
  /^(ECONN|EPIPE|ETIMEDOUT|ENET|EHOST|HPE_|ERR_STREAM|ERR_SSL|ERR_TLS|ABORT)/.test(error.code);
