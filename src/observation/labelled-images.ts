import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { asAgentError } from '../base/errors.ts';
import { uuidTimeMs } from '../base/uuid.ts';
import type { Log } from '../base/log.ts';
import type { Camera as CameraSettings } from '../config/schema.ts';
import type { Labels } from '../store/types.ts';
import type { ModelLease } from '../vision/protocol.ts';

export interface LabelledImagesOptions {
  readonly stateDir: string;
  /** Bound for the images of all cameras; default 64 MiB. */
  readonly maxBytes?: number;
}

export interface LabelledImagesDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly server: { lease(): Pick<ModelLease, 'render' | typeof Symbol.dispose> };
  readonly store: { readonly labels: Pick<Labels, 'list'> };
  readonly signal: AbortSignal;
}

interface StoredImage {
  readonly camera: string;
  readonly observationId: string;
  readonly file: string;
  readonly sizeBytes: number;
  readonly atMs: number;
}

/** Enough for the inputs of models that such boards run; 20 to 40 KB an image. */
const WIDTH_PX = 640;
const MAX_BYTES = 64 * 2 ** 20;
/** An image without a label is deleted after this time. */
const MAX_UNLABELLED_AGE_MS = 7 * 24 * 3_600_000;
/** Time between two stored images of a camera: flash storage wears out, and an image is far larger than a record. */
const MIN_INTERVAL_MS = 900_000;
/** The same after the first image of a new camera. It doubles with each image: somebody may be waiting to see some. */
const FIRST_INTERVAL_MS = 60_000;
/** An observation without an image takes the nearest one of its camera, at most this far away: the sea hardly changes. */
const MAX_DISTANCE_MS = 600_000;
/** Free space that is reserved for records. */
const MIN_FREE_BYTES = 256 * 2 ** 20;
/** Stored images between two prunings. */
const PRUNE_EVERY = 20;
const FILE = /^([0-9a-f]{8})-([0-9a-f-]{36})\.jpg$/;
const UUID = /^[0-9a-f-]{36}$/;

/**
 * Stores a small masked image of an observation every quarter of an hour, and of each newest one that is labelled, in
 * `{stateDir}/pictures`: for people, who look back and label, and for a later model, which can learn from labels that were
 * given before it came. A label of another observation uses the nearest image. Bounded in bytes and age; images without a
 * label are deleted first. Privacy masks are painted before an image is stored, and images are deleted when the masks of
 * their camera change. Storing never throws: a failure costs the image alone.
 */
export class LabelledImages {
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #deps: LabelledImagesDeps;
  /** All stored images by `imageKey`; null until the directory was read. */
  #stored: Map<string, StoredImage> | null = null;
  readonly #lastMonoMs = new Map<string, number>();
  /** Digest of the privacy masks of each configured camera. */
  readonly #masks = new Map<string, string>();
  #lastWrite: Promise<unknown> = Promise.resolve();
  #sinceLastPrune = PRUNE_EVERY;
  #isFailing = false;

  constructor({ stateDir, maxBytes = MAX_BYTES }: LabelledImagesOptions, deps: LabelledImagesDeps) {
    this.#dir = join(stateDir, 'pictures');
    this.#maxBytes = maxBytes;
    this.#deps = deps;
  }

