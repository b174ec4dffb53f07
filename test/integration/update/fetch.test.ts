import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Fetcher } from '../../../src/model/fetch/fetcher.ts';
import { changeRoot } from '../../../src/model/repository/change-root.ts';
import { exportAgent } from '../../../src/model/repository/export.ts';
import { directorySource } from '../../../src/model/trust/metadata-source.ts';
import { releaseArch } from '../../../src/model/trust/release-target.ts';
import { Trust } from '../../../src/model/trust/trust.ts';
import type { BlockSource, FetchOptions, InstallSource } from '../../../src/model/types.ts';
import { initTestRepository, type AgentRepository } from '../../fixtures/agent-repository.ts';
import { quickLimits } from '../../fixtures/fetching.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';
import { packFakeVersion, type FakeArchive } from '../../fixtures/updater/fake-version.ts';
import { WebServer } from '../../fixtures/web-server.ts';

const never = (): AbortSignal => new AbortController().signal;
const noBlocks: BlockSource = { fetch: () => Promise.reject(new Error('no blocks here')) };
/** Sends a file in blocks like the operator's tool, without a broker. */
const blocksOf = (file: string): BlockSource => ({
  fetch: async (_wanted, sink) => {
    const bytes = readFileSync(file);
    while (sink.heldBytes < sink.sizeBytes)
      await sink.append(bytes.subarray(sink.heldBytes, sink.heldBytes + 96 * 1024));
  },
});
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (thrown: unknown) => (thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown)),
  );

