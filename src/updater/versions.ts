import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { mkdir, readdir, readlink, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../base/atomic-file.ts';
import { errorCode } from '../base/disk-errors.ts';
import { AgentError } from '../base/errors.ts';
import type { InstalledVersion, Release } from '../contract/update-files.ts';
import { versionPath } from './paths.ts';
import { readArchiveDigest, readRelease } from './release-files.ts';
import { isVersionText } from './state-file.ts';

const DIRECTORY_NAME = /^(.+)-([0-9a-f]{12})$/;
/** A directory with this prefix is incomplete: its name is changed when all its files are on the disk. */
const NEW_PREFIX = '.new-';
/** A directory with this prefix is being deleted. */
const OLD_PREFIX = '.old-';
const LINK = 'current';
const NEW_LINK = '.current.new';
/** A link to the former version. It is created before a trial, so that a return needs no space. */
const RETURN_LINK = '.current.former';

/** The versions on the disk, and the link to the one that runs. */
export class Versions {
  readonly #root: string;
  readonly #dir: string;

  constructor(root: string) {
    this.#root = root;
    this.#dir = join(root, 'versions');
  }

  pathOf(version: InstalledVersion): string {
    return join(this.#root, versionPath(version));
  }

  releaseOf(version: InstalledVersion): Promise<Release | null> {
    return readRelease(this.pathOf(version));
  }

  /** All complete versions. */
  async list(): Promise<InstalledVersion[]> {
    const names = await readdir(this.#dir).catch(() => []);
    const versions = await Promise.all(names.toSorted().map((name) => this.#parse(name)));
    return versions.filter((version) => version !== null);
  }

  /** The version to which the link points; null when there is no link, or no complete version behind it. */
  async current(): Promise<InstalledVersion | null> {
    const target = await readlink(join(this.#root, LINK)).catch(() => '');
    return target.startsWith('versions/') ? this.#parse(target.slice('versions/'.length)) : null;
  }

  /** Points the link to a version. The change is atomic, and on the disk when this returns. */
  switchTo(version: InstalledVersion): void {
    this.#link(version, NEW_LINK);
    this.#rename(NEW_LINK);
  }

  /** Prepares `returnTo`. */
  prepareReturn(former: InstalledVersion): void {
    this.#link(former, RETURN_LINK);
    syncDirectory(this.#root);
  }

  /** As `switchTo`, but with the prepared link, if it leads to this version. */
  async returnTo(former: InstalledVersion): Promise<void> {
    const target = await readlink(join(this.#root, RETURN_LINK)).catch(() => null);
    if (target === versionPath(former)) this.#rename(RETURN_LINK);
    else this.switchTo(former);
  }

  #link(version: InstalledVersion, name: string): void {
    const path = join(this.#root, name);
    rmSync(path, { force: true });
    symlinkSync(versionPath(version), path);
  }

  #rename(name: string): void {
    renameSync(join(this.#root, name), join(this.#root, LINK));
    syncDirectory(this.#root);
  }

  /** Throws `update_read_only` when the versions cannot be changed. */
  async ensureWritable(): Promise<void> {
    const probe = join(this.#dir, `${NEW_PREFIX}probe`);
    try {
      // Not with `recursive`: then Node 24 reports ENOENT on a read-only file system.
      await rm(probe, { recursive: true, force: true });
      await mkdir(probe);
      await rm(probe, { recursive: true });
    } catch (error) {
      throw readOnlyError(error) ?? error;
    }
  }

  /** Where the files of a version are unpacked first. */
  newPath(version: InstalledVersion): string {
    return join(this.#dir, `${NEW_PREFIX}${versionPath(version).slice('versions/'.length)}`);
  }

  /** Gives an unpacked version its name. Its files must be on the disk. */
  async publish(version: InstalledVersion): Promise<void> {
    syncDirectory(this.newPath(version));
    await rename(this.newPath(version), this.pathOf(version));
    syncDirectory(this.#dir);
  }

  /** Removes what an interrupted update left. */
  async removeRests(): Promise<void> {
    for (const name of [NEW_LINK, RETURN_LINK]) rmSync(join(this.#root, name), { force: true });
    for (const name of await readdir(this.#dir).catch(() => []))
      if (name.startsWith(NEW_PREFIX) || name.startsWith(OLD_PREFIX))
        await rm(join(this.#dir, name), { recursive: true, force: true });
  }

  /** Deletes all other versions, except those from which a process still runs. */
  async removeAllBut(kept: readonly InstalledVersion[]): Promise<void> {
    const keptPaths = new Set(kept.map(versionPath));
    const current = await readlink(join(this.#root, LINK)).catch(() => null);
    // Without a link it is not known which version runs.
    if (current === null) return;
    const used = await usedPrograms();
    for (const version of await this.list()) {
      const path = versionPath(version);
      const dir = this.pathOf(version);
      if (keptPaths.has(path) || path === current || used.some((program) => program.startsWith(`${dir}/`)))
        continue;
      // Renamed first: a half deleted version must not look like a complete one.
      const old = join(this.#dir, `${OLD_PREFIX}${path.slice('versions/'.length)}`);
      await rm(old, { recursive: true, force: true });
      await rename(dir, old);
      syncDirectory(this.#dir);
      await rm(old, { recursive: true, force: true });
    }
  }

  async #parse(name: string): Promise<InstalledVersion | null> {
    const [, version = '', short = ''] = DIRECTORY_NAME.exec(name) ?? [];
    if (!isVersionText(version)) return null;
    const digest = await readArchiveDigest(join(this.#dir, name));
    return digest?.startsWith(short) ? { version, digest } : null;
  }
}

/** Converts the error of a file system that refuses changes; null for any other error. */
export function readOnlyError(error: unknown): AgentError | null {
  if (!/^(EROFS|EACCES|EPERM)$/.test(errorCode(error) ?? '')) return null;
  return new AgentError('update_read_only', 'the directory of the versions cannot be changed', {
    cause: error,
  });
}

/** The program files of all running processes. */
async function usedPrograms(): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const programs = await Promise.all(ids.map((id) => readlink(`/proc/${id}/exe`).catch(() => '')));
  return programs.filter((program) => program !== '');
}
