import { constants, open } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/disk-errors.ts';
import { AgentError } from '../base/errors.ts';
import { BurstCapture } from './burst-capture.ts';
import { MAX_FRAME_BYTES, detectImageType, type Camera, type CaptureOptions, type Frame } from './camera.ts';
import { DirectoryListing, displayName, type ImageFile } from './directory-listing.ts';
import { isCompleteImage, primaryImage } from './whole-image.ts';

export interface DirectoryCameraOptions {
  readonly id: string;
  readonly path: string;
  /** True: also the files of subdirectories, for cameras that make one directory for each day. */
  readonly recursive: boolean;
  /** `watch`: takes the newest complete file, each file once. `once` and `loop`: replay all files in natural order. */
  readonly replay: 'watch' | 'once' | 'loop';
  /** Only for `watch`: files older than this at the start are ignored. */
  readonly maxAgeMs: number;
}

interface Replay {
  /** Names of the files not yet replayed; null before the first listing. */
  queue: string[] | null;
}

const POLL_MS = 250;
/** At most this share of the time is spent on listing a large directory. */
const MAX_POLL_SHARE = 0.1;
/** An upload that pauses for this time has ended. */
const SETTLED_MS = 5000;

/** Reads images that another program (an FTP server, the software of a camera, a test) writes into a directory. */
export class DirectoryCamera implements Camera {
  readonly id: string;
  readonly #options: DirectoryCameraOptions;
  readonly #clock: Clock;
  readonly #bursts: BurstCapture;
  readonly #naturalOrder = new Intl.Collator('en', { numeric: true });
  /**
   * Only for `watch`: the complete files that were already listed, by name and by inode. Comparing the time of a file with
   * the clock would not tell what is new: clocks are set, and file servers have other clocks.
   */
  #seen: {
    readonly byName: ReadonlyMap<string, ImageFile>;
    readonly byIno: ReadonlyMap<number, ImageFile>;
  } | null = null;
  /** Only for `watch`: incomplete files, with their ctime and when they were first found like this, monotonic ms. */
  #incomplete = new Map<string, { readonly ctimeMs: number; readonly sinceMs: number }>();
  #lastName: string | null = null;
  readonly #listing: DirectoryListing;
  /** Why the newest file (`watch`) or the last one (`once`, `loop`) could not be taken. */
  #fault: string | null = null;
  /** Only for `once` and `loop`. A clip replays the files from the first one on, beside the bursts. */
  readonly #burstReplay: Replay = { queue: null };
  /** Only for `watch`: the newest frame, which captures that run at the same time share. */
  #latest: Frame | null = null;

  constructor(options: DirectoryCameraOptions, deps: { readonly clock: Clock }) {
    this.id = options.id;
    this.#options = options;
    this.#clock = deps.clock;
    this.#bursts = new BurstCapture(deps);
    this.#listing = new DirectoryListing(options, deps);
  }

  capture(options: CaptureOptions, signal: AbortSignal): AsyncGenerator<Frame, void, undefined> {
    const { replay, maxAgeMs } = this.#options;
    const isFirstWatch = replay === 'watch' && this.#lastName === null;
    const reason = () =>
      isFirstWatch
        ? `no image younger than ${Math.round(maxAgeMs / 1000)} s in the directory (to replay old files, set replay: once or loop)`
        : `no ${replay === 'watch' ? 'new ' : ''}image within ${options.timeoutS} s`;
    const timeoutError = () =>
      new AgentError('camera_no_frame', this.#fault ?? reason(), {
        context: { timeoutS: options.timeoutS, lastFile: this.#lastName && displayName(this.#lastName) },
      });
    const state = options.isClip === true ? { queue: null } : this.#burstReplay;
    let takenMs = -Infinity;
    const watch = async (notBeforeMs: number, limit: AbortSignal): Promise<Frame> => {
      const frame = await this.#watch(Math.max(notBeforeMs, takenMs), limit);
      takenMs = frame.monoMs;
      return frame;
    };
    const takeFrame = (notBeforeMs: number, limit: AbortSignal) =>
      replay === 'watch' ? watch(notBeforeMs, limit) : this.#replay(state, replay === 'loop', limit);
    return this.#bursts.frames(options, signal, takeFrame, timeoutError);
  }

  close(): Promise<void> {
    return this.#bursts.close();
  }

  /**
   * Waits for the newest complete file that was not taken yet, or that another capture took after `sinceMs`. Polls, because
   * network mounts send no change events.
   */
  async #watch(sinceMs: number, signal: AbortSignal): Promise<Frame> {
    for (;;) {
      if (this.#latest && this.#latest.monoMs > sinceMs) return this.#latest;
      const startedMs = this.#clock.monoMs();
      const files = await this.#listing.files(this.#lastName, signal);
      const newFiles = files.filter((file) => this.#isNew(file));
      newFiles.sort((a, b) => b.ctimeMs - a.ctimeMs || this.#naturalOrder.compare(b.name, a.name));
      let fault: string | null = null;
      for (const file of newFiles) {
        signal.throwIfAborted();
        const bytes = this.#isBeingOverwritten(file) ? 'is being overwritten' : await this.#read(file.name);
        if (typeof bytes === 'string' || !(isCompleteImage(bytes) || this.#isSettled(file, bytes))) {
          const reason = typeof bytes === 'string' ? bytes : 'is incomplete, or no image';
          fault ??= `the newest file, ${displayName(file.name)}, ${reason}`;
          continue;
        }
        this.#fault = null;
        // Skip older files that arrived since the last frame: only the newest one shows the present.
        const incomplete = new Set(newFiles.slice(0, newFiles.indexOf(file)).map(({ name }) => name));
        const seen = files.filter(({ name }) => !incomplete.has(name));
        this.#seen = {
          byName: new Map(seen.map((known) => [known.name, known])),
          byIno: new Map(seen.map((known) => [known.ino, known])),
        };
        this.#lastName = file.name;
        this.#incomplete.clear();
        return (this.#latest = this.#frame(bytes, file.name));
      }
      this.#fault = fault;
      const listingMs = this.#clock.monoMs() - startedMs;
      await this.#clock.sleep(Math.max(POLL_MS, listingMs / MAX_POLL_SHARE), signal);
    }
  }

  /**
   * True for a picture that was not listed before. A backup by hard link, `chmod` and `rename` change the ctime, but the
   * inode still has its size and mtime: the picture is an old one.
   */
  #isNew(file: ImageFile): boolean {
    if (this.#seen === null) return this.#clock.nowMs() - file.ctimeMs <= this.#options.maxAgeMs;
    const { byName, byIno } = this.#seen;
    if (byName.get(file.name)?.ctimeMs === file.ctimeMs) return false;
    const known = byIno.get(file.ino);
    return known?.size !== file.size || known.mtimeMs !== file.mtimeMs;
  }

  /**
   * True while a program writes over an image that was there before: a read would give the start of the new picture and
   * the end of the old one. A file that never rests, because frames arrive faster than polls, is read after some seconds.
   */
  #isBeingOverwritten({ overwrittenSinceMs }: ImageFile): boolean {
    return overwrittenSinceMs !== null && this.#clock.monoMs() - overwrittenSinceMs < SETTLED_MS;
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

  async #replay(state: Replay, loop: boolean, signal: AbortSignal): Promise<Frame> {
    for (let listings = 0; ;) {
      signal.throwIfAborted();
      if (state.queue === null || (loop && state.queue.length === 0)) {
        if (listings++ > 0)
          throw new AgentError('camera_no_frame', `no file can be replayed: ${this.#fault}`);
        state.queue = (await this.#listing.names(signal)).sort((a, b) => this.#naturalOrder.compare(a, b));
        if (state.queue.length === 0) {
          state.queue = null;
          throw new AgentError('camera_no_frame', 'the directory contains no JPEG, PNG or WebP file');
        }
      }
      const name = state.queue.shift();
      if (name === undefined)
        throw new AgentError(
          'camera_ended',
          this.#lastName === null
            ? `no file can be replayed: ${this.#fault}`
            : 'all files of the directory were replayed',
        );
      const bytes = await this.#read(name);
      if (typeof bytes !== 'string' && detectImageType(bytes) !== null) {
        this.#fault = null;
        this.#lastName = name;
        return this.#frame(bytes, name);
      }
      this.#fault = `${displayName(name)} ${typeof bytes === 'string' ? bytes : 'is no image'}`;
    }
  }

  #frame(bytes: Buffer, name: string): Frame {
    return {
      bytes: primaryImage(bytes),
      capturedAtMs: this.#clock.nowMs(),
      monoMs: this.#clock.monoMs(),
      origin: displayName(name),
    };
  }

  /** Reads a file. Returns the reason when it cannot be read, is empty or too large, or changed meanwhile. */
  async #read(name: string): Promise<Buffer | string> {
    try {
      // O_NONBLOCK, because a named pipe may have the name of an image, and opening it must not block.
      await using file = await open(this.#listing.pathOf(name), constants.O_RDONLY | constants.O_NONBLOCK);
      const before = await file.stat();
      if (!before.isFile()) return 'is not a file';
      if (before.size === 0) return 'is empty';
      if (before.size > MAX_FRAME_BYTES) return `has more than ${MAX_FRAME_BYTES} bytes`;
      const bytes = await file.readFile();
      const after = await file.stat();
      return after.size === bytes.length && after.mtimeMs === before.mtimeMs
        ? bytes
        : 'changes while it is read';
    } catch (thrown) {
      return `cannot be read (${errorCode(thrown) ?? 'unknown'})`;
    }
  }
}
