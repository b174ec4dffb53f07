import { randomUUID } from 'node:crypto';
import type { MqttClient } from 'mqtt';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandName } from '../../src/contract/command.ts';
import type { BackfillResult, ImageResult } from '../../src/contract/command-results.ts';
import type { Diagnostics } from '../../src/contract/diagnostics.ts';
import type { Observation } from '../../src/contract/observation.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { contractFault } from '../fixtures/contract.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const PREFIX = 'swellsight/v1/test/dev/';
const SECRET = 'correct-horse-battery';
/** Left half of the frame. */
const MASK = [
  [0, 0],
  [0.5, 0],
  [0.5, 1],
  [0, 1],
];

interface Answer {
  readonly id: string;
  readonly status: string;
  readonly reason?: string | null;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
  readonly duplicate?: boolean;
}

/** Bright red with a grain that makes it no dead picture, and another one each time it is drawn. */
async function redFrame(width = 1280, height = 720): Promise<Buffer> {
  const pixels = Buffer.alloc(width * height * 3);
  for (let i = 0; i < pixels.length; i += 3) {
    pixels[i] = 215 + Math.floor(Math.random() * 40);
    pixels[i + 1] = Math.floor(Math.random() * 60);
    pixels[i + 2] = Math.floor(Math.random() * 60);
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer();
}

/** Someone with a client of either protocol who sends commands and waits for the answers. */
class Operator {
  readonly seen: Message[];
  readonly #client: MqttClient;

  constructor(client: MqttClient, seen: Message[]) {
    this.#client = client;
    this.seen = seen;
  }

  send(name: string, body: object, retain = false): Promise<unknown> {
    return this.#client.publishAsync(`${PREFIX}cmd/${name}`, JSON.stringify(body), { qos: 1, retain });
  }

  clear(name: string): Promise<unknown> {
    return this.#client.publishAsync(`${PREFIX}cmd/${name}`, '', { qos: 1, retain: true });
  }

  answers(id: string): Answer[] {
    return this.seen
      .filter(({ topic }) => topic.startsWith(`${PREFIX}cmdres/`))
      .map(({ payload }) => JSON.parse(payload.toString()) as Answer)
      .filter((answer) => answer.id === id);
  }

  /** The last answer to a command: its result, or a rejection. */
  async ask(name: CommandName, args: object = {}, id: string = randomUUID()): Promise<Answer> {
    await this.send(name, { id, issued_at: new Date().toISOString(), args });
    return until(
      () => this.answers(id).find(({ status }) => status !== 'accepted'),
      `the answer of ${name}`,
      40_000,
    );
  }
}

describe.each([5, 4] as const)('commands to the running agent, MQTT version %s', (protocolVersion) => {
  let broker: Mosquitto;
  let camera: TestServer;
  let agent: RunningAgent;
  let operator: Operator;
  let answersNothing = false;
  let config: Record<string, unknown>;

  beforeAll(async () => {
    broker = await Mosquitto.start({ users: { dev: SECRET, ops: 'ops-password' } });
    const frames = [await redFrame(), await redFrame()];
    let served = 0;
    camera = await httpServer((_request, response) => {
      if (answersNothing) return;
      served += 1;
      response.writeHead(200, { 'content-type': 'image/jpeg' }).end(frames[served % frames.length]);
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
        // Nobody listens there.
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
    const seen = await broker.record(`${PREFIX}#`, login);
    operator = new Operator(await broker.client(login), seen);
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
    operator.seen.filter(({ topic }) => topic === `${PREFIX}camera/north/image`);

  it('ping, info: the birth again', async () => {
    expect(await operator.ask('ping')).toMatchObject({ status: 'succeeded', result: { pong: true } });
    const states = ['info', 'status', 'health', 'model/state', 'camera/north/state', 'camera/north/latest'];
    const from = operator.seen.length;
    const info = await operator.ask('info');
    expect(info).toMatchObject({
      status: 'succeeded',
      result: { device: 'dev', agent_version: expect.any(String) },
    });
    const again = new Set(operator.seen.slice(from).map(({ topic }) => topic.slice(PREFIX.length)));
    expect(states.filter((state) => !again.has(state))).toEqual([]);
  });

  it('image: masked, at the width asked for, and told where', async () => {
    const answer = await operator.ask('image', { camera: 'north', max_width_px: 800 });
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
        // The eight pixels at the edge are the JPEG's.
        if (x < 392)
          worst.masked = Math.max(worst.masked, ...[red, green, blue].map((v) => Math.abs(v - 128)));
        if (x > 416) worst.open = Math.min(worst.open, red - Math.max(green, blue));
      }
    expect(worst.masked).toBeLessThan(16);
    expect(worst.open).toBeGreaterThan(80);
  });

  it('image: masked also when annotated, and at the largest width', async () => {
    const answer = await operator.ask('image', { camera: 'north', max_width_px: 4096, annotate: true });
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

  it('image: a clear failure for a camera that is down, or that is none', async () => {
    await until(
      () =>
        operator.seen.some(
          ({ topic, payload }) =>
            topic.endsWith('/camera/gone/state') &&
            (JSON.parse(payload.toString()) as { state: string }).state === 'down',
        ),
      'the camera to be down',
    );
    expect(await operator.ask('image', { camera: 'gone' })).toMatchObject({
      status: 'failed',
      error: { code: 'camera_unreachable' },
    });
    expect(await operator.ask('image', { camera: 'none' })).toMatchObject({
      status: 'failed',
      error: { code: 'camera_unknown' },
    });
  });

  it('backfill: the same records again, as history', async () => {
    const live = (): Observation[] =>
      operator.seen
        .filter(({ topic }) => topic.endsWith('/camera/north/observation'))
        .map(({ payload }) => JSON.parse(payload.toString()) as Observation);
    await until(() => live().length >= 3, 'three records');
    const [first, second] = live();
    if (!first || !second) throw new Error('no records');
    const range = { camera: 'north', from_seq: first.seq, to_seq: second.seq };
    const answer = await operator.ask('backfill', range);
    expect(answer.status).toBe('succeeded');
    expect(answer.result as BackfillResult).toMatchObject({
      queued: 2,
      waiting: 0,
      gone: 0,
      gone_ranges: [],
      next_seq: null,
    });
    const again = await until(() => {
      const found = operator.seen.filter(({ topic }) => topic.endsWith('/camera/north/backfill'));
      return found.length >= 2 && found.map(({ payload }) => JSON.parse(payload.toString()) as Observation);
    }, 'the records');
    expect(again.map(({ id, seq, historical }) => [id, seq, historical])).toEqual(
      [first, second].map(({ id, seq }) => [id, seq, true]),
    );
    const later = await operator.ask('backfill', { camera: 'north', from_seq: 100_000, to_seq: 100_010 });
    expect(later.result).toMatchObject({ queued: 0, gone: 0 });
    expect(await operator.ask('backfill', { ...range, camera: 'none' })).toMatchObject({ status: 'failed' });
  });

  it('two with one id at the same time: one capture, and both know of it', async () => {
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
      operator.seen
        .filter(({ topic }) => topic.endsWith('/camera/north/observation'))
        .map(({ payload }) => (JSON.parse(payload.toString()) as Observation).id);
    await until(() => records().includes(observation.id), 'its record');
    expect(records().filter((one) => one === observation.id)).toHaveLength(1);
  });

  // Before version 5 a device cannot tell a retained command that comes while it listens.
  if (protocolVersion === 5)
    it('a retained one is refused, and an event tells of it', async () => {
      const id = randomUUID();
      await operator.send('capture', { id, args: { camera: 'north' } }, true);
      await until(() => operator.answers(id).length > 0, 'the refusal');
      await operator.clear('capture');
      expect(operator.answers(id)).toEqual([{ id, status: 'rejected', reason: 'retained' }]);
      await until(
        () =>
          operator.seen.some(
            ({ topic, payload }) =>
              topic.endsWith('/event/command_refused') &&
              payload.includes('command_retained') &&
              payload.includes(id),
          ),
        'the event',
      );
    });

  it('label.remove: only a label that is there', async () => {
    const answer = await operator.ask('label.remove', { observation_id: randomUUID() });
    expect(answer).toMatchObject({ status: 'failed', error: { code: 'observation_unknown' } });
  });

  it('diagnostics: much in little, and no secret', async () => {
    const answer = await operator.ask('diagnostics');
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

  // What is remembered does not depend on how it was asked for.
  if (protocolVersion === 5)
    it('a command that was cut short by a kill is known as such, and what was done is answered from memory', async () => {
      const done = randomUUID();
      await operator.ask('ping', {}, done);
      answersNothing = true;
      const cut = randomUUID();
      const body = { id: cut, args: { camera: 'north' } };
      await operator.send('capture', body);
      await until(() => operator.answers(cut).length > 0, 'the receipt');
      agent.signal('SIGKILL');
      await agent.exited;
      answersNothing = false;
      agent = await RunningAgent.start(config, { stateDir: agent.stateDir });
      await agent.waitFor('connection', (line) => line.msg === 'connected', 60_000);
      await operator.send('capture', body);
      await operator.send('ping', { id: done, args: {} });
      const last = await until(
        () => operator.answers(cut).find(({ status }) => status === 'failed'),
        'the answer',
      );
      expect(last).toMatchObject({ duplicate: true, error: { code: 'command_interrupted' } });
      await until(() => operator.answers(done).length >= 4, 'the stored answer');
      expect(operator.answers(done).at(-1)).toMatchObject({ status: 'succeeded', duplicate: true });
    }, 240_000);

  it('everything on the wire is as the contract says', () => {
    const said = operator.seen.filter(({ topic }) => !topic.startsWith(`${PREFIX}cmd/`));
    const faults = said.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean);
    expect(faults.slice(0, 5)).toEqual([]);
  });
});
