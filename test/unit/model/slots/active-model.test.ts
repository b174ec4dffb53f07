import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../../../src/base/log.ts';
import {
  readFactoryModel,
  resolveActiveModel,
  type ActiveModel,
} from '../../../../src/model/slots/active-model.ts';
import { bundleDir, factoryBundleDir, shippedModelsDir } from '../../../fixtures/bundles.ts';

let installed: string;
beforeEach(async () => {
  installed = await mkdtemp(join(tmpdir(), 'models-'));
  await cp(bundleDir('heads'), join(installed, 'heads/1.0.0'), { recursive: true });
});
afterEach(() => rm(installed, { recursive: true, force: true }));

const resolve = (active: string | null): Promise<ActiveModel> =>
  resolveActiveModel({
    shippedDir: shippedModelsDir,
    installedDirs: [join(installed, 'none'), installed],
    active,
  });

describe('resolveActiveModel', () => {
  it('opens the factory bundle when no bundle is requested', async () => {
    const { bundle, slot, fallback } = await resolve(null);
    expect([bundle.dir, slot, fallback]).toEqual([factoryBundleDir, 'factory', null]);
  });

  it('opens the requested bundle', async () => {
    const { bundle, slot, fallback } = await resolve('heads/1.0.0');
    expect([bundle.manifest.name, slot, fallback]).toEqual(['heads', 'active', null]);
  });

  it('opens a shipped bundle by its name', async () => {
    expect(await resolve('swellsight-factory/1.0.0')).toMatchObject({ slot: 'active', fallback: null });
  });

  it.each([
    ['heads/2.0.0', 'model_not_found'],
    ['nothing/1.0.0', 'model_not_found'],
    ['heads', 'model_not_found'],
    ['', 'model_not_found'],
    ['../heads/1.0.0', 'model_not_found'],
    ['heads/..', 'model_not_found'],
    ['/etc/1.0.0', 'model_not_found'],
  ])('falls back to the factory bundle from %j and reports the code', async (active, code) => {
    const { bundle, slot, fallback } = await resolve(active);
    expect([bundle.dir, slot, fallback?.code]).toEqual([factoryBundleDir, 'factory', code]);
  });

  it('falls back to the factory bundle when the requested bundle is damaged', async () => {
    await writeFile(join(installed, 'heads/1.0.0/analysis.onnx'), 'damaged');
    expect(await resolve('heads/1.0.0')).toMatchObject({
      slot: 'factory',
      fallback: { code: 'model_digest_mismatch' },
    });
  });

  it('falls back when the manifest names another bundle than its directory', async () => {
    await cp(bundleDir('depth'), join(installed, 'heads/1.1.0'), { recursive: true });
    const { fallback } = await resolve('heads/1.1.0');
    expect(fallback).toMatchObject({
      code: 'model_manifest_invalid',
      message: 'the manifest of heads/1.1.0 names depth/1.0.0 instead',
    });
  });

  it('opens the newest factory version, compared as numbers', async () => {
    for (const version of ['0.9.0', '0.10.0', 'notes']) {
      await cp(factoryBundleDir, join(installed, 'swellsight-factory', version), { recursive: true });
    }
    const { bundle } = await resolveActiveModel({ shippedDir: installed, installedDirs: [], active: null });
    expect(bundle.dir).toBe(join(installed, 'swellsight-factory/0.10.0'));
  });

  it('throws when the factory bundle is missing, with the first error as the cause', async () => {
    await mkdir(join(installed, 'empty'));
    const resolved = resolveActiveModel({
      shippedDir: join(installed, 'empty'),
      installedDirs: [],
      active: 'x/1.0.0',
    });
    await expect(resolved).rejects.toMatchObject({
      code: 'model_not_found',
      cause: { code: 'model_not_found' },
    });
  });

  it('rejects on an abort instead of falling back', async () => {
    const options = { shippedDir: shippedModelsDir, installedDirs: [installed], active: 'heads/1.0.0' };
    await expect(resolveActiveModel({ ...options, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });
});

describe('readFactoryModel', () => {
  const log = createLog('silent');

  it('reads the reference and the directory of the shipped bundle', async () => {
    const { signal } = new AbortController();
    const factory = await readFactoryModel({ shippedDir: shippedModelsDir }, { log }, signal);
    expect(factory).toMatchObject({ ref: { name: 'swellsight-factory' }, dir: factoryBundleDir });
  });

  it('returns a placeholder that no bundle matches when the shipped bundle cannot be read', async () => {
    const { signal } = new AbortController();
    const factory = await readFactoryModel({ shippedDir: join(installed, 'none') }, { log }, signal);
    expect(factory.ref).toEqual({ name: 'none', version: '0.0.0', digest: `sha256:${'0'.repeat(64)}` });
  });

  it('rejects on an abort', async () => {
    await expect(
      readFactoryModel({ shippedDir: shippedModelsDir }, { log }, AbortSignal.abort()),
    ).rejects.toMatchObject({ name: 'AbortError' });
  });
});
