import { addAbortListener } from 'node:events';
import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { MAX_FRAME_BYTES } from '../camera.ts';
import { CAUSE_REMEDIES } from '../remedies.ts';
import { isCompleteImage, primaryImage } from '../whole-image.ts';
import type { HttpResponse } from './exchange.ts';

export interface Snapshot {
  readonly bytes: Buffer;
  /** What went wrong after the image was complete; null for an orderly answer. */
  readonly fault: AgentError | null;
}

/** If the answer goes on for this time after its image, the rest is not waited for. */
const CHECK_MS = 1000;

/**
 * Reads the image of a response, and closes the connection. Lengths are often wrong, so the image decides: with a length
 * that is too long, or without any end, a complete image is enough; after a length that is too short, reading continues.
 * Throws `camera_codec` above `MAX_FRAME_BYTES`, `camera_ended` when the connection breaks before the image is complete,
 * and the signal's reason on abort.
 */
export async function readSnapshot(
  response: HttpResponse,
  deps: { readonly clock: Clock },
  signal: AbortSignal,
): Promise<Snapshot> {
  using _abort = addAbortListener(signal, () => response.discard());
  const image = new Collector(deps.clock);
  let fault: AgentError | null = null;
  try {
    const hasEnded = await image.collect(response.chunks(), () => image.isComplete);
    if (!hasEnded) fault = new AgentError('camera_ended', 'the answer does not end after its image');
    else if (!image.isComplete) {
      let sizeBytes = -1;
      await image.collect(response.surplus(), () => {
        const isSilent = image.sizeBytes === sizeBytes;
        ({ sizeBytes } = image);
        return isSilent || image.isComplete;
      });
    }
  } catch (failure) {
    signal.throwIfAborted();
    if (!(failure instanceof AgentError && failure.code === 'camera_ended' && image.isComplete))
      throw failure;
    fault = failure;
  } finally {
    response.discard();
  }
  signal.throwIfAborted();
  return { bytes: primaryImage(image.bytes), fault };
}

/** The bytes of one image that is still arriving. */
class Collector {
  readonly #clock: Clock;
  readonly #parts: Buffer[] = [];
  sizeBytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  get isComplete(): boolean {
    return isCompleteImage(this.bytes);
  }

  /** Adds chunks until they end (true), or until `isEnough`, which is asked from time to time, says so (false). */
  async collect(chunks: AsyncIterator<Buffer, void>, isEnough: () => boolean): Promise<boolean> {
    const done = new AbortController();
    const tick = (): Promise<'check'> => this.#clock.sleep(CHECK_MS, done.signal).then(() => 'check');
    let nextCheck = tick();
    let nextChunk = chunks.next();
    try {
      for (;;) {
        const step = await Promise.race([nextChunk, nextCheck]);
        if (step === 'check') {
          if (isEnough()) return false;
          nextCheck = tick();
          continue;
        }
        if (step.done === true) return true;
        this.sizeBytes += step.value.length;
        if (this.sizeBytes > MAX_FRAME_BYTES)
          throw new AgentError('camera_codec', `the response is larger than ${MAX_FRAME_BYTES} bytes`, {
            hint: CAUSE_REMEDIES.too_large,
          });
        this.#parts.push(step.value);
        nextChunk = chunks.next();
      }
    } finally {
      done.abort();
      nextCheck.catch(() => undefined);
      // A chunk that is not waited for any more may still fail.
      nextChunk.catch(() => undefined);
    }
  }
}
