import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeBundlesScript, factoryBundleDir } from '../../fixtures/bundles.ts';
import { hasPythonModules, runPython } from '../../fixtures/python.ts';
import { surfcamDir } from '../../fixtures/surfcam.ts';

const root = join(import.meta.dirname, '../../..');
const scripts = join(root, 'scripts/model');
const hasOnnx = hasPythonModules('onnx');
const hasTorch = hasOnnx && hasPythonModules('torch');

const SIZE_PX = 224;
const IMAGE_BYTES = SIZE_PX * SIZE_PX * 3;
const EMBEDDING_LENGTH = 1280;
const FRAME_COUNT = 10;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'export-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe.skipIf(!hasTorch)('the shipped model (needs python3-onnx and python3-torch)', () => {
  it('has the same bytes as the output of its build script', async () => {
    const printed = await runPython(join(scripts, 'build.py'), ['--check'], 400_000);
    expect(printed.trim()).toBe('the bundle is up to date');
  }, 420_000);

  it('matches its reference implementation within 1e-4 on ten frames', async () => {
    const { source, files } = tenFrames();
    expect(files).toHaveLength(FRAME_COUNT);
    const images = Buffer.concat(await Promise.all(files.map(toModelInput)));
    await writeFile(join(dir, 'pictures'), images);
    const cache = join(root, '.cache/model');
    const args = ['--cache', cache, join(dir, 'pictures'), join(dir, 'embeddings')];
    const [exported] = await Promise.all([
      runExported(images),
      runPython(join(scripts, 'reference.py'), args, 400_000),
    ]);
    const bytes = await readFile(join(dir, 'embeddings'));
    const reference = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    expect(reference).toHaveLength(FRAME_COUNT * EMBEDDING_LENGTH);
    const largest = largestDifference(exported, reference);
    console.log(
      `exported model against reference, ${source}: largest difference ${largest.toExponential(2)}`,
    );
    expect(largest).toBeLessThan(1e-4);
    // The frames must differ for the model, or the comparison proves little.
    const others = exported.slice(EMBEDDING_LENGTH);
    expect(largestDifference(exported.subarray(0, others.length), others)).toBeGreaterThan(0.1);
  }, 420_000);
});

describe.skipIf(!hasOnnx)('the test bundles (need python3-onnx)', () => {
  it('have the same bytes as the output of their script', async () => {
    await runPython(makeBundlesScript, ['--out', dir], 60_000);
    const checkedIn = join(makeBundlesScript, '..');
    const names = (await readdir(checkedIn, { withFileTypes: true })).filter((entry) => entry.isDirectory());
    expect(names.length).toBeGreaterThan(10);
    for (const { name } of names.filter((entry) => entry.name !== '__pycache__')) {
      for (const file of await readdir(join(checkedIn, name), { recursive: true, withFileTypes: true })) {
        if (!file.isFile()) continue;
        const path = join(file.parentPath, file.name);
        const built = await readFile(path.replace(checkedIn, dir));
        expect(built.equals(await readFile(path)), path).toBe(true);
      }
    }
  }, 90_000);
});

/** Real frames of all three cameras if available, else simulated frames and golden images. */
function tenFrames(): { source: string; files: string[] } {
  const real = surfcamDir();
  if (real) {
    const frames = readdirSync(join(real, 'frames')).filter((name) => name.endsWith('.jpg'));
    const step = Math.floor(frames.length / FRAME_COUNT);
    const files = Array.from({ length: FRAME_COUNT }, (_, n) => join(real, 'frames', frames[n * step]!));
    return { source: 'ten real frames', files };
  }
  const dirs = [join(root, 'test/fixtures/sea'), join(factoryBundleDir, 'golden')].filter(existsSync);
  const available = dirs.flatMap((path) => readdirSync(path).map((name) => join(path, name)));
  const files = Array.from({ length: FRAME_COUNT }, (_, n) => available[n % available.length]!);
  return { source: `real frames missing, ${available.length} simulated ones`, files };
}

const toModelInput = (file: string): Promise<Buffer> =>
  sharp(file).removeAlpha().toColourspace('srgb').resize(SIZE_PX, SIZE_PX, { fit: 'fill' }).raw().toBuffer();

async function runExported(images: Buffer): Promise<Float32Array> {
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  const session = await InferenceSession.create(join(factoryBundleDir, 'trunk.onnx'), {
    executionProviders: ['cpu'],
  });
  const embeddings = new Float32Array((images.length / IMAGE_BYTES) * EMBEDDING_LENGTH);
  for (let at = 0, n = 0; at < images.length; at += IMAGE_BYTES, n++) {
    const image = Uint8Array.from(images.subarray(at, at + IMAGE_BYTES));
    const { embedding } = await session.run({
      image: new Tensor('uint8', image, [1, SIZE_PX, SIZE_PX, 3]),
    });
    embeddings.set(embedding!.data as Float32Array, n * EMBEDDING_LENGTH);
  }
  await session.release();
  return embeddings;
}

const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - b[index]!)), 0);
