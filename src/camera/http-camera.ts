import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Camera, CaptureOptions, Frame } from './camera.ts';
import type { HttpAnswer } from './http-answer.ts';
import { HttpClient } from './http-client.ts';
import { MAX_IMAGE_BYTES, imageType } from './image-type.ts';
import { MjpegSource } from './mjpeg-source.ts';
import { paced } from './pace.ts';
import { WorkInHand } from './work-in-hand.ts';

export interface HttpCameraOptions {
  readonly id: string;
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

interface Snapshot {
  readonly bytes: Buffer;
  readonly etag: string | null;
  readonly lastModified: string | null;
}

/**
 * A web camera: an address that answers each request with one picture, or with an endless multipart stream of them.
 * A 304 (same picture as before) counts as a frame with the former bytes: whether the camera is frozen is told by
 * the pictures themselves, the same way for every kind.
 */
export class HttpCamera implements Camera {
  readonly id: string;
  readonly #client: HttpClient;
  readonly #clock: Clock;
  readonly #work = new WorkInHand();
  #last: Snapshot | null = null;

  constructor(options: HttpCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#clock = deps.clock;
    this.#client = new HttpClient(options);
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const stop = this.#work.until(signal);
    const streams: MjpegSource[] = [];
    const take = async (notBeforeMs: number, limit: AbortSignal): Promise<Frame> => {
      const open = streams[0];
      if (open) return await open.next(notBeforeMs, limit);
      const answer = await this.#client.get(this.#conditions(), limit);
      if (!answer.isStream) return await this.#snapshot(answer, limit);
      const stream = new MjpegSource(answer, { clock: this.#clock });
      streams.push(stream);
      return await stream.next(notBeforeMs, limit);
    };
    const overdue = () =>
      streams[0]?.overdue(options.timeoutS) ??
      new AgentError('camera_timeout', `no whole answer within ${options.timeoutS} s`, {
        context: { timeoutS: options.timeoutS },
      });
    const tracked = (notBeforeMs: number, limit: AbortSignal) => this.#work.track(take(notBeforeMs, limit));
    try {
      yield* paced(options, { clock: this.#clock }, stop, tracked, overdue);
    } finally {
      await streams[0]?.close();
    }
  }

  close(): Promise<void> {
    return this.#work.close();
  }

  #conditions(): Record<string, string> {
    if (this.#last?.etag != null) return { 'if-none-match': this.#last.etag };
    if (this.#last?.lastModified != null) return { 'if-modified-since': this.#last.lastModified };
    return {};
  }

  async #snapshot(answer: HttpAnswer, signal: AbortSignal): Promise<Frame> {
    if (answer.status === 304 && this.#last) {
      await answer.discard();
      return this.#frame(this.#last.bytes);
    }
    const bytes = await answer.bytes(MAX_IMAGE_BYTES, signal);
    if (bytes === null)
      throw new AgentError('camera_codec', `the answer is larger than ${MAX_IMAGE_BYTES} bytes`);
    if (bytes.length === 0) throw new AgentError('camera_no_frame', 'the answer is empty');
    if (imageType(bytes) === null)
      throw new AgentError('camera_codec', 'the answer is no JPEG, PNG or WebP', {
        context: { contentType: answer.header('content-type') },
      });
    this.#last = { bytes, etag: answer.header('etag'), lastModified: answer.header('last-modified') };
    return this.#frame(bytes);
  }

  #frame(bytes: Buffer): Frame {
    return { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
  }
}
