import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { observation, seaState } from '../../fixtures/agent-api.ts';
import { channelOf, contractFault } from '../../fixtures/contract.ts';
import { Mosquitto } from '../../fixtures/mosquitto.ts';
import { FLOW, FlowFunctions, NodeRed } from '../../fixtures/node-red.ts';

const KEY = 'home/pi/north';
const PREFIX = `swellsight/v1/${KEY.replace('/north', '')}`;
const HOUR_MS = 3_600_000;
const now = (): string => new Date().toISOString();

describe('the flow for Node-RED', () => {
  /** Node-RED 5 has them without further packages. */
  const CORE = [
    ...['tab', 'comment', 'debug', 'function', 'inject', 'mqtt-broker', 'mqtt in', 'mqtt out'],
    ...['http in', 'http response'],
  ];

  it('has core nodes only, unique ids, and wires to nodes that exist', () => {
    const ids = new Set(FLOW.map(({ id }) => id));
    expect(ids.size).toBe(FLOW.length);
    for (const { type, id, wires = [], outputs, broker } of FLOW) {
      expect(CORE).toContain(type);
      expect(id).toMatch(/^[0-9a-f]{16}$/);
      for (const target of wires.flat()) expect(ids, type).toContain(target);
      if (outputs !== undefined) expect(wires).toHaveLength(outputs);
      if (type.startsWith('mqtt ')) expect(ids).toContain(broker);
    }
    const targets = new Set(FLOW.flatMap(({ wires = [] }) => wires.flat()));
    const unused = FLOW.filter(({ id, type }) => type === 'function' && !targets.has(id));
    expect(unused).toEqual([]);
  });

  it('subscribes to topics of the contract', () => {
    const topics = FLOW.filter(({ type }) => type === 'mqtt in').map(({ topic = '' }) => topic);
    expect(
      topics.map((topic) => channelOf(topic.replace(/\+$/, 'capture').replaceAll('+', 'x'))?.id),
    ).toEqual([
      ...['cameraObservation', 'cameraLatest', 'cameraBackfill'],
      ...['cameraSeaState', 'cameraSeaStateLatest', 'cameraSeaStateBackfill', 'status', 'answerCapture'],
    ]);
  });
});

