import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { AgentError, asAgentError } from '../../../src/base/errors.ts';
import { openBundle } from '../../../src/model/bundle/bundle.ts';
import { Fetcher } from '../../../src/model/fetch/fetcher.ts';
import { Installer } from '../../../src/model/install/installer.ts';
import { SlotStore } from '../../../src/model/slots/slot-store.ts';
import { serveRepository } from '../../../src/model/repository/serve.ts';
import type { InstallRecord, InstallRequest } from '../../../src/model/types.ts';
import type { EventDraft } from '../../../src/contract/states.ts';
import { factoryBundleDir, type BundleName } from '../../fixtures/bundles.ts';
import { analyzeOnce } from '../../fixtures/lease.ts';
import { signedRepository } from '../../fixtures/repository.ts';
import { solid } from '../../fixtures/png.ts';
import { makeServing } from '../../fixtures/serving.ts';
import { silentLog, tempDir } from '../../fixtures/store.ts';

/* All parts are real: repository, web server, fetch processes, slots on the disk, vision processes. */

const BLUE = await solid('#0000ff');
const RED = await solid('#ff0000');

/** A camera that sends frames without a pause. */
class Frames {
  image = BLUE;
  /** Called after each analyzed frame. */
  onAnswer: () => void = () => undefined;
  failedCount = 0;
}

async function startSite(names: readonly BundleName[], probation = { observations: 3, minutes: 0 }) {
  const repository = await signedRepository(names);
  const server = await serveRepository({ dir: repository.dir, host: '127.0.0.1', port: 0 }, () => undefined);
  onTestFinished(() => server.close());
  const { serving, signal } = await makeServing({ inference: { timeoutS: 4, maxRssMb: 300 } });
  await serving.open(signal);
  await serving.start(signal);
  const { path, remove } = tempDir();
  onTestFinished(remove);
  const factory = await openBundle(factoryBundleDir);
  const events: EventDraft[] = [];
  const phases: string[] = [];
  const slots = SlotStore.open(path, { log: silentLog });
  const installer: Installer = new Installer(
    {
      factory: {
        ref: { name: factory.manifest.name, version: factory.manifest.version, digest: factory.digest },
        dir: factoryBundleDir,
      },
      settings: {
        active: null,
        repository: server.url,
        trustRoot: repository.rootFile,
        allowUnsigned: false,
      },
      shadow: { frames: 2, patienceMs: 30_000 },
    },
    {
      slots,
      fetcher: new Fetcher(
        { dir: path },
        { blocks: { fetch: () => Promise.reject(new Error('not used')) }, log: silentLog },
      ),
      host: serving,
      openBundle,
      liveSettings: () => ({ probation, maxKbPerS: null }),
      syncedNowMs: () => Date.now(),
      forecast: () => Promise.resolve([]),
      clock: systemClock,
      log: silentLog,
      raise: (event) => events.push(event),
      onState: () => {
        const phase = installer.state().install?.phase ?? 'committed';
        if (phases.at(-1) !== phase) phases.push(phase);
      },
      onProgress: () => undefined,
    },
  );
  const stop = new AbortController();
  const frames = new Frames();
  const running = installer.run(stop.signal).catch(() => undefined);
  const sending = (async () => {
    while (!stop.signal.aborted) {
      const options = { roi: null, privacyMasks: [], ignoreGate: true, priority: 'schedule' } as const;
      await analyzeOnce(serving, frames.image, options).then(
        frames.onAnswer,
        () => (frames.failedCount += 1),
      );
      await delay(200);
    }
  })();
  onTestFinished(async () => {
    stop.abort(new AgentError('vision_closed', 'the test ends'));
    await Promise.all([running, sending]);
  });
  const request = (name: string): InstallRequest => ({
    updateId: randomUUID(),
    name,
    version: '1.0.0',
    digest: null,
    source: { kind: 'repository' },
  });
  const ended = async (): Promise<InstallRecord> => {
    const endMs = Date.now() + 120_000;
    while (Date.now() < endMs) {
      const { install } = slots.state;
      if (install !== null && ['committed', 'failed', 'rolled_back'].includes(install.phase)) return install;
      await delay(50);
    }
    throw new Error(`install not ended: ${JSON.stringify(slots.state.install)}`);
  };
  return { installer, serving, slots, path, events, phases, frames, request, ended, signal };
}

type Site = Awaited<ReturnType<typeof startSite>>;

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (thrown: unknown) => asAgentError(thrown).code,
  );

