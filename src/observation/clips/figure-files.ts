import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SeaStatePicture } from '../../contract/sea-state.ts';

/** Clips of one camera whose figures are kept: about 100 KB each. */
const MAX_CLIPS = 400;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The figures of clips on disk, for cameras with `keepTimestacks`. The oldest ones are deleted. */
export class FigureFiles {
  readonly #dir: string;

  constructor({ stateDir }: { readonly stateDir: string }) {
    this.#dir = join(stateDir, 'sea-state');
  }

  async write(camera: string, id: string, figure: SeaStatePicture, png: Uint8Array): Promise<void> {
    const dir = join(this.#dir, camera);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = join(dir, `${id}-${figure}.png`);
    await writeFile(`${file}.new`, png, { mode: 0o600 });
    await rename(`${file}.new`, file);
    await this.#prune(dir);
  }

  /** Null when it was not kept. */
  async read(camera: string, id: string, figure: SeaStatePicture): Promise<Uint8Array | null> {
    if (!UUID.test(id)) return null;
    return await readFile(join(this.#dir, camera, `${id}-${figure}.png`)).catch(() => null);
  }

  /** Ids begin with the time: the names sort by age. */
  async #prune(dir: string): Promise<void> {
    const names = (await readdir(dir)).toSorted();
    for (const name of names.slice(0, -2 * MAX_CLIPS)) await rm(join(dir, name), { force: true });
  }
}
