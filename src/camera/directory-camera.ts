import { constants, open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import { BurstCapture } from './burst-capture.ts';
import { MAX_FRAME_BYTES, detectImageType, type Camera, type CaptureOptions, type Frame } from './camera.ts';
import { isCompleteImage, primaryImage } from './whole-image.ts';

export interface DirectoryCameraOptions {
  readonly id: string;
  readonly path: string;
  /** `watch`: takes the newest complete file, each file once. `once` and `loop`: replay all files in natural order. */
  readonly replay: 'watch' | 'once' | 'loop';
  /** Only for `watch`: files older than this at the start are ignored. */
  readonly maxAgeMs: number;
}

interface ImageFile {
  readonly name: string;
  /** Time of the last change of content or name. An uploading program can set mtime, but not ctime. */
  readonly ctimeMs: number;
}

const POLL_MS = 250;
/** At most this share of the time is spent on listing a large directory. */
const MAX_POLL_SHARE = 0.1;
const MAX_FILES = 100_000;
/** An upload that pauses for this time has ended. */
const SETTLED_MS = 5000;
const IMAGE_EXTENSION = /\.(jpe?g|png|webp)$/i;

/** Reads images that another program (an FTP server, the software of a camera, a test) writes into a directory. */
export class DirectoryCamera implements Camera {
  readonly id: string;
  readonly #options: DirectoryCameraOptions;
  readonly #clock: Clock;
  readonly #bursts: BurstCapture;
  readonly #naturalOrder = new Intl.Collator('en', { numeric: true });
  /**
   * Only for `watch`: the complete files that were already listed, with their ctime. A file that is not in this map is
   * new. Comparing its time with the clock would fail: clocks are set, and file servers have other clocks.
   */
  #seen: Map<string, number> | null = null;
  /** Only for `watch`: incomplete files, with their ctime and when they were first found like this, monotonic ms. */
  #incomplete = new Map<string, { readonly ctimeMs: number; readonly sinceMs: number }>();
  #lastName: string | null = null;
  /** Only for `once` and `loop`: names of the files not yet replayed; null before the first listing. */
  #queue: string[] | null = null;

  constructor(options: DirectoryCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
    this.#bursts = new BurstCapture(deps);
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const { replay, maxAgeMs } = this.#options;
    const timeoutError = () =>
      new AgentError(
        'camera_no_frame',
        this.#lastName === null
          ? `no image younger than ${Math.round(maxAgeMs / 1000)} s in the directory (to replay old files, set replay: once or loop)`
          : `no new image within ${options.timeoutS} s`,
        { context: { timeoutS: options.timeoutS, lastFile: this.#lastName } },
      );
    const takeFrame = (_: number, limit: AbortSignal) =>
      replay === 'watch' ? this.#watch(limit) : this.#replay(replay === 'loop', limit);
    return this.#bursts.frames(options, signal, takeFrame, timeoutError);
  }

  close(): Promise<void> {
    return this.#bursts.close();
  }

  /** Waits for the newest complete file that was not taken yet. Polls, because network mounts send no change events. */
  async #watch(signal: AbortSignal): Promise<Frame> {
    for (;;) {
      const startedMs = this.#clock.monoMs();
      const files = await this.#listFiles(signal);
      const newFiles = files.filter((file) => this.#isNew(file));
      newFiles.sort((a, b) => b.ctimeMs - a.ctimeMs || this.#naturalOrder.compare(b.name, a.name));
      for (const file of newFiles) {
        signal.throwIfAborted();
        const bytes = await this.#read(file.name);
        if (bytes === null || !(isCompleteImage(bytes) || this.#isSettled(file, bytes))) continue;
        // Skip older files that arrived since the last frame: only the newest one shows the present.
        const incomplete = new Set(newFiles.slice(0, newFiles.indexOf(file)).map(({ name }) => name));
        const seen = files.filter(({ name }) => !incomplete.has(name));
        this.#seen = new Map(seen.map(({ name, ctimeMs }) => [name, ctimeMs]));
        this.#lastName = file.name;
        this.#incomplete.clear();
        return this.#frame(bytes, file.name);
      }
      const listingMs = this.#clock.monoMs() - startedMs;
      await this.#clock.sleep(Math.max(POLL_MS, listingMs / MAX_POLL_SHARE), signal);
    }
  }

  #isNew(file: ImageFile): boolean {
    if (this.#seen === null) return this.#clock.nowMs() - file.ctimeMs <= this.#options.maxAgeMs;
    return this.#seen.get(file.name) !== file.ctimeMs;
  }

  /**
   * True for an incomplete image that no program has changed for some seconds: then nobody writes the rest of it. The
   * quality gate judges what is there.
   */
  #isSettled({ name, ctimeMs }: ImageFile, bytes: Buffer): boolean {
    if (detectImageType(bytes) !== 'jpeg') return false;
    const nowMs = this.#clock.monoMs();
    const known = this.#incomplete.get(name);
    if (known?.ctimeMs === ctimeMs) return nowMs - known.sinceMs >= SETTLED_MS;
    this.#incomplete.set(name, { ctimeMs, sinceMs: nowMs });
    return false;
  }

  async #replay(loop: boolean, signal: AbortSignal): Promise<Frame> {
    for (let listings = 0; ;) {
      signal.throwIfAborted();
      if (this.#queue === null || (loop && this.#queue.length === 0)) {
        if (listings++ > 0) throw new AgentError('camera_no_frame', 'no file of the directory could be read');
        this.#queue = (await this.#listNames()).sort((a, b) => this.#naturalOrder.compare(a, b));
        if (this.#queue.length === 0) {
          this.#queue = null;
          throw new AgentError('camera_no_frame', 'the directory contains no JPEG, PNG or WebP file');
        }
      }
      const name = this.#queue.shift();
      if (name === undefined)
        throw new AgentError('camera_ended', 'all files of the directory were replayed');
      const bytes = await this.#read(name);
      if (bytes !== null && detectImageType(bytes) !== null) return this.#frame(bytes, name);
    }
  }

  #frame(bytes: Buffer, origin: string): Frame {
    return {
      bytes: primaryImage(bytes),
      capturedAtMs: this.#clock.nowMs(),
      monoMs: this.#clock.monoMs(),
      origin,
    };
  }

  async #listNames(): Promise<string[]> {
    const { path } = this.#options;
    const entries = await readdir(path).catch((failure: unknown) => {
      throw new AgentError('camera_unreachable', 'the directory cannot be read', {
        context: { path },
        cause: failure,
      });
    });
    const names = entries.filter((name) => IMAGE_EXTENSION.test(name) && !name.startsWith('.'));
    if (names.length > MAX_FILES)
      throw new AgentError('camera_unreachable', `the directory contains more than ${MAX_FILES} images`, {
        context: { path, files: names.length },
      });
    return names;
  }

  async #listFiles(signal: AbortSignal): Promise<ImageFile[]> {
    const files: ImageFile[] = [];
    for (const name of await this.#listNames()) {
      signal.throwIfAborted();
      const entry = await stat(join(this.#options.path, name)).catch(() => null);
      if (entry?.isFile()) files.push({ name, ctimeMs: entry.ctimeMs });
    }
    return files;
  }

  /** Reads a file. Null when it is missing, empty, too large, not a regular file, or changed while it was read. */
  async #read(name: string): Promise<Buffer | null> {
    let file: FileHandle | null = null;
    try {
      // O_NONBLOCK, because a named pipe may have the name of an image, and opening it must not block.
      file = await open(join(this.#options.path, name), constants.O_RDONLY | constants.O_NONBLOCK);
      const before = await file.stat();
      if (!before.isFile() || before.size === 0 || before.size > MAX_FRAME_BYTES) return null;
      const bytes = await file.readFile();
      const after = await file.stat();
      return after.size === bytes.length && after.mtimeMs === before.mtimeMs ? bytes : null;
    } catch {
      return null;
    } finally {
      await file?.close();
    }
  }
}