const bundlesOnDisk = ({ path }: Site): string[] =>
  existsSync(join(path, 'bundles')) ? readdirSync(join(path, 'bundles')) : [];

describe('an install with real parts', () => {
  it('commits models from the repository, rolls back without network, and loses no frame', async () => {
    const site = await startSite(['heads', 'depth']);
    const { installer, serving, slots, path, phases, frames, request, ended, signal } = site;
    const { serves } = installer.request(request('heads'), { clearFailed: false });
    const record = await serves;
    expect(record).toMatchObject({ phase: 'probation', trusted: true });
    expect(record.shadow?.frames).toBe(2);
    expect(record.shadow?.candidateP50Ms).toBeGreaterThan(0);
    expect((await ended()).phase).toBe('committed');
    expect(serving.model).toMatchObject({ name: 'heads' });
    expect(phases).toEqual([
      'requested',
      'downloading',
      'verifying',
      'testing',
      'shadow',
      'probation',
      'committed',
    ]);

    await installer.request(request('depth'), { clearFailed: false }).serves;
    await ended();
    expect(slots.state).toMatchObject({ active: { name: 'depth' }, previous: { name: 'heads' } });
    expect(bundlesOnDisk(site)).toHaveLength(2);
    expect(readdirSync(join(path, 'parts'))).toEqual([]);

    // The bundle of the previous model is damaged on the disk: the factory model serves.
    const file = join(slots.bundleDir(slots.state.previous?.digest ?? ''), 'model.json');
    const text = readFileSync(file, 'utf8');
    rmSync(file);
    writeFileSync(file, text.replace('"version": "1.0.0"', '"version": "9.0.0"'));
    await expect(installer.rollback(signal)).resolves.toMatchObject({ name: 'swellsight-factory' });
    expect(serving.model).toMatchObject({ name: 'swellsight-factory' });
    expect(slots.state).toMatchObject({ active: null, previous: null });
    expect(frames.failedCount).toBe(0);
    expect(bundlesOnDisk(site)).toEqual([]);
    expect(SlotStore.open(path, { log: silentLog }).state).toEqual(slots.state);
  }, 240_000);

  it('refuses a bad bundle with its code, refuses it again, and keeps the serving process', async () => {
    const site = await startSite(['wrong-golden']);
    const { installer, serving, slots, frames, request } = site;
    const pid = serving.pid;
    const [name, code] = ['wrong-golden', 'model_golden_mismatch'];
    expect(await codeOf(installer.request(request(name), { clearFailed: false }).serves)).toBe(code);
    expect(slots.state.install).toMatchObject({ phase: 'failed', reason: { code } });
    expect(() => installer.request(request(name), { clearFailed: false })).toThrow(
      expect.objectContaining({ code: 'model_refused_before' }),
    );
    expect(await codeOf(installer.request(request('nobody'), { clearFailed: false }).serves)).toBe(
      'model_trust_target',
    );
    expect(slots.state.refused).toHaveLength(1);
    expect(slots.state).toMatchObject({ active: null, previous: null, candidate: null });
    expect(serving.pid).toBe(pid);
    expect(frames.failedCount).toBe(0);
    expect(bundlesOnDisk(site)).toEqual([]);
  }, 240_000);

  it('rolls back automatically when the new model returns NaN on its third frame', async () => {
    const name = 'nan-when-red';
    const site = await startSite([name], { observations: 1000, minutes: 60 });
    const { installer, serving, slots, frames, events, request, ended } = site;
    let answers = 0;
    frames.onAnswer = () => {
      if (serving.model?.name !== name) return;
      answers += 1;
      if (answers === 2) frames.image = RED;
    };
    await installer.request(request(name), { clearFailed: false }).serves;
    const end = await ended();
    frames.image = BLUE;
    expect(end).toMatchObject({ phase: 'rolled_back', reason: { code: 'model_probation_failed' } });
    for (let n = 0; n < 1200 && serving.model?.name === name; n += 1) await delay(50);
    expect(serving.model).toMatchObject({ name: 'swellsight-factory' });
    await expect(
      analyzeOnce(serving, BLUE, { roi: null, privacyMasks: [], ignoreGate: true }),
    ).resolves.toHaveProperty('heads');
    expect(slots.state).toMatchObject({ active: null, previous: null, refused: [{ name }] });
    expect(events.at(-1)).toMatchObject({ type: 'model_install_rolled_back', severity: 'error' });
    expect(frames.failedCount).toBeLessThanOrEqual(3);
  }, 240_000);
});
