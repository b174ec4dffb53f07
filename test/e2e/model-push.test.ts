import {
  cpSync,
  createReadStream,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandResult } from '../../src/contract/command.ts';
import type { ModelInstallResult, ModelProgress } from '../../src/contract/model.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { ModelState } from '../../src/contract/states.ts';
import { BlockSender } from '../../src/mqtt/blocks/block-sender.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { factoryBundleDir } from '../fixtures/bundles.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { runCli } from '../fixtures/cli.ts';
import { Mosquitto, until } from '../fixtures/mosquitto.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';

const DEVICE = 'swellsight/v1/test/dev/';
const MAX_KB_PER_S = 1500;
const PHASES = ['requested', 'downloading', 'verifying', 'testing', 'shadow', 'probation', 'committed'];

/** A copy of the shipped bundle with another version. */
function makeBundle(version: string, home: string): string {
  const dir = join(home, `bundle-${version}`);
  cpSync(factoryBundleDir, dir, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(dir, 'model.json'), 'utf8')) as object;
  writeFileSync(join(dir, 'model.json'), JSON.stringify({ ...manifest, version }));
  return dir;
}

/** A plain web server: whole files without range requests. */
const plainWebServer = (root: string): Promise<TestServer> =>
  httpServer((request, response) => {
    const path = join(root, new URL(request.url ?? '/', 'http://any').pathname);
    const file = statSync(path, { throwIfNoEntry: false });
    if (file?.isFile() !== true) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-length': file.size });
    createReadStream(path).pipe(response);
  });

