import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Frame } from './camera.ts';
import type { FrameSource } from './frame-source.ts';
import type { HttpAnswer } from './http-answer.ts';
import { MAX_IMAGE_BYTES } from './image-type.ts';
import { JpegSplitter } from './jpeg-splitter.ts';
import { NewestFrame } from './newest-frame.ts';

/**
 * Motion JPEG over HTTP (`multipart/x-mixed-replace`). Cameras disagree on boundaries, part headers and lengths, so
 * none of them is looked at: the pictures are found by their own structure.
 */
export class MjpegSource implements FrameSource {
  readonly #answer: HttpAnswer;
  readonly #newest: NewestFrame;
  readonly #pump: Promise<void>;

  constructor(answer: HttpAnswer, deps: { readonly clock: Clock }) {
    this.#answer = answer;
    this.#newest = new NewestFrame(deps);
    this.#pump = this.#run();
  }

  get lastMonoMs(): number | null {
    return this.#newest.lastMonoMs;
  }

  get ended(): boolean {
    return this.#newest.failure !== null;
  }

  next(notBeforeMs: number, signal: AbortSignal): Promise<Frame> {
    return this.#newest.next(notBeforeMs, signal);
  }

  overdue(timeoutS: number): AgentError {
    return new AgentError('camera_no_frame', `the stream sent no whole picture within ${timeoutS} s`, {
      context: { timeoutS },
    });
  }

  async close(): Promise<void> {
    await this.#answer.discard();
    await this.#pump;
  }

  async #run(): Promise<void> {
    const splitter = new JpegSplitter({ maxBytes: MAX_IMAGE_BYTES });
    try {
      for await (const chunk of this.#answer.chunks())
        for (const picture of splitter.push(chunk)) this.#newest.put(picture);
      this.#newest.fail(new AgentError('camera_ended', 'the camera ended the stream'));
    } catch (failure) {
      this.#newest.fail(new AgentError('camera_ended', 'the stream broke', { cause: failure }));
    }
  }
}
