import type { ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation } from '../../src/contract/observation.ts';
import type { ModelState } from '../../src/contract/states.ts';
import { BlockSender } from '../../src/mqtt/blocks/block-sender.ts';
import { canConnect } from '../../scripts/ports.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { bundleDir } from '../fixtures/bundles.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { runCli } from '../fixtures/cli.ts';
import { until } from '../fixtures/mosquitto.ts';
import { Namespace } from '../fixtures/namespace.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';
import { tempDir } from '../fixtures/store.ts';

const DEVICE = 'swellsight/v1/test/dev/';
const [PORT, OPERATOR_PORT] = [18_842, 18_843];
const LOST_PERCENT = 20;
/** Such a link carries this much in a minute; the shipped model would take an hour. */
const PADDING_BYTES = 200_000;
const UPDATE = 'bad-link';

/** A small bundle, enlarged by bytes after the end of one of its images. */
function paddedBundle(home: string): string {
  const dir = join(home, 'bundle');
  cpSync(bundleDir('heads'), dir, { recursive: true });
  const path = join(dir, 'model.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as { files: Record<string, string> };
  const image = 'golden/picture-1.png';
  appendFileSync(join(dir, image), randomBytes(PADDING_BYTES));
  manifest.files[image] = `sha256:${sha256(readFileSync(join(dir, image)))}`;
  writeFileSync(path, JSON.stringify(manifest));
  return dir;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe.skipIf(!Namespace.isAvailable())('Model push over a lossy link', () => {
  const home = tempDir('swellsight-bad-link-');
  const repository = join(home.path, 'repo');
  const file = join(home.path, 'push.tar');
  let space: Namespace;
  let broker: ChildProcess;
  let camera: TestServer;
  let recorder: Recorder;
  let operator: MqttClient;
  let agent: RunningAgent;

  const repo = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await runCli(['repo', ...args]);
    expect(code, stderr).toBe(0);
  };
  const countLogLines = (message: string): number => agent.lines.filter(({ msg }) => msg === message).length;
  const observations = (): Observation[] =>
    ['observation', 'backfill'].flatMap(
      (stream) => recorder.json(`camera/north/${stream}`) as unknown as Observation[],
    );
  const states = (): ModelState[] => recorder.json('model/state') as unknown as ModelState[];

  beforeAll(async () => {
    await repo('init', repository);
    await repo('publish', repository, paddedBundle(home.path));
    space = new Namespace();
    const config = join(home.path, 'mosquitto.conf');
    const listeners = [PORT, OPERATOR_PORT].map((port) => `listener ${String(port)}`);
    writeFileSync(config, ['user root', ...listeners, 'allow_anonymous true', ''].join('\n'));
    broker = space.spawn('mosquitto', ['-c', config]);
    while (!(await canConnect(OPERATOR_PORT, space.address))) await delay(50);
    const url = `mqtt://${space.address}:${String(OPERATOR_PORT)}`;
    recorder = await Recorder.start(url);
    operator = await connectAsync(url);
    camera = await seaCamera();
    agent = await RunningAgent.start(
      {
        mqtt: { url: `mqtt://${space.address}:${String(PORT)}` },
        cameras: [snapshotsOf('north', camera)],
        model: {
          trustRoot: join(repository, 'metadata', '1.root.json'),
          probation: { observations: 3, minutes: 0 },
        },
      },
      { stateDir: home.path },
    );
    await agent.observation((line) => line['status'] === 'measured', 120_000);
  }, 240_000);

  afterAll(async () => {
    await agent.stop();
    operator.end(true);
    await camera.stop();
    broker.kill('SIGKILL');
    space.remove();
    home.remove();
  });

  it('installs the model through 20 % loss and two broken connections, and loses no observation', async () => {
    const { name, version } = JSON.parse(
      readFileSync(join(home.path, 'bundle', 'model.json'), 'utf8'),
    ) as Record<string, string>;
    await repo('export', repository, name ?? '', version ?? '', '--out', file);
    let sentBytes = 0;
    const sender = await BlockSender.open(file, {
      publish: async (topic, payload) => {
        await operator.publishAsync(topic, payload, { qos: 1 });
        sentBytes += payload.length;
      },
    });
    operator.on('message', (topic, payload, { retain }) => sender.receive(topic, payload, retain));
    await operator.subscribeAsync(`${DEVICE}model/blocks/request`, { qos: 1 });
    sender.serve(DEVICE);
    const { sizeBytes: size_bytes, digest } = sender;

    space.drop(PORT, LOST_PERCENT);
    const args = { name, version, source: { kind: 'mqtt', size_bytes, digest } };
    await operator.publishAsync(`${DEVICE}cmd/model.install`, JSON.stringify({ id: UPDATE, args }), {
      qos: 1,
    });
    for (const share of [0.2, 0.6]) {
      await until(() => sentBytes >= share * size_bytes, `${String(share)} of the bytes`, 120_000);
      const [losses, connections] = [countLogLines('link lost'), countLogLines('connected')];
      space.dropAll(PORT);
      await until(() => countLogLines('link lost') > losses, 'the lost link', 120_000);
      space.restore();
      space.drop(PORT, LOST_PERCENT);
      await until(() => countLogLines('connected') > connections, 'the new connection', 120_000);
    }
    await until(
      () => recorder.json('cmdres/model.install').find((one) => one['status'] === 'succeeded'),
      'the answer',
      240_000,
    );
    await until(
      () => states().some(({ phase }) => phase === 'committed'),
      'the end of its probation',
      120_000,
    );
    space.restore();
    expect((await agent.json('/api/v1/models/info'))['active']).toMatchObject({ name, version });

    const last = await agent.json('/api/v1/observations?limit=1');
    const [{ seq }] = last['observations'] as [Observation];
    // Live records are sent before the backlog.
    await until(
      () => {
        const seen = new Set(observations().map((one) => one.seq));
        return Array.from({ length: seq }, (_, n) => n + 1).every((n) => seen.has(n));
      },
      'all observations up to now',
      120_000,
    );
    expect(new Set(observations().map(({ model }) => model?.version))).toContain(version);
    recorder.finish();
    await sender.close();
  }, 900_000);
});
