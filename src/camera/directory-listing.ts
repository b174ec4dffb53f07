import { readdir, stat } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';

export interface ImageFile {
  /** Path below the directory. Each character is one byte, because names need not be valid UTF-8. */
  readonly name: string;
  /** Time of the last change of content, name or attributes. An uploading program can set mtime, but not ctime. */
  readonly ctimeMs: number;
  readonly mtimeMs: number;
  readonly size: number;
  readonly ino: number;
  /**
   * Monotonic time since which each listing has found that the file was overwritten in place, ms. Null when the last
   * listing found no change: then no program writes it.
   */
  readonly overwrittenSinceMs: number | null;
}

export interface DirectoryListingOptions {
  readonly path: string;
  /** True: also the files of subdirectories. Links to directories are not followed, so there are no loops. */
  readonly recursive: boolean;
}

interface Entries {
  readonly mtimeMs: number;
  readonly readMonoMs: number;
  /** When this time of the directory was seen first. */
  readonly changedMonoMs: number;
  readonly files: readonly string[];
  readonly directories: readonly string[];
}

const MAX_FILES = 200_000;
const MAX_DIRECTORIES = 20_000;
/** Subdirectories below this depth are ignored: year, month, day, hour and some levels more. */
const MAX_DEPTH = 8;
/** Of more files than this, each listing reads the times of a part only: those of all files take seconds. */
const MAX_STATS = 2000;
const PARALLEL_STATS = 16;
/** A directory that changed less than this ago is read again: a later change may have the same time. */
const TIME_RESOLUTION_MS = 2500;
const IMAGE_EXTENSION = /\.(jpe?g|png|webp)$/i;
/** Hidden files, and the thumbnails of network drives (`@eaDir`). */
const IGNORED = /^[.@]/;

/** The images of a directory. Remembers what did not change, so that a directory of 100,000 images is cheap to poll. */
export class DirectoryListing {
  readonly #options: DirectoryListingOptions;
  readonly #clock: Clock;
  /** The entries of each directory at its last change. */
  readonly #directories = new Map<string, Entries>();
  readonly #files = new Map<string, ImageFile>();
  /** Files that were overwritten once, such as latest.jpg: each listing reads their times. */
  readonly #overwritten = new Set<string>();
  #cursor = 0;

  constructor(options: DirectoryListingOptions, deps: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = deps.clock;
  }

  /** The path of a file for the operating system. */
  pathOf(name: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.#options.path}/`), Buffer.from(name, 'latin1')]);
  }

  /** Names of all images. Throws `camera_unreachable` when the directory cannot be read or is too large. */
  async names(signal: AbortSignal): Promise<string[]> {
    const { path, recursive } = this.#options;
    const names: string[] = [];
    const listed = new Set<string>();
    const waiting = [{ directory: '', depth: 0 }];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      signal.throwIfAborted();
      const { directory, depth } = next;
      const entries = await this.#read(directory).catch((cause: unknown) => {
        // A subdirectory may be deleted meanwhile, or belong to another user.
        if (directory !== '') return null;
        throw new AgentError('camera_unreachable', 'the directory cannot be read', {
          context: { path },
          cause,
        });
      });
      if (entries === null) continue;
      listed.add(directory);
      for (const file of entries.files) names.push(directory + file);
      if (recursive && depth < MAX_DEPTH)
        for (const child of entries.directories)
          waiting.push({ directory: `${directory}${child}/`, depth: depth + 1 });
      if (names.length > MAX_FILES || listed.size > MAX_DIRECTORIES)
        throw new AgentError(
          'camera_unreachable',
          `the directory contains more than ${MAX_FILES} images or ${MAX_DIRECTORIES} subdirectories`,
          { context: { path }, hint: 'delete or move old images, or name a subdirectory in path' },
        );
    }
    for (const directory of this.#directories.keys())
      if (!listed.has(directory)) this.#directories.delete(directory);
    return names;
  }

  /**
   * All images with their times. In a large directory, the first change of a file that is overwritten may be noticed some
   * calls later, but at once for `newest`.
   */
  async files(newest: string | null, signal: AbortSignal): Promise<ImageFile[]> {
    const names = await this.names(signal);
    const present = new Set(names);
    for (const name of this.#files.keys()) if (!present.has(name)) this.#files.delete(name);
    const due = this.#dueNames(names, newest);
    const work = async (): Promise<void> => {
      for (let name = due.pop(); name !== undefined; name = due.pop()) {
        signal.throwIfAborted();
        await this.#readTime(name);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_STATS }, work));
    return [...this.#files.values()];
  }

  /** The entries of a directory. Reads only a directory that has changed. */
  async #read(directory: string): Promise<Entries> {
    const path = this.pathOf(directory);
    const { mtimeMs } = await stat(path);
    const readMonoMs = this.#clock.monoMs();
    const before = this.#directories.get(directory);
    const isUnchanged = before?.mtimeMs === mtimeMs;
    if (isUnchanged && before.readMonoMs - before.changedMonoMs > TIME_RESOLUTION_MS) return before;
    const entries = (await readdir(path, { encoding: 'buffer', withFileTypes: true }))
      .map((entry) => ({ name: entry.name.toString('latin1'), isDirectory: entry.isDirectory() }))
      .filter(({ name }) => !IGNORED.test(name));
    const read = {
      mtimeMs,
      readMonoMs,
      changedMonoMs: isUnchanged ? before.changedMonoMs : readMonoMs,
      files: entries.flatMap(({ name, isDirectory }) =>
        !isDirectory && IMAGE_EXTENSION.test(name) ? [name] : [],
      ),
      directories: entries.flatMap(({ name, isDirectory }) => (isDirectory ? [name] : [])),
    };
    this.#directories.set(directory, read);
    return read;
  }

  /** Files whose times this listing reads: new ones, those that change, and the next part of all others. */
  #dueNames(names: readonly string[], newest: string | null): string[] {
    if (names.length <= MAX_STATS) return [...names];
    const from = this.#cursor % names.length;
    this.#cursor = from + MAX_STATS;
    return names.filter(
      (name, index) =>
        (index >= from && index < this.#cursor) ||
        name === newest ||
        !this.#files.has(name) ||
        this.#overwritten.has(name),
    );
  }

  async #readTime(name: string): Promise<void> {
    const entry = await stat(this.pathOf(name)).catch(() => null);
    if (!entry?.isFile()) {
      this.#files.delete(name);
      return;
    }
    const { ctimeMs, mtimeMs, size, ino } = entry;
    const before = this.#files.get(name);
    const isChanged = before !== undefined && before.ctimeMs !== ctimeMs;
    if (isChanged && this.#overwritten.size < MAX_STATS) this.#overwritten.add(name);
    const isOverwritten = isChanged && before.ino === ino;
    const overwrittenSinceMs = isOverwritten ? (before.overwrittenSinceMs ?? this.#clock.monoMs()) : null;
    this.#files.set(name, { name, ctimeMs, mtimeMs, size, ino, overwrittenSinceMs });
  }
}

/** A name as text; bytes that are not UTF-8 become the replacement character. */
export const displayName = (name: string): string => Buffer.from(name, 'latin1').toString();
