import { AgentError } from '../base/errors.ts';
import type { CameraErrorCode } from './camera.ts';

/** An answer whose body was not read yet. Whoever holds one reads it to its end or discards it. */
export class HttpAnswer {
  readonly #response: Response;
  readonly #request: AbortController;

  /** @param request ends the connection when aborted */
  constructor(response: Response, request: AbortController) {
    this.#response = response;
    this.#request = request;
  }

  get status(): number {
    return this.#response.status;
  }

  /** An endless multipart body of pictures rather than one picture. */
  get isStream(): boolean {
    return /^multipart\/|mjpeg|motion-jpeg/i.test(this.header('content-type') ?? '');
  }

  header(name: string): string | null {
    return this.#response.headers.get(name);
  }

  /** The body as it arrives. Throws `camera_ended` when the connection breaks; ends quietly when discarded. */
  async *chunks(): AsyncGenerator<Buffer, void, undefined> {
    if (this.#response.body === null) return;
    try {
      for await (const chunk of this.#response.body as AsyncIterable<Uint8Array>)
        yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    } catch (failure) {
      if (this.#request.signal.aborted) return;
      throw new AgentError('camera_ended', 'the connection broke in the middle of the answer', {
        cause: failure,
      });
    }
  }

  /** The whole body; null when it is larger than `maxBytes`. Rejects with the signal's reason when that fires. */
  async bytes(maxBytes: number, signal: AbortSignal): Promise<Buffer | null> {
    const abort = (): void => this.#request.abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      const parts: Buffer[] = [];
      let sizeBytes = 0;
      for await (const chunk of this.chunks()) {
        sizeBytes += chunk.length;
        if (sizeBytes > maxBytes) return null;
        parts.push(chunk);
      }
      signal.throwIfAborted();
      return Buffer.concat(parts);
    } finally {
      signal.removeEventListener('abort', abort);
      await this.discard();
    }
  }

  /** Ends the connection. Idempotent. */
  async discard(): Promise<void> {
    this.#request.abort();
    const { body } = this.#response;
    if (body !== null && !body.locked) await body.cancel().catch(() => undefined);
  }
}

/** What a failed `fetch` means for a camera. */
export function requestFailure(failure: unknown): AgentError {
  const cause = failure instanceof Error && failure.cause instanceof Error ? failure.cause : failure;
  const reason = reasonOf(cause);
  const code = failureCode(reason);
  const what = code === 'camera_codec' ? 'does not speak HTTP' : 'cannot be reached';
  return new AgentError(code, `the camera ${what}${reason === '' ? '' : ` (${reason})`}`, { cause: failure });
}

/** Parser faults of undici have a name but no code. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return '';
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}

function failureCode(reason: string): CameraErrorCode {
  if (/TIMEOUT|ETIMEDOUT/.test(reason)) return 'camera_timeout';
  if (/^HPE_|HTTPParserError|HEADERS_OVERFLOW|RESPONSE/.test(reason)) return 'camera_codec';
  return 'camera_unreachable';
}