describe('the functions of the flow', () => {
  const keep = (flow: FlowFunctions, leaf: string, record: unknown): unknown =>
    flow.run('Keep records', {
      topic: `${PREFIX}/camera/north/${leaf}`,
      payload: typeof record === 'string' ? record : JSON.stringify(record),
    });
  const at = (agoMs: number): { captured_at: string; id: string } => ({
    captured_at: new Date(Date.now() - agoMs).toISOString(),
    id: `record-${agoMs}`,
  });
  /** A valid record, so that the functions use fields of the contract only. */
  const valid = <T extends object>(leaf: string, record: T): T => {
    expect(contractFault(`${PREFIX}/camera/north/${leaf}`, Buffer.from(JSON.stringify(record)))).toBeNull();
    return record;
  };

  it('show the newest record, a chart with gaps, and the clip', () => {
    const flow = new FlowFunctions();
    const wave = { ...observation.wave, period_s: 13.7, period_low_s: 12.6, period_high_s: 14.5 };
    valid('observation', { ...observation, wave, captured_at: now() });
    for (const minutes of [55, 45, 35, 20, 10])
      keep(flow, 'observation', { ...observation, wave, ...at(minutes * 60_000) });
    const none = { ...wave, height_m: null, height_low_m: null, height_high_m: null };
    keep(flow, 'observation', { ...observation, wave: none, status: 'rejected', ...at(28 * 60_000) });
    const sent = keep(flow, 'observation', { ...observation, wave, simulated: true, ...at(1000) });
    expect(sent).toMatchObject({ topic: KEY, payload: 1.2 });
    const breaker = { height_m: 1.6, low_m: 1.2, high_m: 2.1, count: 23, tide_m: 0, reason: null };
    keep(flow, 'sea_state', valid('sea_state', { ...seaState, breaker, captured_at: now() }));
    flow.run('Keep status', {
      topic: `${PREFIX}/status`,
      payload: JSON.stringify({ state: 'online', session: 's', at: now() }),
    });
    const { page } = flow;
    expect(page).toContain(`<h2>${KEY} <strong>simulated</strong></h2>`);
    expect(page).toContain('device online, newest record 0 min ago');
    expect(page).toContain('<dt>Height</dt><dd>1.2 (0.9 to 1.5) m</dd>');
    expect(page).toContain('<dt>Period</dt><dd>13.7 (12.6 to 14.5) s</dd>');
    expect(page).toContain('<dt>Breakers</dt><dd>1.6 (1.2 to 2.1) m</dd>');
    expect(page).toContain('<dt>Breaking waves</dt><dd>7.5 in a minute</dd>');
    const [height = ''] = /<figure><figcaption>Wave height[^]*?<\/figure>/.exec(page) ?? [];
    expect(height.match(/<polyline/g)).toHaveLength(2);
    expect(page).not.toMatch(/NaN|undefined|null/);
  });

  it('say why there is no height', () => {
    const flow = new FlowFunctions();
    const wave = { ...observation.wave, height_m: null, height_low_m: null, height_high_m: null };
    keep(flow, 'latest', valid('latest', { ...observation, wave, reasons: ['uncalibrated'] }));
    expect(flow.page).toContain('<dt>Height</dt><dd>none: uncalibrated</dd>');
  });

  it('keep each id once, a day of records, and forget a camera that is cleared', () => {
    const flow = new FlowFunctions();
    for (const hours of [30, 25, 23, 2]) keep(flow, 'backfill', { ...observation, ...at(hours * HOUR_MS) });
    const live = { ...observation, ...at(0) };
    const other = { ...live, wave: { ...live.wave, height_m: 9 } };
    for (const [leaf, record] of [
      ['latest', other],
      ['observation', live],
      ['latest', other],
    ] as const)
      keep(flow, leaf, record);
    const kept = (): Record<string, { observations: Record<string, { value: number }> }> =>
      flow.context.get('cameras') as ReturnType<typeof kept>;
    expect(Object.values(kept()[KEY]?.observations ?? {}).map(({ value }) => value)).toEqual([1.2, 1.2, 1.2]);
    keep(flow, 'latest', '');
    expect(kept()).toEqual({});
  });

  it('use the time of reception for a live record of a device with a wrong clock', () => {
    const flow = new FlowFunctions();
    keep(flow, 'observation', { ...observation, captured_at: '1970-01-01T00:00:00.000Z' });
    expect(flow.page).toContain('newest record 0 min ago');
    expect(
      keep(flow, 'backfill', { ...observation, id: 'x', captured_at: '2090-01-01T00:00:00.000Z' }),
    ).toBeNull();
  });

  it('survive what is no record, and show no markup of it', () => {
    const flow = new FlowFunctions();
    for (const leaf of ['observation', 'latest', 'sea_state', 'sea_state/latest'])
      for (const payload of [
        ...['', 'no JSON', '[]', 'null', '1', '{"id":"x"}'],
        ...[
          { ...observation, wave: null },
          { ...observation, id: 7 },
          { ...observation, id: '__proto__' },
        ],
        ...[
          { ...seaState, breaking: null },
          { ...seaState, period: 'x' },
        ],
      ])
        expect(keep(flow, leaf, payload)).toBeNull();
    const hostile = '<script>alert(1)</script>"\'&';
    const wave = { ...observation.wave, height_m: 'NaN', height_low_m: hostile, period_s: [1] };
    flow.run('Keep records', {
      topic: `swellsight/v1/home/${hostile.replace('/', '')}/camera/x/observation`,
      payload: JSON.stringify({ ...observation, wave, status: hostile, reasons: [hostile, {}] }),
    });
    const page = flow.page;
    expect(page).toContain('&#60;script&#62;');
    expect(page).not.toContain('<script');
    for (let camera = 0; camera < 500; camera += 1)
      flow.run('Keep records', {
        topic: `${PREFIX}/camera/invented-${camera}/observation`,
        payload: JSON.stringify(observation),
      });
    expect(Object.keys(flow.context.get('cameras') as object)).toHaveLength(100);
  });

  it('send a valid command to a known camera, from the same site only, and show its answer', () => {
    const flow = new FlowFunctions();
    keep(flow, 'latest', observation);
    const send = (payload: unknown, origin?: string): readonly Record<string, unknown>[] =>
      flow.run('Send a command', {
        payload,
        req: { headers: { host: 'red:1880', ...(origin === undefined ? {} : { origin }) } },
      }) as readonly Record<string, unknown>[];
    for (const [payload, origin, statusCode] of [
      [{ command: 'capture', camera: KEY }, 'https://evil.example', 403],
      [{ command: 'capture', camera: 'home/pi/+' }, undefined, 400],
      [{ command: 'config.set', camera: KEY }, undefined, 400],
      [undefined, undefined, 400],
    ] as const) {
      const [command, reply] = send(payload, origin);
      expect(command).toBeNull();
      expect(reply).toMatchObject({ statusCode });
    }
    const [command, reply] = send({ command: 'capture', camera: KEY }, 'http://red:1880');
    expect(reply).toMatchObject({ statusCode: 303, headers: { location: 'swellsight' } });
    expect(command).toMatchObject({ topic: `${PREFIX}/cmd/capture`, qos: 1, retain: false });
    expect(contractFault(String(command?.['topic']), Buffer.from(String(command?.['payload'])))).toBeNull();
    const { id } = JSON.parse(String(command?.['payload'])) as { id: string };
    expect(flow.page).toContain(`content="3"`);
    const answer = (message: object): unknown =>
      flow.run('Keep the answer', { topic: `${PREFIX}/cmdres/capture`, payload: JSON.stringify(message) });
    expect(answer({ id: 'of another program', status: 'accepted', reason: null })).toBeNull();
    answer({ id, status: 'succeeded', result: observation, duration_ms: 900 });
    expect(flow.page).toContain(`<li>capture ${KEY}: succeeded: 1.2 m</li>`);
    expect(flow.page).toContain(`content="60"`);
    // The inject node has no browser that waits.
    const [injected, none] = flow.run('Send a command', { payload: KEY }) as readonly unknown[];
    expect([injected, none]).toMatchObject([{ topic: `${PREFIX}/cmd/capture` }, null]);
  });
});

