import { constants, open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Camera, CaptureOptions, Frame } from './camera.ts';
import { MAX_IMAGE_BYTES, imageType, isWholeImage } from './image-type.ts';
import { paced } from './pace.ts';
import { WorkInHand } from './work-in-hand.ts';

export interface DirectoryCameraOptions {
  readonly id: string;
  readonly path: string;
  /** `watch`: the newest whole file, each one once. `once`, `loop`: all files in natural order. */
  readonly replay: 'watch' | 'once' | 'loop';
  /** `watch`: at the start, a file older than this is history and not taken. */
  readonly maxAgeMs: number;
}

interface PictureFile {
  readonly name: string;
  /** When it got its present content or name here; unlike mtime, uploaders cannot set it. */
  readonly ctimeMs: number;
}

const POLL_MS = 250;
/** Looking through a large folder must not take more than this share of the time. */
const POLL_SHARE = 0.1;
/** The names of so many files are held in memory, and no more. */
const MAX_FILES = 100_000;
const EXTENSION = /\.(jpe?g|png|webp)$/i;

/** A folder into which something else puts pictures: an FTP server, a camera's own software, a test. */
export class DirectoryCamera implements Camera {
  readonly id: string;
  readonly #options: DirectoryCameraOptions;
  readonly #clock: Clock;
  readonly #work = new WorkInHand();
  readonly #natural = new Intl.Collator('en', { numeric: true });
  /**
   * `watch`: the files already seen whole, with their times. New is what is not in here, whatever any clock says:
   * clocks step, and those of file servers are off.
   */
  #seen: Map<string, number> | null = null;
  #lastName: string | null = null;
  /** Replay: names still to come; null before the first listing. */
  #queue: string[] | null = null;

  constructor(options: DirectoryCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const { replay, maxAgeMs } = this.#options;
    const overdue = () =>
      new AgentError(
        'camera_no_frame',
        this.#lastName === null
          ? `no picture younger than ${Math.round(maxAgeMs / 1000)} s came (to replay old files set replay: once or loop)`
          : `no new picture came within ${options.timeoutS} s`,
        { context: { timeoutS: options.timeoutS, lastFile: this.#lastName } },
      );
    const take = (_: number, limit: AbortSignal) =>
      this.#work.track(replay === 'watch' ? this.#watch(limit) : this.#replay(replay === 'loop', limit));
    return paced(options, { clock: this.#clock }, this.#work.until(signal), take, overdue);
  }

  close(): Promise<void> {
    return this.#work.close();
  }

  /** The newest whole file that was not taken yet. Folders of network mounts tell of no changes, hence the polling. */
  async #watch(signal: AbortSignal): Promise<Frame> {
    for (;;) {
      const beganMs = this.#clock.monoMs();
      const files = await this.#files(signal);
      const fresh = files.filter((file) => this.#isNew(file));
      fresh.sort((a, b) => b.ctimeMs - a.ctimeMs || this.#natural.compare(b.name, a.name));
      for (const file of fresh) {
        signal.throwIfAborted();
        const bytes = await this.#read(file.name);
        if (bytes === null || !isWholeImage(bytes)) continue;
        // Older files that came meanwhile are passed over: a camera shows the present.
        const unfinished = new Set(fresh.slice(0, fresh.indexOf(file)).map(({ name }) => name));
        const seen = files.filter(({ name }) => !unfinished.has(name));
        this.#seen = new Map(seen.map(({ name, ctimeMs }) => [name, ctimeMs]));
        this.#lastName = file.name;
        return this.#frame(bytes, file.name);
      }
      const tookMs = this.#clock.monoMs() - beganMs;
      await this.#clock.sleep(Math.max(POLL_MS, tookMs / POLL_SHARE), signal);
    }
  }

  #isNew(file: PictureFile): boolean {
    if (this.#seen === null) return this.#clock.nowMs() - file.ctimeMs <= this.#options.maxAgeMs;
    return this.#seen.get(file.name) !== file.ctimeMs;
  }

  async #replay(loop: boolean, signal: AbortSignal): Promise<Frame> {
    for (let listings = 0; ;) {
      signal.throwIfAborted();
      if (this.#queue === null || (loop && this.#queue.length === 0)) {
        if (listings++ > 0) throw new AgentError('camera_no_frame', 'no file of the folder could be read');
        this.#queue = (await this.#names()).sort((a, b) => this.#natural.compare(a, b));
        if (this.#queue.length === 0) {
          this.#queue = null;
          throw new AgentError('camera_no_frame', 'the folder holds no JPEG, PNG or WebP file');
        }
      }
      const name = this.#queue.shift();
      if (name === undefined) throw new AgentError('camera_ended', 'all files of the folder were replayed');
      const bytes = await this.#read(name);
      if (bytes !== null && imageType(bytes) !== null) return this.#frame(bytes, name);
    }
  }

  #frame(bytes: Buffer, origin: string): Frame {
    return { bytes, capturedAtMs: this.#clock.nowMs(), monoMs: this.#clock.monoMs(), origin };
  }

  async #names(): Promise<string[]> {
    const { path } = this.#options;
    const entries = await readdir(path).catch((failure: unknown) => {
      throw new AgentError('camera_unreachable', 'the folder cannot be read', {
        context: { path },
        cause: failure,
      });
    });
    const names = entries.filter((name) => EXTENSION.test(name) && !name.startsWith('.'));
    if (names.length > MAX_FILES)
      throw new AgentError('camera_unreachable', `the folder holds more than ${MAX_FILES} pictures`, {
        context: { path, files: names.length },
      });
    return names;
  }

  async #files(signal: AbortSignal): Promise<PictureFile[]> {
    const files: PictureFile[] = [];
    for (const name of await this.#names()) {
      signal.throwIfAborted();
      const entry = await stat(join(this.#options.path, name)).catch(() => null);
      if (entry?.isFile()) files.push({ name, ctimeMs: entry.ctimeMs });
    }
    return files;
  }

  /** The bytes; null when the file is gone, over the bound, no plain file, or changed while it was read. */
  async #read(name: string): Promise<Buffer | null> {
    let file: FileHandle | null = null;
    try {
      // Not to wait for ever on a pipe that bears a picture's name.
      file = await open(join(this.#options.path, name), constants.O_RDONLY | constants.O_NONBLOCK);
      const before = await file.stat();
      if (!before.isFile() || before.size === 0 || before.size > MAX_IMAGE_BYTES) return null;
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
