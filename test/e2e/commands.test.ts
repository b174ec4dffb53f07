import { randomUUID } from 'node:crypto';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BackfillResult, ImageResult } from '../../src/contract/command-results.ts';
import type { Diagnostics } from '../../src/contract/diagnostics.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { Info } from '../../src/contract/states.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { contractFault } from '../fixtures/contract.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { Operator, OPERATOR_PREFIX as PREFIX, redFrame } from '../fixtures/operator.ts';

const SECRET = 'correct-horse-battery';
/** Left half of the frame. */
const MASK = [
  [0, 0],
  [0.5, 0],
  [0.5, 1],
  [0, 1],
];

describe.each([5, 4] as const)('Commands to a running agent, MQTT version %s', (protocolVersion) => {
  let broker: Mosquitto;
  let camera: TestServer;
  let agent: RunningAgent;
  let operator: Operator;
  let isCameraSilent = false;
  let config: Record<string, unknown>;

  beforeAll(async () => {
    broker = await Mosquitto.start({ users: { dev: SECRET, ops: 'ops-password' } });
    const frames = [await redFrame(), await redFrame()];
    let servedCount = 0;
    camera = await httpServer((_request, response) => {
      if (isCameraSilent) return;
      servedCount += 1;
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(frames[servedCount % frames.length]);
    });
    config = {
      mqtt: { url: broker.url, protocolVersion, username: 'dev', password: SECRET },
      heartbeat: { intervalS: 5 },
      cameras: [
        {
          id: 'north',
          kind: 'http',
          url: `${camera.url}/live/path-key-8231/now.jpg?token=query-key-5571`,
          username: 'viewer',
          password: 'camera-password-1',
          schedule: { everyS: 2 },
          burst: { frames: 1 },
          timeoutS: 30,
          privacyMasks: [MASK],
        },
        // Nothing listens on this port.
        {
          id: 'gone',
          kind: 'http',
          url: `http://127.0.0.1:${await freePort()}/x.jpg`,
          schedule: { everyS: 2 },
          timeoutS: 2,
        },
      ],
    };
    const login = { username: 'ops', password: 'ops-password', protocolVersion };
    const messages = await broker.record(`${PREFIX}#`, login);
    operator = new Operator(await broker.client(login), messages);
    agent = await RunningAgent.start(config);
    await agent.waitFor('connection', (line) => line.msg === 'connected', 60_000);
    await agent.observation((line) => line['camera'] === 'north' && line['status'] !== 'failed', 60_000);
    await agent.observation((line) => line['camera'] === 'gone', 60_000);
  }, 240_000);

  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    await camera.stop();
    await broker.stop();
  });

  const images = (): Message[] =>
    operator.messages.filter(({ topic }) => topic === `${PREFIX}camera/north/image`);

  it('answers ping, and publishes its birth again for info', async () => {
    expect(await operator.run('ping')).toMatchObject({ status: 'succeeded', result: { pong: true } });
    const states = ['info', 'status', 'health', 'model/state', 'camera/north/state', 'camera/north/latest'];
    const from = operator.messages.length;
    const info = await operator.run('info');
    expect(info).toMatchObject({
      status: 'succeeded',
      result: { device: 'dev', agent_version: expect.any(String) },
    });
    const published = new Set(operator.messages.slice(from).map(({ topic }) => topic.slice(PREFIX.length)));
    expect(states.filter((state) => !published.has(state))).toEqual([]);
  });

  it('publishes a masked image of the requested width, and names its topic in the result', async () => {
    const answer = await operator.run('image', { camera: 'north', max_width_px: 800 });
    expect(answer.status).toBe('succeeded');
    const result = answer.result as ImageResult;
    expect(result).toMatchObject({
      topic: `${PREFIX}camera/north/image`,
      max_width_px: 800,
      annotated: false,
    });
    const image = await until(() => images().at(-1), 'the image');
    expect([image.topic, image.packet.qos, image.retain]).toEqual([result.topic, 0, false]);
    expect(image.payload.length).toBe(result.size_bytes);
    const { data, info } = await sharp(image.payload)
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([800, 450]);
    const worst = { masked: 0, open: 255 };
    for (let y = 0; y < info.height; y += 3)
      for (let x = 0; x < info.width; x += 3) {
        const at = (y * info.width + x) * 3;
        const [red = 0, green = 0, blue = 0] = data.subarray(at, at + 3);
        // JPEG artefacts change up to eight pixels at the edge.
        if (x < 392)
          worst.masked = Math.max(worst.masked, ...[red, green, blue].map((v) => Math.abs(v - 128)));
        if (x > 416) worst.open = Math.min(worst.open, red - Math.max(green, blue));
      }
    expect(worst.masked).toBeLessThan(16);
    expect(worst.open).toBeGreaterThan(80);
  });

  it('masks an annotated image of the largest width too', async () => {
    const answer = await operator.run('image', { camera: 'north', max_width_px: 4096, annotate: true });
    expect(answer).toMatchObject({ status: 'succeeded', result: { annotated: true } });
    const { size_bytes } = answer.result as ImageResult;
    expect(size_bytes).toBeLessThanOrEqual(262_144);
    const image = await until(
      () => images().find(({ payload }) => payload.length === size_bytes),
      'the image',
    );
    const { width, height } = await sharp(image.payload).metadata();
    // Above the caption, and left of the mask's edge.
    const corner = { left: 0, top: 0, width: Math.floor(width / 2) - 16, height: Math.floor(height / 2) };
    const grey = await sharp(image.payload).extract(corner).removeAlpha().raw().toBuffer();
    expect(grey.findIndex((value) => Math.abs(value - 128) > 16)).toBe(-1);
  });

  it('fails the command image with a code for a camera that is down or unknown', async () => {
    await until(
      () =>
        operator.messages.some(
          ({ topic, payload }) =>
            topic.endsWith('/camera/gone/state') &&
            (JSON.parse(payload.toString()) as { state: string }).state === 'down',
        ),
      'the camera to be down',
    );
    expect(await operator.run('image', { camera: 'gone' })).toMatchObject({
      status: 'failed',
      error: { code: 'camera_unreachable' },
    });
    expect(await operator.run('image', { camera: 'none' })).toMatchObject({
      status: 'failed',
      error: { code: 'camera_unknown' },
    });
  });

  it('sends the same records again as historical ones for backfill', async () => {
    const live = (): Observation[] =>
      operator.messages
        .filter(({ topic }) => topic.endsWith('/camera/north/observation'))
        .map(({ payload }) => JSON.parse(payload.toString()) as Observation);
    await until(() => live().length >= 3, 'three records');
    const [first, second] = live();
    if (!first || !second) throw new Error('no records');
    const range = { camera: 'north', from_seq: first.seq, to_seq: second.seq };
    const answer = await operator.run('backfill', range);
    expect(answer.status).toBe('succeeded');
    expect(answer.result as BackfillResult).toMatchObject({
      queued: 2,
      waiting: 0,
      gone: 0,
      gone_ranges: [],
      next_seq: null,
    });
    const again = await until(() => {
      const found = operator.messages.filter(({ topic }) => topic.endsWith('/camera/north/backfill'));
      return found.length >= 2 && found.map(({ payload }) => JSON.parse(payload.toString()) as Observation);
    }, 'the records');
    expect(again.map(({ id, seq, historical }) => [id, seq, historical])).toEqual(
      [first, second].map(({ id, seq }) => [id, seq, true]),
    );
    const later = await operator.run('backfill', { camera: 'north', from_seq: 100_000, to_seq: 100_010 });
    expect(later).toMatchObject({ status: 'failed', error: { code: 'seq_unknown' } });
    expect(await operator.run('backfill', { ...range, camera: 'none' })).toMatchObject({ status: 'failed' });
  });

  it('runs one capture for two commands with the same id at the same time', async () => {
    const id = randomUUID();
    const body = { id, args: { camera: 'north' } };
    await Promise.all([operator.send('capture', body), operator.send('capture', body)]);
    const done = await until(
      () => operator.answers(id).find(({ status }) => status === 'succeeded'),
      'the capture',
    );
    const observation = done.result as Observation;
    await until(
      () => operator.answers(id).filter(({ status }) => status === 'accepted').length >= 2,
      'two receipts',
    );
    expect(
      operator
        .answers(id)
        .map(({ status, duplicate = false }) => [status, duplicate])
        .toSorted(),
    ).toEqual([
      ['accepted', false],
      ['accepted', true],
      ['succeeded', false],
    ]);
    const records = (): string[] =>
      operator.messages
        .filter(({ topic }) => topic.endsWith('/camera/north/observation'))
        .map(({ payload }) => (JSON.parse(payload.toString()) as Observation).id);
    await until(() => records().includes(observation.id), 'its record');
    expect(records().filter((one) => one === observation.id)).toHaveLength(1);
  });

  // Before version 5, a subscribed device cannot see that a new command is retained.
  if (protocolVersion === 5)
    it('refuses a retained command with an event', async () => {
      const id = randomUUID();
      await operator.send('capture', { id, args: { camera: 'north' } }, true);
      await until(() => operator.answers(id).length > 0, 'the refusal');
      await operator.clear('capture');
      expect(operator.answers(id)).toEqual([{ id, status: 'rejected', reason: 'retained' }]);
      await until(
        () =>
          operator.messages.some(
            ({ topic, payload }) =>
              topic.endsWith('/event/command_refused') &&
              payload.includes('command_retained') &&
              payload.includes(id),
          ),
        'the event',
      );
    });

  it('publishes info again when the number of labels changed, and answers with the time of this change', async () => {
    const captured = (await operator.run('capture', { camera: 'north' })).result as Observation;
    const label = await operator.run('label', { observation_id: captured.id, height_m: 1 });
    expect(label).toMatchObject({ status: 'succeeded', result: { labels: 1 } });
    const published = (): readonly Info[] =>
      operator.messages
        .filter(({ topic }) => topic === `${PREFIX}info`)
        .map(({ payload }) => JSON.parse(payload.toString()) as Info);
    await until(() => published().at(-1)?.cameras[0]?.calibration_labels === 1, 'info with one label');
    const { result } = await operator.run('info');
    expect(published()).toContainEqual(result);
  });

  it('fails label.remove for an unknown observation', async () => {
    const answer = await operator.run('label.remove', { observation_id: randomUUID() });
    expect(answer).toMatchObject({ status: 'failed', error: { code: 'observation_unknown' } });
  });

  it('returns complete diagnostics under 64 KiB without a secret', async () => {
    const answer = await operator.run('diagnostics');
    expect(answer.status).toBe('succeeded');
    const report = answer.result as Diagnostics;
    const text = JSON.stringify(report);
    for (const secret of [SECRET, 'camera-password-1', 'path-key-8231', 'query-key-5571', 'viewer'])
      expect(text).not.toContain(secret);
    expect(text.length).toBeLessThan(65_536);
    expect(report.omitted).toEqual([]);
    expect(report.status).toBe('online');
    expect(report.link).toMatchObject({ connected: true, protocol_version: protocolVersion });
    expect(report.store).toMatchObject({ integrity: 'ok', integrity_of: 'file', recovered: null });
    expect(report.store?.rows['observations']).toBeGreaterThan(2);
    expect(report.info?.providers.length).toBeGreaterThan(0);
    expect(report.settings?.['cameras']).toHaveLength(2);
    expect(report.outbox).toMatchObject({ rejected: { count: 0 } });
    expect(report.events.some(({ code }) => code === 'camera_unreachable')).toBe(true);
    expect(Object.keys(report.runtime.versions)).toContain('node');
  });

  // The memory of commands does not depend on the protocol version.
  if (protocolVersion === 5)
    it('reports a command that a kill interrupted, and answers a finished one from memory', async () => {
      const finishedId = randomUUID();
      await operator.run('ping', {}, finishedId);
      isCameraSilent = true;
      const interruptedId = randomUUID();
      const body = { id: interruptedId, args: { camera: 'north' } };
      await operator.send('capture', body);
      await until(() => operator.answers(interruptedId).length > 0, 'the receipt');
      agent.signal('SIGKILL');
      await agent.exited;
      isCameraSilent = false;
      agent = await RunningAgent.start(config, { stateDir: agent.stateDir });
      await agent.waitFor('connection', (line) => line.msg === 'connected', 60_000);
      await operator.send('capture', body);
      await operator.send('ping', { id: finishedId, args: {} });
      const last = await until(
        () => operator.answers(interruptedId).find(({ status }) => status === 'failed'),
        'the answer',
      );
      expect(last).toMatchObject({ duplicate: true, error: { code: 'command_interrupted' } });
      await until(() => operator.answers(finishedId).length >= 4, 'the stored answer');
      expect(operator.answers(finishedId).at(-1)).toMatchObject({ status: 'succeeded', duplicate: true });
    }, 240_000);

  it('has published only messages that match the contract', () => {
    const published = operator.messages.filter(({ topic }) => !topic.startsWith(`${PREFIX}cmd/`));
    const faults = published.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean);
    expect(faults.slice(0, 5)).toEqual([]);
  });
});