const installed = process.env['SWELLSIGHT_NODE_RED'];
describe.skipIf(installed === undefined)('Node-RED (needs npm run check:node-red)', () => {
  let broker: Mosquitto;
  let agent: RunningAgent;
  let red: NodeRed;
  const SIM = 'home/pi/sim';
  const shows = (text: string, timeout = 60_000): Promise<void> =>
    expect.poll(() => red.page(), { timeout }).toMatch(new RegExp(text));
  const post = (fields: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${red.url}/swellsight`, {
      ...{ method: 'POST', redirect: 'manual', body: new URLSearchParams(fields), headers },
    });

  beforeAll(async () => {
    broker = await Mosquitto.start();
    agent = await RunningAgent.start({
      ...{ site: 'home', device: 'pi', mqtt: { url: broker.url } },
      cameras: [
        {
          ...{ id: 'sim', kind: 'simulated', schedule: { everyS: 2 }, burst: { frames: 1 } },
          ...{ simulation: { selfLabel: true }, seaState: { durationS: 256, schedule: { everyS: 600 } } },
        },
      ],
    });
    red = await NodeRed.start(installed ?? '', broker.port);
  });

  afterAll(async () => {
    await red.stop();
    await agent[Symbol.asyncDispose]();
    await broker.stop();
  });

  it('shows the camera with its height and a chart', async () => {
    await shows('<dt>Height</dt><dd>\\d+\\.\\d \\(\\d');
    await shows('<h2>home/pi/sim <strong>simulated</strong></h2><p>device online');
    await shows('<polyline points="[\\d.]+,[\\d.]+ ');
    const { headers } = await fetch(`${red.url}/swellsight`);
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  it('sends a command and shows the answer', async () => {
    const answer = await post({ command: 'capture', camera: SIM }, { origin: red.url });
    expect([answer.status, answer.headers.get('location')]).toEqual([303, 'swellsight']);
    await shows(`<li>capture ${SIM}: succeeded`);
    const refused = await post({ command: 'capture', camera: SIM }, { origin: 'http://evil.example' });
    expect([refused.status, (await post({ camera: 'home/pi/+' })).status]).toEqual([403, 400]);
  });

  it('shows the period and the clip', async () => {
    await shows('<dt>Period</dt><dd>\\d+\\.\\d \\(\\d', 1_200_000);
    await shows('<dt>Breakers</dt>');
    await shows('Measure a clip');
  }, 1_260_000);

  it('survives hostile messages', async () => {
    const client = await broker.client();
    const publish = (topic: string, payload: string | Buffer): Promise<unknown> =>
      client.publishAsync(`swellsight/v1/${topic}`, payload, { qos: 1 });
    await publish(
      'home/<script>/camera/x/observation',
      JSON.stringify({ ...observation, captured_at: now() }),
    );
    await publish('home/pi/camera/big/observation', 'x'.repeat(10_000_000));
    await publish('home/pi/camera/binary/latest', Buffer.from([0xff, 0xfe, 0]));
    await publish('home/pi/cmdres/capture', '{"id":{}}');
    for (let device = 0; device < 1000; device += 1)
      await publish(`invented/d${device}/camera/x/observation`, JSON.stringify(observation));
    await shows('home/&#60;script&#62;/x');
    expect(await red.page()).not.toContain('<script');
    expect(red.log).not.toContain('[error]');
  });

  it('shows that the device has stopped, and forgets a camera that was cleared', async () => {
    await agent.stop();
    await shows('device stopped');
    const client = await broker.client();
    await client.publishAsync('swellsight/v1/home/pi/camera/sim/latest', '', { qos: 1, retain: true });
    await expect.poll(async () => (await red.page()).includes(`<h2>${SIM}`)).toBe(false);
  });
});

it('documents the version of Node-RED that the check installs', () => {
  const root = join(import.meta.dirname, '../../..');
  const version = /NODE_RED_VERSION = '([\d.]+)'/.exec(
    readFileSync(join(root, 'scripts/node-red/main.ts'), 'utf8'),
  )?.[1];
  expect(readFileSync(join(root, 'docs/dashboards.md'), 'utf8')).toContain(`Node-RED ${version ?? '?'}`);
});
