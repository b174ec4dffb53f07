import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { contractFault } from '../fixtures/contract.ts';
import { jpegOf } from '../fixtures/jpeg.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const PREFIX = 'swellsight/v1/test/dev/';

interface Answer {
  readonly id: string;
  readonly status: string;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: string; readonly message: string };
  readonly duplicate?: boolean;
}
interface Seen {
  readonly seq: number;
  readonly status: string;
  readonly captured_at: string;
}

describe('configuration by remote command', { timeout: 120_000 }, () => {
  let broker: Mosquitto;
  let pictures: TestServer;
  let agent: RunningAgent;
  let operator: MqttClient;
  let heard: Message[];

  beforeEach(async () => {
    const picture = await jpegOf(1, { width: 640, height: 360 });
    pictures = await httpServer((_request, response) => response.end(picture));
    broker = await Mosquitto.start();
    heard = await broker.record(`${PREFIX}#`);
    operator = await broker.client();
    agent = await start();
  });
  afterEach(async () => {
    await agent[Symbol.asyncDispose]();
    await broker.stop();
    await pictures.stop();
  });

  const camera = (id: string, everyS: number) => ({
    id,
    kind: 'http',
    url: `${pictures.url}/${id}.jpg`,
    schedule: { everyS },
    burst: { frames: 1, intervalS: 0 },
  });

  async function start(stateDir?: string, url = broker.url): Promise<RunningAgent> {
    const one = await RunningAgent.start(
      {
        mqtt: { url },
        heartbeat: { intervalS: 5 },
        cameras: [camera('north', 4), camera('south', 3)],
      },
      stateDir === undefined ? {} : { stateDir },
    );
    await one.waitFor('the link', ({ msg }) => msg === 'connected');
    return one;
  }

  /** Sends a command and waits for its result; the receipt in between must say `accepted`. */
  async function command(name: string, args: object = {}, id = randomUUID()): Promise<Answer> {
    const payload = JSON.stringify({ id, issued_at: new Date().toISOString(), args });
    await operator.publishAsync(`${PREFIX}cmd/${name}`, payload, { qos: 1 });
    const [, answer] = await until(() => {
      const mine = told(`cmdres/${name}`).filter((one) => one['id'] === id);
      return mine.length >= 2 && mine;
    }, `the answer to ${name}`);
    return answer as unknown as Answer;
  }
  const told = (topic: string): Record<string, unknown>[] =>
    heard
      .filter((one) => one.topic === PREFIX + topic)
      .map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
  /** All that the device said. */
  const spoken = (): Message[] => heard.filter(({ topic }) => !topic.startsWith(`${PREFIX}cmd/`));
  const observed = (camera: string): Seen[] =>
    [...told(`camera/${camera}/observation`), ...told(`camera/${camera}/backfill`)] as unknown as Seen[];
  const measured = (camera: string): number =>
    observed(camera).filter(({ status }) => status !== 'failed' && status !== 'skipped').length;
  const digest = (): unknown => told('info').at(-1)?.['config_digest'];
  const reasons = (): unknown[] =>
    told('event/config_undone').map(({ context }) => (context as { reason: string }).reason);

  it('a schedule, regions and the log level change while it runs, and the other camera misses no slot', async () => {
    await until(() => measured('south') >= 2 && measured('north') >= 1, 'first observations', 40_000);
    const steady = observed('south').length - 1;
    const set = await command('config.set', {
      patch: {
        logLevel: 'debug',
        heartbeat: { intervalS: 2 },
        cameras: [{ id: 'north', schedule: { everyS: 2 }, roi: [[0, 0.2], [1, 0.2], [1, 1], [0, 1]] }], // prettier-ignore
      },
      confirm_within_s: 60,
    });
    expect(set.result).toMatchObject({
      changed: ['logLevel', 'heartbeat.intervalS', 'cameras.north.schedule', 'cameras.north.roi'],
      link: [],
      restart: [],
    });
    const before = observed('north').length;
    await until(
      () => observed('north').length >= before + 4 && digest() === set.result?.['config_digest'],
      'the new pace',
      40_000,
    );
    await command('config.confirm', { trial: set.result?.['trial'] });
    expect(agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);

    for (const camera of ['north', 'south']) {
      const seen = observed(camera);
      expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, index) => index + 1));
    }
    // Each slot has its record, at its time, whether or not a busy machine could serve it. Those before the first that was
    // measured may have waited for the model.
    const [first, ...south] = observed('south').slice(steady);
    const slots = south.map(({ captured_at }) =>
      Math.round((Date.parse(captured_at) - Date.parse(first?.captured_at ?? '')) / 3000),
    );
    expect(slots.length).toBeGreaterThanOrEqual(2);
    expect(slots).toEqual(slots.map((_, index) => index + 1));

    // A power cut: what was confirmed stands.
    agent.signal('SIGKILL');
    await agent.exited;
    agent = await start(agent.stateDir);
    const view = await command('config.get');
    expect(view.result).toMatchObject({
      trial: null,
      overlay: { logLevel: 'debug', cameras: [{ id: 'north', schedule: { everyS: 2 } }] },
    });
    expect(reasons()).toEqual([]);
    expect(
      spoken()
        .map(({ topic, payload }) => contractFault(topic, payload))
        .filter(Boolean),
    ).toEqual([]);
  });

  it('a dead broker is undone by itself, back at the old one, and told of', async () => {
    await until(() => digest(), 'info');
    const before = digest();
    const count = observed('south').length;
    const set = await command('config.set', {
      patch: { mqtt: { url: `mqtt://127.0.0.1:${await freePort()}` } },
      confirm_within_s: 8,
    });
    expect(set).toMatchObject({ status: 'succeeded', result: { link: ['mqtt.url'], restart: [] } });
    await until(() => told('status').some(({ state }) => state === 'stopped'), 'the device to leave');
    await until(() => reasons().length > 0, 'the event', 40_000);
    expect(reasons()).toEqual(['broker_lost']);
    expect(told('status').at(-1)).toMatchObject({ state: 'online' });
    await until(() => digest() === before, 'the former settings');
    // Nothing of the time without a broker is lost, and nothing restarted.
    await until(() => observed('south').length > count + 4, 'the backlog', 40_000);
    const seqs = [...new Set(observed('south').map(({ seq }) => seq))].sort((a, b) => a - b);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    expect(agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);
  });

  it('moves to another broker, is confirmed there, and stays there after a SIGKILL', async () => {
    await using other = await Mosquitto.start().then((one) =>
      Object.assign(one, { [Symbol.asyncDispose]: () => one.stop() }),
    );
    const set = await command('config.set', { patch: { mqtt: { url: other.url } }, confirm_within_s: 60 });
    const there = await other.record(`${PREFIX}#`);
    const client = await other.client();
    await until(() => there.some(({ topic }) => topic === `${PREFIX}info`), 'the device at the other broker');
    await until(
      () => there.some(({ topic, payload }) => topic === `${PREFIX}status` && payload.includes('"online"')),
      'online',
    );
    const args = { trial: set.result?.['trial'] };
    await client.publishAsync(`${PREFIX}cmd/config.confirm`, JSON.stringify({ id: 'c1', args }), { qos: 1 });
    const confirmed = (): boolean =>
      there.some(
        ({ topic, payload }) => topic === `${PREFIX}cmdres/config.confirm` && payload.includes('succeeded'),
      );
    await until(confirmed, 'the confirmation');
    agent.signal('SIGKILL');
    await agent.exited;
    const count = there.length;
    agent = await start(agent.stateDir);
    await until(
      () => there.slice(count).some(({ topic }) => topic.endsWith('/info')),
      'the device back there',
    );
  });

  it('what needs a new start gets one; SIGKILL in a trial undoes it; restart is answered and not interrupted', async () => {
    const set = await command('config.set', { patch: { inference: { timeoutS: 20 } }, confirm_within_s: 90 });
    expect(set.result).toMatchObject({ live: [], link: [], restart: ['inference.timeoutS'] });
    await agent.waitFor('a new start', ({ msg }) => msg === 'starting anew');
    await until(() => digest() === set.result?.['config_digest'], 'the new settings', 40_000);
    agent.signal('SIGKILL');
    await agent.exited;
    agent = await start(agent.stateDir);
    await until(() => reasons().includes('interrupted'), 'the event', 40_000);
    expect((await command('config.get')).result).toMatchObject({
      overlay: {},
      trial: null,
      settings: { inference: { timeoutS: 10 } },
    });

    const from = agent.lines.length;
    const id = randomUUID();
    expect(await command('restart', {}, id)).toMatchObject({
      status: 'succeeded',
      result: { restarting: true },
    });
    await agent.waitFor('a new start', ({ msg }) => msg === 'agent started', 30_000, from);
    await until(() => agent.lines.slice(from).some(({ msg }) => msg === 'connected'), 'the link', 40_000);
    // Asked again, it tells what it was, and does not run again.
    await operator.publishAsync(`${PREFIX}cmd/restart`, JSON.stringify({ id }), { qos: 1 });
    const again = await until(
      () =>
        told('cmdres/restart').filter((one) => one['duplicate'] === true && one['status'] !== 'accepted')[0],
      'the stored answer',
    );
    expect(again).toMatchObject({ status: 'succeeded', result: { restarting: true } });
    expect(agent.pid).toBeGreaterThan(0);
    expect(agent.lines.slice(from).filter(({ msg }) => msg === 'agent started')).toHaveLength(1);
    const seen = observed('south').map(({ seq }) => seq);
    expect([...new Set(seen)].sort((a, b) => a - b)).toEqual([...new Set(seen)].map((_, index) => index + 1));
  });

  it('settings that do not come up are undone: a port that is taken', async () => {
    const set = await command('config.set', { patch: { http: { port: broker.port } }, confirm_within_s: 90 });
    expect(set.status).toBe('succeeded');
    await until(() => reasons().includes('start_failed'), 'the event', 60_000);
    expect((await command('config.get')).result).toMatchObject({ trial: null, overlay: {} });
    expect(await agent.json('/live')).toEqual({ live: true });
  });

  it('refuses what is not a sender’s to change, and shows and logs no secret', async () => {
    const locked = await command('config.set', {
      patch: { model: { allowUnsigned: true }, cameras: [{ id: 'north', kind: 'command', command: ['id'] }] },
    });
    expect(locked.error).toMatchObject({ code: 'config_locked' });
    const wrong = await command('config.set', {
      patch: { logLevel: 'loud', cameras: [{ id: 'south', timeoutS: -1 }] },
    });
    expect(wrong.error?.message.split('\n')).toHaveLength(3);
    const set = await command('config.set', {
      patch: {
        logLevel: 'trace',
        cameras: [
          {
            id: 'east',
            kind: 'http',
            url: 'http://127.0.0.1:9/a.jpg',
            schedule: { everyS: 2 },
            username: 'viewer',
            password: 'swordfish',
          },
        ],
      },
      confirm_within_s: 60,
    });
    expect(set.result).toMatchObject({ changed: ['logLevel', 'cameras.east'], restart: [] });
    expect((await command('config.set', { patch: {} })).error).toMatchObject({ code: 'config_busy' });
    await until(() => observed('east').length > 0, 'the new camera', 40_000);
    await command('config.confirm');
    await command('config.get');
    const gone = await command('config.set', {
      patch: { cameras: [{ id: 'east', remove: true }] },
      confirm_within_s: 60,
    });
    expect(gone.result).toMatchObject({ changed: ['cameras.east'] });
    await until(
      () =>
        heard.some(({ topic, payload }) => topic === `${PREFIX}camera/east/state` && payload.length === 0),
      'its topics cleared',
    );
    const said = [...agent.raw, ...spoken().map(({ payload }) => payload.toString())].join('\n');
    expect(said).not.toContain('swordfish');
    expect(readFileSync(join(agent.stateDir, 'var', 'config-overlay.json'), 'utf8')).toContain('swordfish');
    const level = await command('log.level', { level: 'error' });
    expect(level.result).toEqual({ level: 'error', before: 'trace' });
    const lines = agent.lines.length;
    const count = observed('south').length;
    await until(() => observed('south').length > count + 2, 'more observations', 40_000);
    expect(agent.lines.slice(lines + 2).filter((one) => one.level === 'info')).toEqual([]);
  });
});
