import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFile,
  cp,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AgentError } from '../../../../src/base/errors.ts';
import { providerLimits } from '../../../../src/base/provider-limits.ts';
import { openBundle } from '../../../../src/model/bundle/bundle.ts';
import type { Manifest } from '../../../../src/model/manifest.ts';
import { bundleDir, factoryBundleDir } from '../../../fixtures/bundles.ts';
import { externalTensor, field, model } from '../../../fixtures/protobuf.ts';

let root: string;
let dir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'bundle-'));
  dir = join(root, 'heads');
  await cp(bundleDir('heads'), dir, { recursive: true });
});
afterEach(() => rm(root, { recursive: true, force: true }));

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Changes the manifest and updates the digests in `files`. */
async function editManifest(change: (manifest: Mutable<Manifest>) => void): Promise<void> {
  const path = join(dir, 'model.json');
  const manifest = JSON.parse(await readFile(path, 'utf8')) as Mutable<Manifest>;
  change(manifest);
  for (const name of Object.keys(manifest.files ?? {})) {
    const bytes = await readFile(join(dir, name));
    manifest.files![name] = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  }
  await writeFile(path, JSON.stringify(manifest));
}

async function openRefused(): Promise<{ code: string; message: string }> {
  const { code, message } = await openBundle(dir).then(
    () => ({ code: 'opened', message: '' }),
    (error: unknown) => error as AgentError,
  );
  return { code, message };
}

