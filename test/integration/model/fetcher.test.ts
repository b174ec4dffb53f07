import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packFiles } from '../../../src/model/archive/pack.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import type { FetchLimits } from '../../../src/model/fetch/job.ts';
import { Fetcher } from '../../../src/model/fetch/fetcher.ts';
import { PartFile } from '../../../src/model/fetch/part-file.ts';
import { exportTarget } from '../../../src/model/repository/export.ts';
import type { BlockSource, FetchOptions, FetchProgress } from '../../../src/model/types.ts';
import { childPid, childPids, isGone } from '../../fixtures/children.ts';
import {
  packModel,
  quickLimits,
  requestOf,
  unsignedOptions,
  type PackedModel,
} from '../../fixtures/fetching.ts';
import { changedBundle } from '../../fixtures/hostile-repository.ts';
import { canMountLoop, LoopDisk } from '../../fixtures/loop-disk.ts';
import { until } from '../../fixtures/mosquitto.ts';
import { signedRepository } from '../../fixtures/repository.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';
import { WebServer } from '../../fixtures/web-server.ts';

const never = (): AbortSignal => new AbortController().signal;

/** Sends a file in blocks like the operator's tool, without a broker. */
const blocksOf = (file: string): BlockSource => ({
  fetch: async (_updateId, sink) => {
    const bytes = readFileSync(file);
    while (sink.heldBytes < sink.sizeBytes)
      await sink.append(bytes.subarray(sink.heldBytes, sink.heldBytes + 96 * 1024));
  },
});
const noBlocks: BlockSource = { fetch: () => Promise.reject(new Error('no blocks here')) };
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (thrown: unknown) => (thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown)),
  );

