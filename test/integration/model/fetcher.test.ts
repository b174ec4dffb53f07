import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openBundle } from '../../../src/model/bundle.ts';
import { Fetcher } from '../../../src/model/fetcher.ts';
import type { BlockSource, Progress } from '../../../src/model/types.ts';
import { packModel, quickLimits, requestOf, unsigned, type PackedModel } from '../../fixtures/fetching.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';
import { WebServer } from '../../fixtures/web-server.ts';

const noBlocks: BlockSource = { fetch: () => Promise.reject(new Error('no blocks here')) };
const never = (): AbortSignal => new AbortController().signal;

describe('Fetcher with a web server', () => {
  let dir: { path: string; remove: () => void };
  let models: string;
  let server: WebServer;
  let model: PackedModel;
  let fetcher: Fetcher;

  beforeEach(async () => {
    dir = tempDir();
    models = join(dir.path, 'models');
    model = await packModel('heads', join(dir.path, 'www'));
    server = await WebServer.start(join(dir.path, 'www'));
    fetcher = new Fetcher({ dir: models, limits: quickLimits() }, { blocks: noBlocks, log: silentLog });
  });

  afterEach(async () => {
    await server.stop();
    dir.remove();
  });

  const part = (updateId: string): string => join(models, 'parts', `${updateId}.part`);

  it('lays an unsigned bundle down under its digest and leaves nothing else', async () => {
    const options = unsigned(requestOf(model.bundle), server.url);
    const seen: Progress[] = [];
    await fetcher.download(options, (progress) => seen.push(progress), never());
    expect(seen.at(-1)).toEqual({ bytes: model.sizeBytes, totalBytes: model.sizeBytes });
    expect(existsSync(part(options.request.updateId))).toBe(true);
    const { dir: place, ref } = await fetcher.verify(options, never());
    expect(ref).toEqual({
      name: model.bundle.manifest.name,
      version: model.bundle.manifest.version,
      digest: model.bundle.digest,
      trusted: false,
    });
    expect((await openBundle(place)).digest).toBe(model.bundle.digest);
    expect(readdirSync(join(models, 'bundles'))).toEqual([model.bundle.digest.slice(7)]);
    expect(readdirSync(join(models, 'parts'))).toEqual([]);
    expect(readdirSync(join(models, 'staging'))).toEqual([]);
  });
});
