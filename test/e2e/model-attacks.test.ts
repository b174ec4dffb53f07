import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandResult } from '../../src/contract/command.ts';
import type { ModelSource } from '../../src/contract/model.ts';
import type { ModelRef, Observation } from '../../src/contract/observation.ts';
import type { Event, ModelState } from '../../src/contract/states.ts';
import { BlockSender } from '../../src/mqtt/blocks/block-sender.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import type { BundleName } from '../fixtures/bundles.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import {
  changedBundle,
  HostileRepository,
  type BundleChange,
  type ModelOffer,
} from '../fixtures/hostile-repository.ts';
import { ATTACKS } from '../fixtures/model-attacks.ts';
import { Mosquitto, until } from '../fixtures/mosquitto.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { snapshotsOf } from '../fixtures/sea-camera.ts';
import { openCopy, tempDir } from '../fixtures/store.ts';

const DEVICE = 'swellsight/v1/test/dev/';

const sea = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../fixtures/sea', name));
/** Served in turn, so that two successive frames always differ. */
const CHANGING_FRAMES = [sea('sea-small.jpg'), sea('sea-big.jpg')];
const RED_FRAME = await sharp(sea('sea-small.jpg')).tint({ r: 255, g: 0, b: 0 }).jpeg().toBuffer();

