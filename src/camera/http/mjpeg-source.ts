import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { FrameSource } from '../frame-source.ts';
import type { HttpResponse } from './exchange.ts';

/**
 * Motion JPEG over HTTP (`multipart/x-mixed-replace`). Ignores boundaries, part headers and lengths, because many
 * cameras send them wrong, and finds the JPEGs by their own structure.
 */
export class MjpegSource extends FrameSource {
  readonly #response: HttpResponse;
  readonly #reading: Promise<void>;

  constructor(response: HttpResponse, deps: { readonly clock: Clock }) {
    super(deps);
    this.#response = response;
    this.#reading = this.#read();
  }

  override timeoutError(timeoutS: number): AgentError {
    return new AgentError('camera_no_frame', `the stream sent no complete frame within ${timeoutS} s`, {
      context: { timeoutS },
    });
  }

  override async close(): Promise<void> {
    this.#response.discard();
    await this.#reading;
  }

  async #read(): Promise<void> {
    try {
      for await (const chunk of this.#response.chunks()) this.addBytes(chunk);
      this.endBytes();
      this.fail(new AgentError('camera_ended', 'the camera ended the stream'));
    } catch (failure) {
      this.fail(new AgentError('camera_ended', 'the stream broke', { cause: failure }));
    }
  }
}
