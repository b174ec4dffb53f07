import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import { asAgentError, isAbort } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { RenderOptions } from '../vision/protocol.ts';

export interface LabelledImagesOptions {
  /** `{stateDir}/pictures`. */
  readonly dir: string;
  /** All pictures of all cameras; default 64 MiB. */
  readonly maxBytes?: number;
}

export interface LabelledImagesDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** A masked JPEG of a frame. */
  readonly render: (bytes: Uint8Array, options: RenderOptions) => Promise<Uint8Array>;
  /** Observations of a camera that have a label. */
  readonly labelled: (camera: string) => readonly string[];
}

interface Kept {
  readonly camera: string;
  readonly observationId: string;
  readonly file: string;
  readonly sizeBytes: number;
  readonly atMs: number;
}

/** Enough for the inputs of models for such boards: 20 to 40 KB. */
const WIDTH_PX = 640;
const MAX_BYTES = 64 * 2 ** 20;
/** A label that comes later than this finds no picture. */
const UNLABELLED_MS = 3 * 24 * 3_600_000;
/** A camera that is observed more often has a picture of some observations only: disks wear out. */
const MIN_GAP_MS = 30_000;
/** What records need is left to them. */
const MIN_FREE_BYTES = 256 * 2 ** 20;
const PRUNE_EVERY = 20;
const FILE = /^([0-9a-f]{8})-([0-9a-f-]{36})\.jpg$/;
const UUID = /^[0-9a-f-]{36}$/;

/**
 * One small masked picture for each of the newest observations, and for each labelled one: so that another model can learn
 * from labels that were given before it came. Kept up to a bound of bytes and of age, those with a label longest. Masks are
 * painted before anything is stored, and a picture goes when the masks of its camera change. Never throws: a picture that
 * cannot be kept costs nothing but itself.
 */
export class LabelledImages {
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #deps: LabelledImagesDeps;
  #kept: Map<string, Kept> | null = null;
  readonly #lastMonoMs = new Map<string, number>();
  /** Of the cameras that are configured, the digest of their masks. */
  readonly #masks = new Map<string, string>();
  #turn: Promise<unknown> = Promise.resolve();
  #sinceLastPrune = PRUNE_EVERY;
  #failing = false;

  constructor({ dir, maxBytes = MAX_BYTES }: LabelledImagesOptions, deps: LabelledImagesDeps) {
    this.#dir = dir;
    this.#maxBytes = maxBytes;
    this.#deps = deps;
  }

  /** Keeps the picture of an observation. `always`: though another one was kept a moment ago. */
  keep(camera: CameraSettings, observationId: string, frame: Uint8Array, always = false): Promise<void> {
    const nowMs = this.#deps.clock.monoMs();
    const last = this.#lastMonoMs.get(camera.id) ?? -Infinity;
    if (!UUID.test(observationId) || (!always && nowMs - last < MIN_GAP_MS)) return Promise.resolve();
    this.#lastMonoMs.set(camera.id, nowMs);
    return this.#inTurn(() => this.#keep(camera, observationId, frame));
  }