describe('Agent that receives hostile models', () => {
  const home = tempDir('swellsight-attacks-');
  const repository = new HostileRepository(home.path);
  const models = join(home.path, 'var', 'models');
  const senders: BlockSender[] = [];
  let broker: Mosquitto;
  let web: TestServer;
  let camera: TestServer;
  let servedCount = 0;
  let isRed = false;
  let recorder: Recorder;
  let operator: MqttClient;
  let agent: RunningAgent;
  let validModel: ModelRef;

  const states = (): ModelState[] => recorder.json('model/state') as unknown as ModelState[];
  const active = (): ModelRef | null | undefined => states().at(-1)?.active;
  const events = (type: string): Event[] => recorder.json(`event/${type}`) as unknown as Event[];
  const observations = (): Observation[] =>
    ['observation', 'backfill']
      .flatMap((stream) => recorder.json(`camera/north/${stream}`) as unknown as Observation[])
      .sort((a, b) => a.seq - b.seq);
  /** Sequence numbers up to this one that have not arrived. */
  const missingUpTo = (seq: number): number[] => {
    const seen = new Set(observations().map((one) => one.seq));
    return Array.from({ length: seq }, (_, n) => n + 1).filter((n) => !seen.has(n));
  };
  const waitForNewObservationBy = (name: string): Promise<Observation> => {
    const seen = observations().at(-1)?.seq ?? 0;
    return until(
      () => observations().find((one) => one.seq > seen && one.model?.name === name),
      `an observation by ${name}`,
      120_000,
    );
  };
  let installCount = 0;
  const install = async (name: string, version: string, source?: ModelSource): Promise<CommandResult> => {
    installCount += 1;
    const id = `${name}-${version}-${String(installCount)}`;
    const args = { name, version, source: source ?? { kind: 'repository' } };
    await operator.publishAsync(`${DEVICE}cmd/model.install`, JSON.stringify({ id, args }), { qos: 1 });
    return until(
      () =>
        recorder
          .json('cmdres/model.install')
          .find((one) => one['id'] === id && one['status'] !== 'accepted') as CommandResult | undefined,
      `the answer to ${id}`,
      240_000,
    );
  };
  const offer = (
    version: string,
    name: BundleName,
    change?: BundleChange,
    more?: Partial<ModelOffer>,
  ): string =>
    repository.publishModel({ name, version, files: changedBundle(name, version, change), ...more });
  const serveBlocks = async (archive: Buffer): Promise<ModelSource> => {
    const file = join(home.path, `blocks-${String(senders.length)}.tar`);
    writeFileSync(file, archive);
    const sender = await BlockSender.open(file, {
      publish: async (topic, payload) => {
        await operator.publishAsync(topic, payload, { qos: 1 });
      },
    });
    senders.push(sender);
    sender.serve(DEVICE);
    return { kind: 'mqtt', size_bytes: sender.sizeBytes, digest: sender.digest };
  };

  beforeAll(async () => {
    const trustRoot = join(home.path, 'root.json');
    writeFileSync(trustRoot, repository.bytes(repository.rootPath));
    broker = await Mosquitto.start();
    web = await httpServer((request, response) => {
      const body = repository.served.get((request.url ?? '').slice(1));
      response.writeHead(body ? 200 : 404).end(body);
    });
    camera = await httpServer((_, response) => {
      servedCount += 1;
      const frame = isRed ? RED_FRAME : CHANGING_FRAMES[servedCount % CHANGING_FRAMES.length];
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(frame);
    });
    recorder = await Recorder.start(broker.url);
    operator = await broker.client();
    operator.on('message', (topic, payload, { retain }) => senders.at(-1)?.receive(topic, payload, retain));
    await operator.subscribeAsync(`${DEVICE}model/blocks/request`, { qos: 1 });
    agent = await RunningAgent.start(
      {
        mqtt: { url: broker.url },
        cameras: [snapshotsOf('north', camera)],
        inference: { providers: ['cpu'], threads: 1, timeoutS: 2, maxRssMb: 400 },
        model: { repository: web.url, trustRoot, probation: { observations: 6, minutes: 0 } },
      },
      // The agent checks expiry only against a synchronized clock.
      { stateDir: home.path, steered: { synced: true } },
    );
    await agent.observation((line) => line['status'] === 'measured', 120_000);
  }, 240_000);

  afterAll(async () => {
    await Promise.all(senders.map((sender) => sender.close()));
    await agent.stop();
    operator.end(true);
    await Promise.all([web.stop(), camera.stop(), broker.stop()]);
    home.remove();
  });

  it('installs a valid model', async () => {
    offer('1.0.0', 'heads');
    expect(await install('heads', '1.0.0')).toMatchObject({ status: 'succeeded' });
    await until(
      () => states().at(-1)?.phase === 'committed' && active()?.name === 'heads',
      'the commit',
      120_000,
    );
    validModel = active() as ModelRef;
    expect(validModel).toMatchObject({ name: 'heads', version: '1.0.0' });
    await waitForNewObservationBy('heads');
  }, 240_000);

  it.each(ATTACKS.map((attack, n) => ({ ...attack, version: `2.0.${String(n)}` })))(
    'refuses $title: $code',
    async ({ version, name = 'heads', code, message, prepare }) => {
      const source = await prepare({
        repository,
        version,
        publishModel: (...given) => offer(version, ...given),
        offerBlocks: serveBlocks,
      });
      const { status, error } = await install(name, version, source);
      expect({ status, code: error?.code }, error?.message).toEqual({ status: 'failed', code });
      expect(error?.message).toContain(message);
      const event = await until(
        () => events('model_install_failed').find(({ context }) => context['version'] === version),
        'the event',
        60_000,
      );
      expect(event).toMatchObject({ code, severity: 'error', context: { name, version } });
      const state = await until(
        () => states().find(({ install: one }) => one?.version === version && one.phase === 'failed'),
        'the failed state',
        60_000,
      );
      expect(state).toMatchObject({
        active: validModel,
        candidate: null,
        phase: 'failed',
        install: { name, version, reason: { code } },
      });
      expect(active()).toEqual(validModel);
    },
    300_000,
  );

  it('has used the valid model for every frame, and has stored no file of the hostile ones', async () => {
    await waitForNewObservationBy('heads');
    const all = observations();
    const first = all.findIndex(({ model }) => model?.name === 'heads');
    const digests = all.slice(first).flatMap(({ model }) => (model === null ? [] : [model.digest]));
    expect(new Set(digests)).toEqual(new Set([validModel.digest]));
    expect(readdirSync(join(models, 'bundles'))).toEqual([validModel.digest.replace('sha256:', '')]);
    expect(readdirSync(join(models, 'parts'))).toEqual([]);
    expect(existsSync(join(models, 'evil'))).toBe(false);
    expect(events('vision_exited')).toEqual([]);
  }, 240_000);

  it('rolls back automatically from a model that crashes on the third frame after the swap', async () => {
    const name = 'big-alloc-when-red';
    offer('1.0.0', name);
    expect(await install(name, '1.0.0')).toMatchObject({ status: 'succeeded' });
    await until(
      () => observations().filter(({ model }) => model?.name === name).length >= 2,
      'two observations',
      120_000,
    );
    isRed = true;
    const event = await until(() => events('model_install_rolled_back').at(-1), 'the event', 240_000);
    isRed = false;
    expect(event).toMatchObject({ code: 'model_probation_failed', severity: 'error', context: { name } });
    await until(
      () => states().at(-1)?.phase === 'rolled_back' && active()?.name === 'heads',
      'the rollback',
      240_000,
    );
    expect(states().at(-1)).toMatchObject({
      active: validModel,
      candidate: null,
      install: { name, phase: 'rolled_back', reason: { code: 'model_probation_failed' } },
    });
    await waitForNewObservationBy('heads');
    expect(await install(name, '1.0.0')).toMatchObject({
      status: 'failed',
      error: { code: 'model_refused_before' },
    });
    expect(active()).toEqual(validModel);
  }, 600_000);

  it('is still the same process, has stored an event for each refusal, and has lost no observation', async () => {
    expect((await agent.json('/api/v1/models/info'))['active']).toMatchObject(validModel);
    // After all refusals, a valid model still installs.
    offer('1.0.0', 'depth');
    expect(await install('depth', '1.0.0')).toMatchObject({ status: 'succeeded' });
    const { seq } = await waitForNewObservationBy('depth');
    await until(() => missingUpTo(seq).length === 0, 'every observation', 60_000).catch(() => undefined);
    expect(missingUpTo(seq)).toEqual([]);
    expect(agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);
    const db = openCopy(join(home.path, 'var'));
    const stored = db
      .prepare<[], { payload: string }>(
        "SELECT payload FROM events WHERE type = 'model_install_failed' ORDER BY seq",
      )
      .all()
      .map(({ payload }) => JSON.parse(payload) as Event);
    db.close();
    expect(stored.map(({ code }) => code)).toEqual(ATTACKS.map(({ code }) => code));
    recorder.finish();
  }, 240_000);
});