describe('Model push to a running agent', () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-push-'));
  const repository = join(home, 'repo');
  let broker: Mosquitto;
  let web: TestServer;
  let camera: TestServer;
  let recorder: Recorder;
  let operator: MqttClient;
  let agent: RunningAgent;
  let config: Record<string, unknown>;

  const repo = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await runCli(['repo', ...args]);
    expect(code, stderr).toBe(0);
  };
  const send = (name: string, id: string, args: object): Promise<unknown> =>
    operator.publishAsync(`${DEVICE}cmd/${name}`, JSON.stringify({ id, args }), { qos: 1 });
  const answer = (name: string, id: string): Promise<CommandResult> =>
    until(
      () =>
        recorder.json(`cmdres/${name}`).find((one) => one['id'] === id && one['status'] !== 'accepted') as
          CommandResult | undefined,
      `the answer to ${name}`,
      120_000,
    );
  const states = (): ModelState[] => recorder.json('model/state') as unknown as ModelState[];
  const observations = (): Observation[] =>
    ['observation', 'backfill']
      .flatMap((stream) => recorder.json(`camera/north/${stream}`) as unknown as Observation[])
      .sort((a, b) => a.seq - b.seq);
  const waitForObservationBy = (version: string): Promise<Observation> =>
    until(
      () => observations().findLast((one) => one.model?.version === version),
      `an observation by ${version}`,
      60_000,
    );
  /** The published phases of an install, each once, in order of first appearance. */
  const phasesOf = (updateId: string): string[] => {
    const progress = recorder.json('model/progress').filter((one) => one['update_id'] === updateId);
    const statePhases = states().flatMap(({ install }) =>
      install?.update_id === updateId ? [install.phase] : [],
    );
    return [...new Set([...progress.map((one) => String(one['phase'])), ...statePhases])];
  };
  const downloadOf = (updateId: string): { sizeKb: number; durationS: number } => {
    const progress = recorder.messages
      .filter(({ topic }) => topic === `${DEVICE}model/progress`)
      .map(({ payload, atMs }) => ({ ...(JSON.parse(payload.toString()) as ModelProgress), atMs }))
      .filter((one) => one.update_id === updateId && one.phase === 'downloading');
    const [first, last] = [progress[0], progress.at(-1)];
    return {
      sizeKb: (last?.total_bytes ?? 0) / 1000,
      durationS: ((last?.atMs ?? 0) - (first?.atMs ?? 0)) / 1000,
    };
  };
  const waitForCommit = async (id: string, version: string): Promise<string> => {
    const { status, result, error } = await answer('model.install', id);
    expect(error).toBeUndefined();
    expect(status).toBe('succeeded');
    const { update_id, model } = result as ModelInstallResult;
    expect(model).toMatchObject({ name: 'swellsight-factory', version });
    await until(
      () => states().some(({ install }) => install?.update_id === update_id && install.phase === 'committed'),
      'the end of its probation',
      60_000,
    );
    expect(phasesOf(update_id)).toEqual(PHASES);
    await waitForObservationBy(version);
    return update_id;
  };

  beforeAll(async () => {
    await repo('init', repository);
    await repo('publish', repository, makeBundle('1.1.0', home), makeBundle('1.2.0', home));
    broker = await Mosquitto.start({ persistence: true });
    web = await plainWebServer(repository);
    recorder = await Recorder.start(broker.url);
    operator = await broker.client();
    camera = await seaCamera();
    config = {
      mqtt: { url: broker.url },
      cameras: [snapshotsOf('north', camera)],
      model: {
        repository: web.url,
        trustRoot: join(repository, 'metadata', '1.root.json'),
        maxKbPerS: MAX_KB_PER_S,
        probation: { observations: 3, minutes: 0 },
      },
    };
    agent = await RunningAgent.start(config, { stateDir: home });
    await agent.observation((line) => line['status'] === 'measured', 120_000);
  }, 240_000);

  afterAll(async () => {
    await agent.stop();
    operator.end(true);
    await web.stop();
    await Promise.all([camera.stop(), broker.stop()]);
    rmSync(home, { recursive: true, force: true });
  });

  it('installs a model from the repository through every phase', async () => {
    const source = { kind: 'repository' };
    await send('model.install', 'push-1', { name: 'swellsight-factory', version: '1.1.0', source });
    const updateId = await waitForCommit('push-1', '1.1.0');
    const download = downloadOf(updateId);
    expect(download.sizeKb).toBeGreaterThan(4000);
    // The first progress message may arrive late.
    expect(download.durationS).toBeGreaterThan((0.7 * download.sizeKb) / MAX_KB_PER_S);
    const last = states().at(-1);
    expect(last).toMatchObject({
      active: { version: '1.1.0' },
      previous: { version: '1.0.0' },
      candidate: null,
      phase: 'committed',
      trusted: true,
      pinned: false,
      slots: { factory: { version: '1.0.0' } },
    });
    expect(last?.install?.shadow?.frames).toBeGreaterThan(0);
  }, 240_000);

  it('fails with a code when the repository does not have the model', async () => {
    const source = { kind: 'repository' };
    await send('model.install', 'push-none', { name: 'swellsight-factory', version: '9.9.9', source });
    expect(await answer('model.install', 'push-none')).toMatchObject({
      status: 'failed',
      error: { code: 'model_trust_target' },
    });
    await until(() => states().at(-1)?.phase === 'failed', 'the failed state');
    expect(states().at(-1)?.active?.version).toBe('1.1.0');
  }, 120_000);

  it('rolls back without network', async () => {
    await web.stop();
    await send('model.rollback', 'back-1', {});
    expect(await answer('model.rollback', 'back-1')).toMatchObject({
      status: 'succeeded',
      result: { model: { version: '1.0.0' } },
    });
    const seq = observations().at(-1)?.seq ?? 0;
    await until(
      () => observations().some((one) => one.seq > seq && one.model?.version === '1.0.0'),
      'an observation by the previous model',
      60_000,
    );
  }, 120_000);

  it('installs a model from MQTT blocks, and answers the command, although the agent is killed halfway', async () => {
    const file = join(home, 'push.tar');
    await repo('export', repository, 'swellsight-factory', '1.2.0', '--out', file);
    let sentBytes = 0;
    const sender = await BlockSender.open(file, {
      publish: async (topic, payload) => {
        await operator.publishAsync(topic, payload, { qos: 1 });
        sentBytes += payload.length;
      },
    });
    operator.on('message', (topic, payload, packet) => {
      // Send half of the blocks, and the others after the restart.
      if (sentBytes < sender.sizeBytes / 2 || isRestarted) sender.receive(topic, payload, packet.retain);
    });
    let isRestarted = false;
    await operator.subscribeAsync(`${DEVICE}model/blocks/request`, { qos: 1 });
    sender.serve(DEVICE);
    const { sizeBytes: size_bytes, digest } = sender;
    const source = { kind: 'mqtt', size_bytes, digest };
    await send('model.install', 'push-2', { name: 'swellsight-factory', version: '1.2.0', source });
    await until(() => sentBytes >= size_bytes / 2, 'half of the blocks', 60_000);
    agent.signal('SIGKILL');
    await agent.exited;
    isRestarted = true;
    agent = await RunningAgent.start(config, { stateDir: home });
    await waitForCommit('push-2', '1.2.0');
    expect(sentBytes).toBeLessThan(1.5 * size_bytes);
    expect((await agent.json('/api/v1/models/info'))['active']).toMatchObject({ version: '1.2.0' });
    await sender.close();
  }, 240_000);

  it('has lost no observation in all of these tests', () => {
    const all = observations().map(({ seq }) => seq);
    const seen = [...new Set(all)];
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => index + 1));
    recorder.finish();
  });
});