  async #keep(camera: CameraSettings, observationId: string, frame: Uint8Array): Promise<void> {
    const kept = await this.#index();
    const masks = this.#masksOf(camera);
    if (kept.has(keyOf(camera.id, observationId))) return;
    const folder = join(this.#dir, camera.id);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < MIN_FREE_BYTES) return;
    const { privacyMasks } = camera;
    const jpeg = await this.#deps.render(frame, {
      privacyMasks,
      roi: null,
      maxWidthPx: WIDTH_PX,
      lines: [],
    });
    const file = join(folder, `${masks}-${observationId}.jpg`);
    await writeFile(`${file}.new`, jpeg, { mode: 0o600 });
    await rename(`${file}.new`, file);
    this.#add({
      camera: camera.id,
      observationId,
      file,
      sizeBytes: jpeg.length,
      atMs: this.#deps.clock.nowMs(),
    });
    this.#sinceLastPrune += 1;
    if (this.#sinceLastPrune >= PRUNE_EVERY) await this.#prune();
  }

  /** The masked JPEG of an observation; null when there is none. */
  async read(camera: CameraSettings, observationId: string): Promise<Uint8Array | null> {
    const kept = (await this.#index().catch(() => null))?.get(keyOf(camera.id, observationId));
    if (!kept?.file.endsWith(`${this.#masksOf(camera)}-${observationId}.jpg`)) return null;
    return readFile(kept.file).catch(() => null);
  }

  /** Whether there is one, whatever is in it. */
  async has(camera: string, observationId: string): Promise<boolean> {
    return (await this.#index().catch(() => null))?.has(keyOf(camera, observationId)) ?? false;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work).then(
      () => (this.#failing = false),
      (thrown: unknown) => {
        const failure = asAgentError(thrown);
        // The agent stops: the picture in hand is not missed.
        if (isAbort(thrown) || failure.code === 'vision_closed') return;
        if (!this.#failing) this.#deps.log.warn({ err: failure }, 'a picture was not kept');
        this.#failing = true;
      },
    );
    this.#turn = mine;
    return mine.then(() => undefined);
  }

  #masksOf({ id, privacyMasks }: CameraSettings): string {
    const digest = createHash('sha256').update(JSON.stringify(privacyMasks)).digest('hex').slice(0, 8);
    // The next round takes those that were masked otherwise.
    if (this.#masks.get(id) !== digest) this.#sinceLastPrune = PRUNE_EVERY;
    this.#masks.set(id, digest);
    return digest;
  }

  #add(one: Kept): void {
    this.#kept?.set(keyOf(one.camera, one.observationId), one);
  }

  async #index(): Promise<ReadonlyMap<string, Kept>> {
    if (this.#kept) return this.#kept;
    const found = new Map<string, Kept>();
    for (const camera of await namesIn(this.#dir)) {
      for (const name of await namesIn(join(this.#dir, camera))) {
        const file = join(this.#dir, camera, name);
        const observationId = FILE.exec(name)?.[2];
        // A power cut in the midst of it.
        if (observationId === undefined) await rm(file, { force: true, recursive: true });
        else {
          const { size: sizeBytes, mtimeMs: atMs } = await stat(file);
          found.set(keyOf(camera, observationId), { camera, observationId, file, sizeBytes, atMs });
        }
      }
    }
    return (this.#kept ??= found);
  }

  async #prune(): Promise<void> {
    this.#sinceLastPrune = 0;
    const kept = this.#kept;
    if (!kept) return;
    const labelled = new Map<string, ReadonlySet<string>>();
    const hasLabel = ({ camera, observationId }: Kept): boolean => {
      const known = labelled.get(camera) ?? new Set(this.#deps.labelled(camera));
      labelled.set(camera, known);
      return known.has(observationId);
    };
    const nowMs = this.#deps.clock.nowMs();
    // Those without a label first, each kind oldest first.
    const ordered = [...kept.values()]
      .map((one) => ({ one, label: hasLabel(one) }))
      .toSorted((a, b) => Number(a.label) - Number(b.label) || a.one.atMs - b.one.atMs);
    let totalBytes = ordered.reduce((sum, { one }) => sum + one.sizeBytes, 0);
    for (const { one, label } of ordered) {
      const masks = this.#masks.get(one.camera);
      const otherMasks = masks !== undefined && !one.file.endsWith(`${masks}-${one.observationId}.jpg`);
      const tooOld = !label && nowMs - one.atMs > UNLABELLED_MS;
      if (!otherMasks && !tooOld && totalBytes <= this.#maxBytes) continue;
      await rm(one.file, { force: true });
      kept.delete(keyOf(one.camera, one.observationId));
      totalBytes -= one.sizeBytes;
    }
  }
}

const keyOf = (camera: string, observationId: string): string => `${camera}/${observationId}`;

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw thrown;
  }
}
