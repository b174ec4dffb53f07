import { existsSync, mkdirSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { providerOption } from '../../../../src/vision/child/provider-options.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

describe('providerOption', () => {
  it('is the name alone without a place for compiled engines, and for other providers', () => {
    const { path } = makeFileTree();
    expect(providerOption('tensorrt', 'sha256:one', {})).toBe('tensorrt');
    expect(providerOption('cuda', 'sha256:one', { ORT_TENSORRT_CACHE_PATH: path })).toBe('cuda');
    expect(readdirSync(path)).toEqual([]);
  });

  it('gives each bundle its own directory, because an engine belongs to one model', () => {
    const environment = { ORT_TENSORRT_CACHE_PATH: join(makeFileTree().path, 'tensorrt') };
    const one = providerOption('tensorrt', 'sha256:one', environment);
    const two = providerOption('tensorrt', 'sha256:two', environment);
    expect(one).toMatchObject({ name: 'tensorrt', trt_engine_cache_enable: '1' });
    expect(two).not.toEqual(one);
    expect(providerOption('tensorrt', 'sha256:one', environment)).toEqual(one);
    expect(readdirSync(environment.ORT_TENSORRT_CACHE_PATH)).toHaveLength(2);
  });

  it('uses another directory after an update of the libraries', () => {
    const { path, write } = makeFileTree();
    const environment = { ORT_TENSORRT_CACHE_PATH: join(path, 'cache'), LD_LIBRARY_PATH: path };
    const before = providerOption('tensorrt', 'sha256:one', environment);
    write('libnvinfer.so.99.1.0', '');
    expect(providerOption('tensorrt', 'sha256:one', environment)).not.toEqual(before);
  });

  it('removes the directories that were not used for longest, and nothing else', () => {
    const { path } = makeFileTree();
    const caches = Array.from({ length: 6 }, (_, index) => join(path, String(index).repeat(16)));
    for (const [index, cache] of caches.entries()) {
      mkdirSync(cache);
      utimesSync(cache, 1_000_000 + index, 1_000_000 + index);
    }
    mkdirSync(join(path, 'of-somebody-else'));
    providerOption('tensorrt', 'sha256:one', { ORT_TENSORRT_CACHE_PATH: path });
    expect(caches.map((cache) => existsSync(cache))).toEqual([false, false, false, true, true, true]);
    expect(readdirSync(path)).toContain('of-somebody-else');
    expect(readdirSync(path)).toHaveLength(5);
  });

  it('is the name alone if the place cannot be written', () => {
    const { path, write } = makeFileTree();
    write('file', '');
    const environment = { ORT_TENSORRT_CACHE_PATH: join(path, 'file') };
    expect(providerOption('tensorrt', 'sha256:one', environment)).toBe('tensorrt');
  });
});