describe('Fetcher', () => {
  let dir: { path: string; remove: () => void };
  let models: string;
  let server: WebServer;
  let model: PackedModel;

  beforeEach(async () => {
    dir = tempDir();
    models = join(dir.path, 'models');
    model = await packModel('heads', join(dir.path, 'www'));
    server = await WebServer.start(join(dir.path, 'www'));
  });

  afterEach(async () => {
    await server.stop();
    dir.remove();
  });

  const fetcherOf = (blocks = noBlocks, limits: Partial<FetchLimits> = {}, at = models): Fetcher =>
    new Fetcher({ dir: at, limits: { ...quickLimits(), ...limits } }, { blocks, log: silentLog });
  const partOf = ({ request }: FetchOptions): string => join(models, 'parts', `${request.updateId}.part`);
  /** Writes a complete part file, as `download` does, without starting a process. */
  const placePart = async ({ request }: FetchOptions): Promise<void> => {
    const bytes = readFileSync(model.file);
    const place = { dir: join(models, 'parts'), updateId: request.updateId, reserveBytes: 0 };
    const of = `http:targets/models/${request.name}/${request.version}.tar`;
    const part = await PartFile.open(place, { of, sha256: null, sizeBytes: bytes.length });
    await part.append(bytes);
    await part.close();
  };
  const listDir = (name: string): string[] =>
    existsSync(join(models, name)) ? readdirSync(join(models, name)) : [];

  it('stores an unsigned bundle under its digest and removes everything else', async () => {
    const fetcher = fetcherOf();
    const options = unsignedOptions(requestOf(model.bundle), server.url);
    const seen: FetchProgress[] = [];
    await fetcher.download(options, (progress) => seen.push(progress), never());
    expect(seen.at(-1)).toEqual({ bytes: model.sizeBytes, totalBytes: model.sizeBytes });
    expect(existsSync(partOf(options))).toBe(true);
    const { dir: bundleDir, ref } = await fetcher.verify(options, never());
    const { name, version } = model.bundle.manifest;
    expect(ref).toEqual({ name, version, digest: model.bundle.digest, trusted: false });
    expect((await openBundle(bundleDir)).digest).toBe(model.bundle.digest);
    expect(listDir('bundles')).toEqual([model.bundle.digest.slice(7)]);
    expect([listDir('parts'), listDir('staging')]).toEqual([[], []]);
    expect(childPids('fetch/process')).toEqual([]);
  });

  it('accepts a signed bundle from a repository, and refuses a changed archive', async () => {
    const repository = await signedRepository(['heads']);
    const signed = await WebServer.start(repository.dir);
    try {
      const fetcher = fetcherOf();
      const options: FetchOptions = {
        ...unsignedOptions(
          requestOf(model.bundle, { kind: 'repository' }, { digest: model.bundle.digest }),
          signed.url,
        ),
        trustRoot: repository.rootFile,
        allowUnsigned: false,
      };
      await fetcher.download(options, () => undefined, never());
      writeFileSync(partOf(options), flipped(readFileSync(partOf(options))));
      expect(await codeOf(fetcher.verify(options, never()))).toBe('model_trust_mismatch');
      expect([listDir('bundles'), listDir('parts'), listDir('staging')]).toEqual([[], [], []]);
      await fetcher.download(options, () => undefined, never());
      const { ref } = await fetcher.verify(options, never());
      const { name, version } = model.bundle.manifest;
      expect(ref).toEqual({ name, version, digest: model.bundle.digest, trusted: true });
      const { request } = options;
      for (const [change, code] of [
        [{ version: '9.9.9' }, 'model_trust_target'],
        [{ digest: `sha256:${'0'.repeat(64)}` }, 'model_digest_mismatch'],
      ] as const) {
        const other = { ...options, request: { ...request, ...change } };
        expect(await codeOf(fetcher.download(other, () => undefined, never()))).toBe(code);
      }
    } finally {
      await signed.stop();
    }
  });

  it('does not download a bundle whose signed requirements exceed this machine', async () => {
    const greedyDir = join(dir.path, 'greedy');
    const greedy = changedBundle('heads', '1.1.0', {
      manifest: (manifest) => (manifest.requires = { agent: '>=0.1.0', memory_mb: 10_000_000 }),
    });
    for (const [path, bytes] of greedy) {
      mkdirSync(dirname(join(greedyDir, path)), { recursive: true });
      writeFileSync(join(greedyDir, path), bytes);
    }
    const repository = await signedRepository([greedyDir]);
    const signed = await WebServer.start(repository.dir);
    try {
      const request = requestOf(model.bundle, { kind: 'repository' }, { version: '1.1.0', digest: null });
      const options = {
        ...unsignedOptions(request, signed.url),
        trustRoot: repository.rootFile,
        allowUnsigned: false,
      };
      expect(await codeOf(fetcherOf().download(options, () => undefined, never()))).toBe('model_requires');
      expect(signed.asked.filter(({ path }) => path.endsWith('.tar'))).toEqual([]);
    } finally {
      await signed.stop();
    }
  });

  it('accepts a signed repository in blocks, and refuses it with one flipped bit', async () => {
    const repository = await signedRepository(['heads']);
    const { name, version } = model.bundle.manifest;
    const file = join(dir.path, 'export.tar');
    const sent = await exportTarget(repository.options, name, version, file, never());
    const request = requestOf(model.bundle, { kind: 'mqtt', ...sent });
    const options: FetchOptions = {
      ...unsignedOptions(request, null),
      trustRoot: repository.rootFile,
      allowUnsigned: false,
    };
    const fetcher = fetcherOf(blocksOf(file));
    const seen: FetchProgress[] = [];
    await fetcher.download(options, (progress) => seen.push(progress), never());
    expect(seen.at(-1)).toEqual({ bytes: sent.sizeBytes, totalBytes: sent.sizeBytes });
    // Without a time, the expiry of the signatures cannot be checked.
    const unsynced = { ...options, syncedNowMs: null };
    expect((await fetcherOf(blocksOf(file)).verify(unsynced, never())).ref).toMatchObject({
      digest: model.bundle.digest,
      trusted: true,
      expiryUnchecked: true,
    });
    expect([listDir('parts'), listDir('staging')]).toEqual([[], []]);

    // The bytes differ from the announced digest: none are kept.
    const damaged = join(dir.path, 'damaged.tar');
    writeFileSync(damaged, flipped(readFileSync(file)));
    const again = { ...options, request: { ...request, updateId: randomUUID() } };
    expect(await codeOf(fetcherOf(blocksOf(damaged)).download(again, () => undefined, never()))).toBe(
      'model_transfer_changed',
    );
    expect(statSync(partOf(again)).size).toBe(0);
  });

  it('accepts an unsigned bundle in blocks only if unsigned bundles are allowed', async () => {
    const { sizeBytes, sha256 } = model;
    const source = { kind: 'mqtt', sizeBytes, digest: `sha256:${sha256}` } as const;
    const options = unsignedOptions(requestOf(model.bundle, source), null);
    const fetcher = fetcherOf(blocksOf(model.file));
    await fetcher.download(options, () => undefined, never());
    const strict = { ...options, allowUnsigned: false };
    expect(await codeOf(fetcher.verify(strict, never()))).toBe('model_unsigned');
    expect(listDir('parts')).toEqual([]);
    await placePart(options);
    expect((await fetcher.verify(options, never())).ref.trusted).toBe(false);
  });

  it.each([
    ['another name', { name: 'other' }, 'model_digest_mismatch'],
    ['another digest', { digest: `sha256:${'1'.repeat(64)}` }, 'model_digest_mismatch'],
  ])('refuses a bundle of %s than the requested one', async (_name, overrides, code) => {
    const options = unsignedOptions(requestOf(model.bundle, { kind: 'repository' }, overrides), server.url);
    await placePart(options);
    expect(await codeOf(fetcherOf().verify(options, never()))).toBe(code);
    expect([listDir('bundles'), listDir('parts'), listDir('staging')]).toEqual([[], [], []]);
  });

  it('refuses an invalid archive, and an archive of an invalid bundle', async () => {
    const fetcher = fetcherOf();
    const options = unsignedOptions(requestOf(model.bundle), server.url);
    writeFileSync(model.file, randomBytes(50_000));
    await placePart(options);
    expect(await codeOf(fetcher.verify(options, never()))).toBe('model_archive_refused');
    writeFileSync(join(dir.path, 'model.json'), '{"format":1}');
    await packFiles(dir.path, ['model.json'], model.file);
    await placePart(options);
    expect(await codeOf(fetcher.verify(options, never()))).toBe('model_manifest_invalid');
    expect([listDir('bundles'), listDir('parts'), listDir('staging')]).toEqual([[], [], []]);
  });

  it('replaces a damaged bundle and keeps an intact one', async () => {
    const fetcher = fetcherOf();
    const options = unsignedOptions(requestOf(model.bundle), server.url);
    const placeAndVerify = async (): Promise<string> => {
      await placePart(options);
      return (await fetcher.verify(options, never())).dir;
    };
    const place = await placeAndVerify();
    const { ino } = statSync(place);
    expect(statSync(await placeAndVerify()).ino).toBe(ino);
    appendFileSync(join(place, 'model.json'), ' ');
    await placeAndVerify();
    expect((await openBundle(place)).digest).toBe(model.bundle.digest);
    expect([listDir('bundles').length, listDir('staging')]).toEqual([1, []]);
  });

  it('requires a repository, and a root of trust unless unsigned bundles are allowed', async () => {
    const fetcher = fetcherOf();
    const request = requestOf(model.bundle);
    expect(await codeOf(fetcher.download(unsignedOptions(request, null), () => undefined, never()))).toBe(
      'model_no_repository',
    );
    const strict = { ...unsignedOptions(request, server.url), allowUnsigned: false };
    expect(await codeOf(fetcher.download(strict, () => undefined, never()))).toBe('model_unsigned');
    expect(server.asked).toEqual([]);
  });

  it('kills the process on abort, and continues the part afterwards', async () => {
    const fetcher = fetcherOf();
    const options = unsignedOptions(requestOf(model.bundle), server.url);
    server.behave = (request, response) => server.serve(request, response, 2000);
    const stop = new AbortController();
    const running = fetcher.download(options, () => undefined, stop.signal);
    running.catch(() => undefined);
    await until(
      () => existsSync(partOf(options)) && statSync(partOf(options)).size > 0,
      'the first bytes',
      30_000,
    );
    const pid = childPid('fetch/process');
    expect(pid).toBeGreaterThan(0);
    stop.abort(new Error('stopped'));
    await expect(running).rejects.toThrow('stopped');
    expect(isGone(pid)).toBe(true);
    const heldBytes = statSync(partOf(options)).size;
    expect(heldBytes).toBeGreaterThan(0);
    server.behave = (_request, _response, next) => next();
    server.asked.length = 0;
    await fetcher.download(options, () => undefined, never());
    expect(server.asked[0]?.range).toBe(`bytes=${heldBytes}-`);
    await fetcher.discard(options.request.updateId);
    expect(listDir('parts')).toEqual([]);
  });

  it('continues after a kill of the agent without downloading the held bytes again', async () => {
    const options = unsignedOptions(requestOf(model.bundle), server.url);
    const big = randomBytes(2_000_000);
    writeFileSync(model.file, big);
    // Sends half of the file and then nothing.
    server.behave = (request, response, next) => {
      if (request.headers.range !== undefined) next();
      else {
        response.writeHead(200, { 'content-length': big.length, etag: '"tag"' });
        response.write(big.subarray(0, 1_000_000));
      }
    };
    const loop = join(import.meta.dirname, '..', '..', 'fixtures', 'fetch-loop.ts');
    const agent = spawn(process.execPath, ['--no-warnings', loop, JSON.stringify({ dir: models, options })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(agent, 'exit');
    await until(
      () => existsSync(partOf(options)) && statSync(partOf(options)).size === 1_000_000,
      'half of the file',
    );
    const child = childPid('fetch/process', agent.pid);
    agent.kill('SIGKILL');
    await exited;
    // The fetch process exits when the agent is gone.
    await until(() => isGone(child), 'the exit of the fetch process');
    server.behave = (request, response) => {
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1]);
      response.writeHead(206, {
        'content-length': big.length - from,
        'content-range': `bytes ${from}-${big.length - 1}/${big.length}`,
      });
      response.end(big.subarray(from));
    };
    server.asked.length = 0;
    await fetcherOf().download(options, () => undefined, never());
    expect(server.asked).toHaveLength(1);
    expect(server.asked[0]).toMatchObject({ range: 'bytes=1000000-', ifRange: '"tag"' });
    expect(readFileSync(partOf(options)).equals(big)).toBe(true);
  });

  it('reports a fetch process that was killed, hangs, or takes too much memory', async () => {
    const options = unsignedOptions(requestOf(model.bundle), server.url);
    server.behave = () => undefined;
    const killed = codeOf(fetcherOf().download(options, () => undefined, never()));
    await until(() => server.asked.length > 0, 'the request', 30_000);
    process.kill(childPid('fetch/process'), 'SIGKILL');
    expect(await killed).toBe('model_fetch_crashed');

    const stopped = codeOf(
      fetcherOf(noBlocks, { silenceMs: 3000 }).download(options, () => undefined, never()),
    );
    await until(() => server.asked.length > 1, 'the request', 30_000);
    process.kill(childPid('fetch/process'), 'SIGSTOP');

    // These two run while the agent waits for reports of the stopped process.
    const small = fetcherOf(noBlocks, { rssMb: 30 });
    expect(await codeOf(small.download(options, () => undefined, never()))).toBe('model_out_of_memory');
    const narrow = fetcherOf(noBlocks, { heapMb: 8 });
    expect(await codeOf(narrow.download(options, () => undefined, never()))).toBe('model_out_of_memory');
    expect(await stopped).toBe('model_fetch_crashed');
    expect(childPids('fetch/process')).toEqual([]);
  });

  it('refuses a bundle that is too large before downloading', async () => {
    const fetcher = fetcherOf();
    const huge = { kind: 'mqtt', sizeBytes: 10_000_000_000, digest: `sha256:${'0'.repeat(64)}` } as const;
    const options = unsignedOptions(requestOf(model.bundle, huge), null);
    expect(await codeOf(fetcher.download(options, () => undefined, never()))).toBe('model_too_large');
    expect(listDir('parts')).toEqual([]);
  });

  it.skipIf(!canMountLoop())('keeps the reserve of the disk free (needs root and loop devices)', async () => {
    const disk = new LoopDisk(16);
    try {
      const at = join(disk.mount, 'models');
      // Announces the size and never sends the rest: the size alone must cause the refusal.
      server.behave = (_request, response) => {
        response.writeHead(200, { 'content-length': 4_000_000 });
        response.write(Buffer.alloc(100_000));
      };
      const options = unsignedOptions(requestOf(model.bundle), server.url);
      const fetcher = fetcherOf(noBlocks, { reserveBytes: 2_000_000 }, at);
      disk.fill(7_000_000);
      expect(await codeOf(fetcher.download(options, () => undefined, never()))).toBe('model_space');
      expect(readdirSync(join(at, 'parts'))).toEqual([]);

      // There is enough space at first, but it is used up during the download.
      disk.free();
      server.behave = (_request, response) => {
        response.writeHead(200, { 'content-length': 4_000_000 });
        response.write(Buffer.alloc(1_000_000));
        void until(
          () => existsSync(join(at, 'parts')) && disk.freeBytes < 14_000_000,
          'the first bytes',
        ).then(() => {
          disk.fill(500_000);
          response.end(Buffer.alloc(3_000_000));
        });
      };
      expect(await codeOf(fetcher.download(options, () => undefined, never()))).toBe('model_space');
      expect(readdirSync(join(at, 'parts'))).toEqual([]);
    } finally {
      disk.remove();
    }
  });
});

/** Flips one bit in the middle. */
function flipped(bytes: Buffer): Buffer {
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}
