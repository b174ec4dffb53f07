import { closeAtEnd } from '../../base/closing.ts';
import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { BurstCapture } from '../burst-capture.ts';
import { detectImageType, type Camera, type CaptureOptions, type Frame } from '../camera.ts';
import { createRedactor } from '../credentials.ts';
import { excerptOf } from '../excerpt.ts';
import { HttpClient, type HttpClientOptions } from './client.ts';
import type { HttpResponse } from './exchange.ts';
import { MjpegSource } from './mjpeg-source.ts';
import { readSnapshot } from './snapshot.ts';

export interface HttpCameraOptions extends HttpClientOptions {
  readonly id: string;
}

/** The last image, and what the camera wants to know about it in the next request. */
interface CachedImage {
  readonly bytes: Buffer;
  readonly etag: string | null;
  readonly lastModified: string | null;
}

interface SharedStream {
  readonly source: MjpegSource;
  /** Captures that use it now. */
  users: number;
}

/**
 * Reads frames from a URL that answers each request with one image, or with an endless multipart stream of images.
 * Status 304 (not modified) counts as a frame with the previous bytes. This camera does not report a frozen image:
 * another part of the agent detects frozen images in the frames of all kinds of cameras. Captures that run at the same time
 * share a stream: many cameras send only one.
 */
export class HttpCamera implements Camera {
  readonly id: string;
  readonly #client: HttpClient;
  readonly #clock: Clock;
  readonly #bursts: BurstCapture;
  readonly #redact: (text: string) => string;
  #previous: CachedImage | null = null;
  #stream: SharedStream | null = null;
  /** False when the last response was one image; then captures do not wait for each other. */
  #mayStream = true;
  /** Settles when the request of another capture, which may open a stream, is answered. */
  #opening: Promise<unknown> = Promise.resolve();

  /** Throws `config_invalid` when the URL is invalid. */
  constructor(options: HttpCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#clock = deps.clock;
    this.#client = new HttpClient(options);
    this.#bursts = new BurstCapture(deps);
    this.#redact = createRedactor(options);
  }

  async *capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const open: { stream: SharedStream | null } = { stream: null };
    const takeFrame = async (notBeforeMs: number, limit: AbortSignal): Promise<Frame> => {
      if (!open.stream) {
        const opened = await this.#openStream(limit);
        if ('bytes' in opened) return opened;
        open.stream = opened;
      }
      return await open.stream.source.nextFrame(notBeforeMs, limit);
    };
    const timeoutError = () =>
      open.stream?.source.timeoutError(options.timeoutS) ??
      new AgentError('camera_timeout', `no complete response within ${options.timeoutS} s`, {
        context: { timeoutS: options.timeoutS },
      });
    await using _closed = closeAtEnd(() => open.stream && this.#release(open.stream));
    yield* this.#bursts.frames(options, signal, takeFrame, timeoutError);
  }

  close(): Promise<void> {
    return this.#bursts.close();
  }

  /** The stream that is open, a new one, or the image when the camera sends single ones. */
  async #openStream(signal: AbortSignal): Promise<Frame | SharedStream> {
    const request = async (): Promise<Frame | SharedStream> => {
      if (this.#stream?.source.hasEnded === false) {
        this.#stream.users += 1;
        return this.#stream;
      }
      const response = await this.#client.get(this.#conditionalHeaders(), signal);
      this.#mayStream = response.isStream;
      if (!response.isStream) return await this.#readSnapshot(response, signal);
      return (this.#stream = { source: new MjpegSource(response, { clock: this.#clock }), users: 1 });
    };
    if (!this.#mayStream) return await request();
    const requested = this.#opening.then(request);
    this.#opening = requested.catch(() => undefined);
    return await requested;
  }

  async #release(stream: SharedStream): Promise<void> {
    stream.users -= 1;
    if (stream.users > 0) return;
    if (this.#stream === stream) this.#stream = null;
    await stream.source.close();
  }

  #conditionalHeaders(): Record<string, string> {
    if (this.#previous?.etag != null) return { 'if-none-match': this.#previous.etag };
    if (this.#previous?.lastModified != null) return { 'if-modified-since': this.#previous.lastModified };
    return {};
  }

  async #readSnapshot(response: HttpResponse, signal: AbortSignal): Promise<Frame> {
    if (response.status === 304 && this.#previous) {
      response.discard();
      return this.#frame(this.#previous.bytes);
    }
    const { bytes, fault } = await readSnapshot(response, { clock: this.#clock }, signal);
    if (bytes.length === 0) throw new AgentError('camera_no_frame', 'the response is empty');
    if (detectImageType(bytes) === null) {
      const answer = excerptOf(bytes, this.#redact);
      const found = answer === null ? 'is not a JPEG, PNG or WebP image' : 'is text and not an image';
      // The text stays out of the message, which is published: remote commands may set the address of any server.
      throw new AgentError('camera_codec', `the response ${found}`, {
        context: { contentType: response.header('content-type'), ...(answer !== null && { answer }) },
      });
    }
    this.#previous = {
      bytes,
      etag: response.firstHeader('etag'),
      lastModified: response.firstHeader('last-modified'),
    };
    return { ...this.#frame(bytes), ...(fault ? { fault } : {}) };
  }

  #frame(bytes: Buffer): Frame {
    return { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs() };
  }
}