describe('fetching a version of the agent', () => {
  let home: { path: string; remove: () => void };
  let updates: string;
  let repository: AgentRepository;
  let archive: FakeArchive;
  let server: WebServer;

  beforeEach(async () => {
    home = tempDir();
    updates = join(home.path, 'update');
    repository = await initTestRepository(home.path);
    archive = await packFakeVersion(home.path, { version: '1.1.0' });
    await repository.publish([archive.file]);
    server = await WebServer.start(repository.dir);
  });

  afterEach(async () => {
    await server.stop();
    home.remove();
  });

  const fetcherOf = (blocks = noBlocks): Fetcher =>
    new Fetcher({ dir: updates, product: 'agent', limits: quickLimits() }, { blocks, log: silentLog });
  const optionsOf = (
    change: Partial<FetchOptions['request']> = {},
    source: InstallSource = { kind: 'repository' },
  ): FetchOptions => ({
    request: {
      updateId: randomUUID(),
      name: 'swellsight-edge',
      version: '1.1.0',
      digest: null,
      source,
      ...change,
    },
    repositoryUrl: server.url,
    trustRoot: repository.rootFile,
    allowUnsigned: false,
    maxBytesPerS: 0,
    syncedNowMs: Date.now(),
  });
  const fetchOver = async (fetcher: Fetcher, options: FetchOptions): Promise<void> => {
    await fetcher.download(options, () => undefined, never());
    await fetcher.verifyArchive(options, never());
  };
  /** What the updater does with the files that the agent leaves: a client with its own state verifies them again. */
  const verifyAgain = async (trustDir = join(home.path, 'own-trust')): Promise<string> => {
    const trust = new Trust({ dir: trustDir, rootFile: repository.rootFile, syncedNowMs: Date.now() });
    await trust.refresh(directorySource(updates), never());
    return (await trust.release('1.1.0', releaseArch())).sha256;
  };
  const storedDigest = (): string => {
    const [name = ''] = readdirSync(updates).filter((entry) => entry.endsWith('.tar.gz'));
    const found = createHash('sha256')
      .update(readFileSync(join(updates, name)))
      .digest('hex');
    expect(name).toBe(`${found}.tar.gz`);
    return found;
  };

  it('leaves the archive under its digest, and metadata that another client verifies', async () => {
    mkdirSync(updates, { recursive: true });
    writeFileSync(join(updates, `${'0'.repeat(64)}.tar.gz`), 'of an earlier update');
    const fetcher = fetcherOf();
    const options = optionsOf({ digest: `sha256:${archive.version.digest}` });
    await fetcher.download(options, () => undefined, never());
    expect(await fetcher.verifyArchive(options, never())).toEqual({
      name: 'swellsight-edge',
      version: '1.1.0',
      digest: `sha256:${archive.version.digest}`,
      trusted: true,
    });
    expect(storedDigest()).toBe(archive.version.digest);
    expect(await verifyAgain()).toBe(archive.version.digest);
    expect([readdirSync(join(updates, 'parts')), readdirSync(join(updates, 'staging'))]).toEqual([[], []]);
  });

  it('adds the roots that a client with an older state needs', async () => {
    await fetchOver(fetcherOf(), optionsOf());
    // The agent sees each rotation, the other client none of them.
    for (const role of ['timestamp', 'targets'] as const) {
      await changeRoot(repository.options, [{ kind: 'rotate', role }]);
      await repository.publish([archive.file]);
      await fetchOver(fetcherOf(), optionsOf());
    }
    const roots = readdirSync(join(updates, 'metadata')).filter((name) => name.endsWith('root.json'));
    expect(roots.sort()).toEqual(['1.root.json', '2.root.json', '3.root.json']);
    expect(await verifyAgain()).toBe(archive.version.digest);
  });

  it('receives the version over MQTT, with the same result', async () => {
    const file = join(home.path, 'export.tar');
    const { sizeBytes, digest } = await exportAgent(
      repository.options,
      '1.1.0',
      releaseArch(),
      file,
      never(),
    );
    await fetchOver(fetcherOf(blocksOf(file)), optionsOf({}, { kind: 'mqtt', sizeBytes, digest }));
    expect(storedDigest()).toBe(archive.version.digest);
    expect(await verifyAgain()).toBe(archive.version.digest);
    expect(server.asked).toEqual([]);
  });

  it('refuses unknown versions, other digests, and a version that is not for this device', async () => {
    const fetcher = fetcherOf();
    const download = (change: Partial<FetchOptions['request']>): Promise<string> =>
      codeOf(fetcher.download(optionsOf(change), () => undefined, never()));
    expect(await download({ version: '9.9.9' })).toBe('model_trust_target');
    expect(await download({ digest: `sha256:${'0'.repeat(64)}` })).toBe('model_digest_mismatch');
    const other = releaseArch() === 'arm64' ? 'amd64' : 'arm64';
    const foreign = await packFakeVersion(home.path, { version: '1.2.0', release: { arch: other } });
    await repository.publish([foreign.file]);
    expect(await download({ version: '1.2.0' })).toBe('model_trust_target');
    expect(existsSync(join(updates, 'metadata'))).toBe(false);
  });

  it('refuses bytes that were changed after the download, and never installs unsigned', async () => {
    const fetcher = fetcherOf();
    const options = optionsOf();
    await fetcher.download(options, () => undefined, never());
    const part = join(updates, 'parts', `${options.request.updateId}.part`);
    const bytes = readFileSync(part);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(part, bytes);
    expect(await codeOf(fetcher.verifyArchive(options, never()))).toBe('model_trust_mismatch');
    const unsigned = { ...options, trustRoot: null };
    expect(await codeOf(fetcher.download(unsigned, () => undefined, never()))).toBe('model_unsigned');
  });

  it('finds the newest version for this device, without prereleases', async () => {
    const fetcher = fetcherOf();
    const more = [
      { version: '1.10.0' },
      { version: '1.9.0' },
      { version: '2.0.0-rc.1' },
      { version: '3.0.0', release: { arch: releaseArch() === 'arm64' ? 'amd64' : 'arm64' } } as const,
    ];
    const packed = [];
    for (const fake of more) packed.push(await packFakeVersion(home.path, fake));
    await repository.publish(packed.map(({ file }) => file));
    expect(await fetcher.newest(optionsOf(), never())).toMatchObject({
      version: '1.10.0',
      digest: `sha256:${packed[0]?.version.digest ?? ''}`,
    });
  });
});