  /** Stores the image of an observation. `always`: ignores the minimum interval. */
  keep(camera: CameraSettings, observationId: string, frame: Uint8Array, always = false): Promise<void> {
    const nowMs = this.#deps.clock.monoMs();
    const sinceLastMs = nowMs - (this.#lastMonoMs.get(camera.id) ?? -Infinity);
    if (!UUID.test(observationId) || (!always && sinceLastMs < this.#intervalMs(camera.id)))
      return Promise.resolve();
    this.#lastMonoMs.set(camera.id, nowMs);
    return this.#afterLastWrite(() => this.#keep(camera, observationId, frame));
  }

  /** The least time from one image of a camera to the next, ms. */
  #intervalMs(camera: string): number {
    // Not read yet: after a start, the first image is stored at once.
    if (this.#stored === null) return MIN_INTERVAL_MS;
    const count = [...this.#stored.values()].filter((image) => image.camera === camera).length;
    return Math.min(MIN_INTERVAL_MS, FIRST_INTERVAL_MS * 2 ** (count - 1));
  }

  async #keep(camera: CameraSettings, observationId: string, frame: Uint8Array): Promise<void> {
    const stored = await this.#index();
    const masks = this.#maskDigest(camera);
    if (stored.has(imageKey(camera.id, observationId))) return;
    const dir = join(this.#dir, camera.id);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(dir);
    if (bavail * bsize < MIN_FREE_BYTES) return;
    const { server, signal } = this.#deps;
    const options = { privacyMasks: camera.privacyMasks, roi: null, maxWidthPx: WIDTH_PX, lines: [] };
    using lease = server.lease();
    const jpeg = await lease.render(frame, options, signal);
    const file = join(dir, `${masks}-${observationId}.jpg`);
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

  /** The masked JPEG of an observation, or of a near one; null when there is none with the present masks. */
  async read(camera: CameraSettings, observationId: string): Promise<Uint8Array | null> {
    const stored = await this.#index().catch(() => null);
    const masks = this.#maskDigest(camera);
    const image = stored && findImage(stored, camera.id, observationId, masks);
    return image ? readFile(image.file).catch(() => null) : null;
  }

  /** The ids of the observations of a camera whose own image is kept, with the present masks. */
  async list(camera: CameraSettings): Promise<readonly string[]> {
    const stored = await this.#index();
    const masks = this.#maskDigest(camera);
    return [...stored.values()].flatMap((image) =>
      image.camera === camera.id && hasMasks(image, masks) ? [image.observationId] : [],
    );
  }

  /** The masked JPEG of this observation, at most `WIDTH_PX` wide; null when none is kept with the present masks. */
  async readOwn(camera: CameraSettings, observationId: string): Promise<Uint8Array | null> {
    const image = (await this.#index()).get(imageKey(camera.id, observationId));
    if (!image || !hasMasks(image, this.#maskDigest(camera))) return null;
    return readFile(image.file).catch(() => null);
  }

  /** True when there is an image, with the present masks or with former ones. */
  async has(camera: string, observationId: string): Promise<boolean> {
    return (await this.#index().catch(() => null))?.has(imageKey(camera, observationId)) ?? false;
  }

  #afterLastWrite(work: () => Promise<void>): Promise<void> {
    const write = this.#lastWrite.then(work).then(
      () => (this.#isFailing = false),
      (thrown: unknown) => {
        const failure = asAgentError(thrown);
        // The agent is stopping.
        if (this.#deps.signal.aborted || failure.code === 'vision_closed') return;
        if (!this.#isFailing) this.#deps.log.warn({ err: failure }, 'image not stored');
        this.#isFailing = true;
      },
    );
    this.#lastWrite = write;
    return write.then(() => undefined);
  }

  #maskDigest({ id, privacyMasks }: CameraSettings): string {
    const digest = createHash('sha256').update(JSON.stringify(privacyMasks)).digest('hex').slice(0, 8);
    // The next pruning deletes the images with other masks.
    if (this.#masks.get(id) !== digest) this.#sinceLastPrune = PRUNE_EVERY;
    this.#masks.set(id, digest);
    return digest;
  }

  #add(image: StoredImage): void {
    this.#stored?.set(imageKey(image.camera, image.observationId), image);
  }

  async #index(): Promise<ReadonlyMap<string, StoredImage>> {
    if (this.#stored) return this.#stored;
    const found = new Map<string, StoredImage>();
    for (const camera of await namesIn(this.#dir)) {
      for (const name of await namesIn(join(this.#dir, camera))) {
        const file = join(this.#dir, camera, name);
        const observationId = FILE.exec(name)?.[2];
        // The rest of a write that a power cut interrupted.
        if (observationId === undefined) await rm(file, { force: true, recursive: true });
        else {
          const { size: sizeBytes, mtimeMs: atMs } = await stat(file);
          found.set(imageKey(camera, observationId), { camera, observationId, file, sizeBytes, atMs });
        }
      }
    }
    return (this.#stored ??= found);
  }

  async #prune(): Promise<void> {
    this.#sinceLastPrune = 0;
    const stored = this.#stored;
    if (!stored) return;
    const cameras = new Set([...stored.values()].map(({ camera }) => camera));
    const labelled = new Set(
      [...cameras].flatMap((camera) =>
        this.#deps.store.labels
          .list(camera)
          .map(({ observationId }) =>
            findImage(stored, camera, observationId, this.#masks.get(camera) ?? null),
          ),
      ),
    );
    const nowMs = this.#deps.clock.nowMs();
    // Images without a label first, then the labelled ones; the oldest first in both.
    const ordered = [...stored.values()]
      .map((image) => ({ image, isLabelled: labelled.has(image) }))
      .toSorted((a, b) => Number(a.isLabelled) - Number(b.isLabelled) || a.image.atMs - b.image.atMs);
    let totalBytes = ordered.reduce((sum, { image }) => sum + image.sizeBytes, 0);
    for (const { image, isLabelled } of ordered) {
      const masks = this.#masks.get(image.camera);
      const hasOtherMasks = masks !== undefined && !hasMasks(image, masks);
      const isTooOld = !isLabelled && nowMs - image.atMs > MAX_UNLABELLED_AGE_MS;
      if (!hasOtherMasks && !isTooOld && totalBytes <= this.#maxBytes) continue;
      await rm(image.file, { force: true });
      stored.delete(imageKey(image.camera, image.observationId));
      totalBytes -= image.sizeBytes;
    }
  }
}

const imageKey = (camera: string, observationId: string): string => `${camera}/${observationId}`;

const hasMasks = ({ file, observationId }: StoredImage, masks: string): boolean =>
  file.endsWith(`${masks}-${observationId}.jpg`);

/** The image of an observation, or the nearest one of its camera; with these masks, or with any if they are null. */
function findImage(
  stored: ReadonlyMap<string, StoredImage>,
  camera: string,
  observationId: string,
  masks: string | null,
): StoredImage | null {
  const own = stored.get(imageKey(camera, observationId));
  if (own) return masks === null || hasMasks(own, masks) ? own : null;
  const timeMs = uuidTimeMs(observationId);
  let [nearest, distanceMs]: [StoredImage | null, number] = [null, MAX_DISTANCE_MS];
  for (const image of stored.values()) {
    const awayMs = Math.abs(uuidTimeMs(image.observationId) - timeMs);
    const isCandidate = image.camera === camera && (masks === null || hasMasks(image, masks));
    // An imported label has an id without a time: the comparison with NaN is false.
    if (isCandidate && awayMs <= distanceMs) [nearest, distanceMs] = [image, awayMs];
  }
  return nearest;
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw thrown;
  }
}
