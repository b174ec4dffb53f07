import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Sparse: what is written is what it takes. XFS wants 300 MB at least. */
const SHELF_BYTES = 1_073_741_824;
const DISK_BYTES = 100_663_296;
/** Nothing that is written later by the kernel on its own. */
const MKFS_EXT4 = ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0'];

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`);
}

/**
 * An ext4 disk whose power can be cut. The disk is a file on an XFS that shares blocks between files: a copy of that file,
 * made in an instant, holds what the disk held at that moment, and not what the kernel had yet to write to it.
 */
export class PowerDisk {
  /** Where the disk is mounted. */
  readonly path: string;
  readonly #dir: string;
  readonly #shelf: string;
  #image: string;
  readonly #after: string;
  #cuts = 0;
  readonly #mounted: string[] = [];

  /** Throws where loop devices or the file systems are not to be had. */
  static open(): PowerDisk {
    const disk = new PowerDisk(mkdtempSync(join(tmpdir(), 'swellsight-power-')));
    try {
      disk.#make();
      return disk;
    } catch (error) {
      disk.close();
      throw error;
    }
  }

  private constructor(dir: string) {
    this.#dir = dir;
    this.path = join(dir, 'disk');
    this.#shelf = join(dir, 'shelf');
    this.#after = join(dir, 'after');
    this.#image = join(this.#shelf, 'disk.img');
  }

  #make(): void {
    for (const folder of [this.path, this.#shelf, this.#after]) mkdirSync(folder);
    const shelfImage = join(this.#dir, 'shelf.img');
    sparse(shelfImage, SHELF_BYTES);
    run('mkfs.xfs', '-q', '-m', 'reflink=1', shelfImage);
    this.#mount(shelfImage, this.#shelf);
    sparse(this.#image, DISK_BYTES);
    run('mkfs.ext4', ...MKFS_EXT4, this.#image);
    this.#mount(this.#image, this.path);
  }

  /** The power fails for a copy of the disk, while whoever writes to the disk goes on. `look` gets the copy, mounted. */
  cutCopy<T>(look: (path: string) => T): T {
    this.#cuts += 1;
    const copy = join(this.#shelf, `cut-${this.#cuts}.img`);
    run('cp', '--reflink=always', this.#image, copy);
    this.#mount(copy, this.#after);
    try {
      return look(this.#after);
    } finally {
      this.#unmount(this.#after);
      rmSync(copy);
    }
  }

  /** The power fails: from now on every write fails, and what was not written is lost. */
  cut(): void {
    run('xfs_io', '-x', '-c', 'shutdown', this.path);
  }

  /** The power is back; whoever wrote to the disk must have ended. */
  restore(): void {
    this.#unmount(this.path);
    // A namespace that began meanwhile took a copy of every mount and keeps the loop device of this file, without power.
    const dead = this.#image;
    this.#image = join(this.#shelf, `disk-${this.#cuts}.img`);
    this.#cuts += 1;
    run('cp', '--reflink=always', dead, this.#image);
    rmSync(dead);
    this.#mount(this.#image, this.path);
  }

  close(): void {
    for (const path of this.#mounted.toReversed()) spawnSync('umount', ['-l', path]);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #mount(image: string, path: string): void {
    run('mount', '-o', 'loop', image, path);
    this.#mounted.push(path);
  }

  #unmount(path: string): void {
    run('umount', path);
    this.#mounted.splice(this.#mounted.indexOf(path), 1);
  }
}

function sparse(path: string, sizeBytes: number): void {
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
}

/** True when this process may mount disks, copy them and cut their power. */
export function canCutPower(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    const disk = PowerDisk.open();
    try {
      disk.cutCopy(() => undefined);
      disk.cut();
      disk.restore();
    } finally {
      disk.close();
    }
    return true;
  } catch {
    return false;
  }
}