describe('openBundle', () => {
  it('opens every test bundle and the shipped bundle', async () => {
    const names = [
      'heads',
      'depth',
      'wrong-golden',
      'loop',
      'nan',
      'big-alloc',
      'input-half',
      'input-contain',
    ] as const;
    for (const name of names) expect((await openBundle(bundleDir(name))).manifest.name).toBe(name);
    const factory = await openBundle(factoryBundleDir);
    expect(factory.manifest.heads).toEqual({ embedding: { output: 'trunk.embedding' } });
    expect(factory.dir).toBe(factoryBundleDir);
  });

  it('computes the same digest as sha256sum', async () => {
    const command = 'find * -type f | xargs sha256sum | LC_ALL=C sort -k2 | sha256sum';
    const printed = execFileSync('sh', ['-c', command], { cwd: dir, encoding: 'utf8' });
    expect((await openBundle(dir)).digest).toBe(`sha256:${printed.slice(0, 64)}`);
  });

  it.each(['analysis.onnx', 'golden/picture-2.png'])('detects one changed bit in %s', async (name) => {
    const file = await open(join(dir, name), 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, 120);
    byte[0] = (byte[0] ?? 0) ^ 1;
    await file.write(byte, 0, 1, 120);
    await file.close();
    expect(await openRefused()).toEqual({
      code: 'model_digest_mismatch',
      message: `the manifest states another digest for: ${name}`,
    });
  });

  it('detects a truncated file', async () => {
    const path = join(dir, 'analysis.onnx');
    await writeFile(path, (await readFile(path)).subarray(0, -1));
    expect((await openRefused()).code).toBe('model_digest_mismatch');
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['an unlisted file', () => writeFile(join(dir, 'run.sh'), 'true'), 'run.sh is not listed in files'],
    [
      'an unlisted golden image',
      () => writeFile(join(dir, 'golden/more.png'), ''),
      'golden/more.png is not listed in files',
    ],
    ['a hidden file', () => writeFile(join(dir, '.npmrc'), ''), '".npmrc" is not an allowed name'],
    ['a directory', () => mkdir(join(dir, 'more')), 'more is not a plain file'],
    ['a directory in golden', () => mkdir(join(dir, 'golden/more')), 'golden/more is not a plain file'],
    [
      'a pipe',
      () => Promise.resolve(execFileSync('sh', ['-c', 'mkfifo "$0"', join(dir, 'pipe')])),
      'pipe is not a plain file',
    ],
    ['a link', () => symlink('/etc/passwd', join(dir, 'LICENSE')), 'LICENSE is a link'],
    [
      'too many files',
      () => Promise.all(Array.from({ length: 70 }, (_, n) => writeFile(join(dir, `f${n}`), ''))),
      'at most 64',
    ],
    [
      'a model over the size limit',
      () => makeSparse('analysis.onnx', 600 * 1024 * 1024),
      'analysis.onnx is larger than 512 MiB',
    ],
    [
      'a manifest over the size limit',
      () => makeSparse('model.json', 5 * 1024 * 1024),
      'model.json is larger than 4 MiB',
    ],
    ['a missing model', () => rm(join(dir, 'analysis.onnx')), 'analysis.onnx is missing'],
    [
      'a missing golden image',
      () => rm(join(dir, 'golden'), { recursive: true }),
      'golden/picture-1.png is missing',
    ],
  ])('refuses %s', async (_what, change, fault) => {
    await change();
    const { code, message } = await openRefused();
    expect(code).toBe('model_bundle_refused');
    expect(message).toContain(fault);
  });

  async function makeSparse(name: string, sizeBytes: number): Promise<void> {
    const file = await open(join(dir, name), 'r+');
    await file.truncate(sizeBytes);
    await file.close();
  }

  it.each(['analysis.onnx', 'golden', 'model.json'])('refuses a link in place of %s', async (name) => {
    await rename(join(dir, name), join(root, 'elsewhere'));
    await symlink(join(root, 'elsewhere'), join(dir, name));
    const { code, message } = await openRefused();
    expect(code).toBe('model_bundle_refused');
    expect(message).toContain(`${name} is a link`);
  });

  it.each([
    ['a missing directory', 'nowhere'],
    ['a file', 'heads/model.json'],
    ['a directory without model.json', 'heads/golden'],
  ])('throws model_not_found for %s', async (_what, path) => {
    await expect(openBundle(join(root, path))).rejects.toMatchObject({ code: 'model_not_found' });
  });

  it('reports faults of the manifest', async () => {
    await writeFile(join(dir, 'model.json'), '{"format": 1}');
    expect((await openRefused()).code).toBe('model_manifest_invalid');
  });

  it('opens a bundle without a files list and includes every file in its digest', async () => {
    await editManifest((manifest) => delete manifest.files);
    const before = await openBundle(dir);
    await writeFile(join(dir, 'README.md'), 'text');
    const after = await openBundle(dir);
    expect(after.digest).not.toBe(before.digest);
    expect(after.embeddingDigest).toBe(before.embeddingDigest);
  });

  it.each(['../../../etc/passwd', '/etc/passwd', 'golden/picture-1.png', 'weights.bin', ''])(
    'refuses external tensors in %j',
    async (location) => {
      await writeFile(join(dir, 'analysis.onnx'), model(field(5, externalTensor(location))));
      await editManifest(() => undefined);
      const { code, message } = await openRefused();
      expect(code).toBe('model_bundle_refused');
      expect(message).toContain(`analysis.onnx reads tensors from ${JSON.stringify(location)}`);
    },
  );

  it('accepts external tensors in a listed file and includes them in the embedding digest', async () => {
    await writeFile(join(dir, 'analysis.onnx'), model(field(5, externalTensor('analysis.data'))));
    await writeFile(join(dir, 'analysis.data'), 'weights');
    await editManifest((manifest) => (manifest.files = { ...manifest.files, 'analysis.data': '' }));
    const before = await openBundle(dir);
    await appendFile(join(dir, 'analysis.data'), '!');
    await editManifest(() => undefined);
    expect((await openBundle(dir)).embeddingDigest).not.toBe(before.embeddingDigest);
  });

  it.each([
    [{ agentVersion: '0.0.9' }, 'the model needs agent >=0.1.0, this is 0.0.9'],
    [{ memoryMb: 511 }, 'the model needs 512 MB of memory, this machine has 511 MB'],
  ])('refuses a device with %j', async (device, message) => {
    await editManifest((manifest) => (manifest.requires = { ...manifest.requires, memory_mb: 512 }));
    await expect(openBundle(dir, device)).rejects.toMatchObject({ code: 'model_requires', message });
    await expect(openBundle(dir, { agentVersion: '0.1.0', memoryMb: 512 })).resolves.toBeDefined();
  });

  it('refuses a device that cannot hold the libraries of the providers that the model requires', async () => {
    await editManifest((manifest) => (manifest.requires = { ...manifest.requires, providers: ['cuda'] }));
    const { extraMemoryMb } = providerLimits('cuda');
    await expect(openBundle(dir, { memoryMb: 1024 })).rejects.toMatchObject({
      code: 'model_requires',
      message: `the model needs ${extraMemoryMb} MB of memory, this machine has 1024 MB`,
    });
    await expect(openBundle(dir, { memoryMb: extraMemoryMb })).resolves.toBeDefined();
  });

  it('checks the kind of machine if it is given', async () => {
    await editManifest(
      (manifest) => (manifest.requires = { ...manifest.requires, hardware: ['jetson', 'apple'] }),
    );
    await expect(openBundle(dir, { hardware: 'raspberry_pi' })).rejects.toMatchObject({
      code: 'model_requires',
      message: 'the model needs jetson or apple, this is raspberry_pi',
    });
    await expect(openBundle(dir, { hardware: 'jetson' })).resolves.toBeDefined();
    await expect(openBundle(dir)).resolves.toBeDefined();
  });

  it('refuses files that together exceed 2 GiB', async () => {
    await editManifest((manifest) => delete manifest.files);
    for (const name of ['a.data', 'b.data', 'c.data', 'd.data']) {
      await writeFile(join(dir, name), '');
      await makeSparse(name, 512 * 1024 * 1024);
    }
    expect(await openRefused()).toMatchObject({
      code: 'model_bundle_refused',
      message: expect.stringContaining('the files together are larger than 2 GiB') as string,
    });
  });

  it('stops when the signal aborts', async () => {
    const opened = openBundle(dir, { signal: AbortSignal.abort() });
    await expect(opened).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('embeddingDigest', () => {
  const digestAfter = async (change: (manifest: Mutable<Manifest>) => void): Promise<string | null> => {
    await editManifest(change);
    return (await openBundle(dir)).embeddingDigest;
  };

  it('does not change with parts that cannot change an embedding', async () => {
    const { embeddingDigest, digest } = await openBundle(dir);
    const after = await digestAfter((manifest) => {
      manifest.version = '1.0.1';
      manifest.description = 'another text';
      manifest.golden = manifest.golden.map((golden) => ({ ...golden, tolerance: 0.5 }));
      delete manifest.heads.breaking_type;
    });
    expect(after).toBe(embeddingDigest);
    expect((await openBundle(dir)).digest).not.toBe(digest);
  });

  it('changes with the weights, the preprocessing of the frame and the output', async () => {
    const { embeddingDigest } = await openBundle(dir);
    const seen = new Set([embeddingDigest]);
    seen.add(await digestAfter((manifest) => (manifest.heads.embedding = { output: 'analysis.quality' })));
    seen.add(await digestAfter(({ stages }) => (stages[0]!.inputs[0]!.fit = 'cover')));
    await writeFile(join(dir, 'analysis.onnx'), model(field(2, 'other')));
    seen.add(await digestAfter(() => undefined));
    expect(seen.size).toBe(4);
  });

  it('is null without an embedding head', async () => {
    expect(await digestAfter((manifest) => delete manifest.heads.embedding)).toBeNull();
  });

  it('includes only the stages that lead to the embedding', async () => {
    await rm(dir, { recursive: true });
    await cp(bundleDir('depth'), dir, { recursive: true });
    const { embeddingDigest } = await openBundle(dir);
    const deeper = await digestAfter(({ stages }) => (stages[0]!.inputs[0]!.scale = 1 / 255));
    expect(deeper).not.toBe(embeddingDigest);
    const before = await digestAfter((manifest) => (manifest.heads.embedding = { output: 'depth.depth' }));
    const after = await digestAfter(({ stages }) => (stages[1]!.inputs[0]!.scale = 1 / 255));
    expect(after).toBe(before);
  });
});
