import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Sparse files. XFS needs at least 300 MB. */
const HOST_BYTES = 1_073_741_824;
const DISK_BYTES = 100_663_296;
/** Without lazy initialization, which the kernel would write later. */
const MKFS_EXT4 = ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0'];

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`);
}

/**
 * An ext4 disk whose power can be cut. The disk is a file on an XFS file system with reflinks. An instant copy of that
 * file has the content of the disk at that moment, without the data that the kernel had not written yet.
 */
export class PowerDisk {
  /** The mount point of the disk. */
  readonly path: string;
  readonly #dir: string;
  readonly #host: string;
  #image: string;
  readonly #after: string;
  #cuts = 0;
  readonly #mounted: string[] = [];

  /** Throws when loop devices or the file systems are not available. */
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
    this.#host = join(dir, 'host');
    this.#after = join(dir, 'after');
    this.#image = join(this.#host, 'disk.img');
  }

  #make(): void {
    for (const folder of [this.path, this.#host, this.#after]) mkdirSync(folder);
    const hostImage = join(this.#dir, 'host.img');
    sparse(hostImage, HOST_BYTES);
    run('mkfs.xfs', '-q', '-m', 'reflink=1', hostImage);
    this.#mount(hostImage, this.#host);
    sparse(this.#image, DISK_BYTES);
    run('mkfs.ext4', ...MKFS_EXT4, this.#image);
    this.#mount(this.#image, this.path);
  }

  /** Copies the disk as a power cut would leave it, while the writer continues. `inspect` gets the mount point of the copy. */
  cutCopy<T>(inspect: (path: string) => T): T {
    this.#cuts += 1;
    const copy = join(this.#host, `cut-${this.#cuts}.img`);
    run('cp', '--reflink=always', this.#image, copy);
    this.#mount(copy, this.#after);
    try {
      return inspect(this.#after);
    } finally {
      this.#unmount(this.#after);
      rmSync(copy);
    }
  }

  /** Cuts the power: every later write fails, and data not written yet is lost. */
  cut(): void {
    run('xfs_io', '-x', '-c', 'shutdown', this.path);
  }

  /** Mounts the disk again. The writer must have exited. */
  restore(): void {
    this.#unmount(this.path);
    // Use a copy: a mount namespace created meanwhile may still hold the loop device of the old file.
    const old = this.#image;
    this.#image = join(this.#host, `disk-${this.#cuts}.img`);
    this.#cuts += 1;
    run('cp', '--reflink=always', old, this.#image);
    rmSync(old);
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
    // The kernel may release the files of a killed process group after its leader has ended.
    run('timeout', '20', 'sh', '-c', 'until umount "$1"; do sleep 0.1; done', 'sh', path);
    this.#mounted.splice(this.#mounted.indexOf(path), 1);
  }
}

function sparse(path: string, sizeBytes: number): void {
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
}

/** True when this process may mount disks, copy them with reflinks and shut down their file systems. */
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
