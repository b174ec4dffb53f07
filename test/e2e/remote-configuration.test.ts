import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { contractFault } from '../fixtures/contract.ts';
import { jpegOf } from '../fixtures/jpeg.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const PREFIX = 'swellsight/v1/test/dev/';
/** For anything that should come soon; costs nothing where it does. */
const WITHIN_MS = 60_000;

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

/** A device of two cameras at a broker of its own, with an operator beside it. */
class Site {
  readonly broker: Mosquitto;
  readonly heard: Message[];
  readonly operator: MqttClient;
  agent: RunningAgent;
  readonly #pictures: TestServer;

  private constructor(parts: {
    readonly broker: Mosquitto;
    readonly heard: Message[];
    readonly operator: MqttClient;
    readonly pictures: TestServer;
    readonly agent: RunningAgent;
  }) {
    this.broker = parts.broker;
    this.heard = parts.heard;
    this.operator = parts.operator;
    this.#pictures = parts.pictures;
    this.agent = parts.agent;
  }

  static async open(): Promise<Site> {
    const picture = await jpegOf(1, { width: 640, height: 360 });
    const pictures = await httpServer((_request, response) => response.end(picture));
    const broker = await Mosquitto.start();
    const heard = await broker.record(`${PREFIX}#`);
    const operator = await broker.client();
    const agent = await started(pictures.url, broker.url);
    return new Site({ broker, heard, operator, pictures, agent });
  }

  /** Ends the agent without a word, and starts it on the same state. */
  async powerCut(): Promise<void> {
    this.agent.signal('SIGKILL');
    await this.agent.exited;
    this.agent = await started(this.#pictures.url, this.broker.url, this.agent.stateDir);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await this.broker.stop();
    await this.#pictures.stop();
  }

  /** Sends a command and waits for its result; the receipt in between must say `accepted`. */
  async command(name: string, args: object = {}, id = randomUUID()): Promise<Answer> {
    const payload = JSON.stringify({ id, issued_at: new Date().toISOString(), args });
    await this.operator.publishAsync(`${PREFIX}cmd/${name}`, payload, { qos: 1 });
    const [, answer] = await until(
      () => {
        const mine = this.told(`cmdres/${name}`).filter((one) => one['id'] === id);
        return mine.length >= 2 && mine;
      },
      `the answer to ${name}`,
      WITHIN_MS,
    );
    return answer as unknown as Answer;
  }

  told(topic: string): Record<string, unknown>[] {
    return this.heard
      .filter((one) => one.topic === PREFIX + topic)
      .map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
  }

  /** All that the device said. */
  spoken(): Message[] {
    return this.heard.filter(({ topic }) => !topic.startsWith(`${PREFIX}cmd/`));
  }

  observed(camera: string): Seen[] {
    return [
      ...this.told(`camera/${camera}/observation`),
      ...this.told(`camera/${camera}/backfill`),
    ] as unknown as Seen[];
  }

  measured(camera: string): number {
    return this.observed(camera).filter(({ status }) => status !== 'failed' && status !== 'skipped').length;
  }

  digest(): unknown {
    return this.told('info').at(-1)?.['config_digest'];
  }

  reasons(): unknown[] {
    return this.told('event/config_undone').map(({ context }) => (context as { reason: string }).reason);
  }
}

const cameraAt = (url: string, id: string, everyS: number) => ({
  id,
  kind: 'http',
  url: `${url}/${id}.jpg`,
  schedule: { everyS },
  burst: { frames: 1, intervalS: 0 },
});

async function started(pictures: string, url: string, stateDir?: string): Promise<RunningAgent> {
  const agent = await RunningAgent.start(
    {
      mqtt: { url },
      heartbeat: { intervalS: 5 },
      cameras: [cameraAt(pictures, 'north', 4), cameraAt(pictures, 'south', 3)],
    },
    stateDir === undefined ? {} : { stateDir },
  );
  await agent.waitFor('the link', ({ msg }) => msg === 'connected', WITHIN_MS);
  return agent;
}

/** Each case has a device and a broker of its own, and waits most of the time: some run at once. */
describe.concurrent('configuration by remote command', { timeout: 240_000 }, () => {
  it('a schedule, regions and the log level change while it runs, and the other camera misses no slot', async () => {
    await using site = await Site.open();
    await until(
      () => site.measured('south') >= 2 && site.measured('north') >= 1,
      'first observations',
      WITHIN_MS,
    );
    const steady = site.observed('south').length - 1;
    const set = await site.command('config.set', {
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
    const before = site.observed('north').length;
    await until(
      () => site.observed('north').length >= before + 4 && site.digest() === set.result?.['config_digest'],
      'the new pace',
      WITHIN_MS,
    );
    await site.command('config.confirm', { trial: set.result?.['trial'] });
    expect(site.agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);

    for (const camera of ['north', 'south']) {
      const seen = site.observed(camera);
      expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, index) => index + 1));
    }
    // Each slot has its record, at its time, whether or not a busy machine could serve it. Those before the first that was
    // measured may have waited for the model.
    const [first, ...south] = site.observed('south').slice(steady);
    const slots = south.map(({ captured_at }) =>
      Math.round((Date.parse(captured_at) - Date.parse(first?.captured_at ?? '')) / 3000),
    );
    expect(slots.length).toBeGreaterThanOrEqual(2);
    expect(slots).toEqual(slots.map((_, index) => index + 1));

    // A power cut: what was confirmed stands.
    await site.powerCut();
    const view = await site.command('config.get');
    expect(view.result).toMatchObject({
      trial: null,
      overlay: { logLevel: 'debug', cameras: [{ id: 'north', schedule: { everyS: 2 } }] },
    });
    expect(site.reasons()).toEqual([]);
    expect(
      site
        .spoken()
        .map(({ topic, payload }) => contractFault(topic, payload))
        .filter(Boolean),
    ).toEqual([]);
  });

  it('a dead broker is undone by itself, back at the old one, and told of; moves to another one, is confirmed there, and stays there after a SIGKILL', async () => {
    await using site = await Site.open();
    await until(() => site.digest(), 'info');
    const before = site.digest();
    const count = site.observed('south').length;
    const set = await site.command('config.set', {
      patch: { mqtt: { url: `mqtt://127.0.0.1:${await freePort()}` } },
      confirm_within_s: 8,
    });
    expect(set).toMatchObject({ status: 'succeeded', result: { link: ['mqtt.url'], restart: [] } });
    await until(() => site.told('status').some(({ state }) => state === 'stopped'), 'the device to leave');
    await until(() => site.reasons().length > 0, 'the event', WITHIN_MS);
    expect(site.reasons()).toEqual(['broker_lost']);
    expect(site.told('status').at(-1)).toMatchObject({ state: 'online' });
    await until(() => site.digest() === before, 'the former settings');
    // Nothing of the time without a broker is lost, and nothing restarted.
    await until(() => site.observed('south').length > count + 4, 'the backlog', WITHIN_MS);
    const seqs = [...new Set(site.observed('south').map(({ seq }) => seq))].sort((a, b) => a - b);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    expect(site.agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);

    await using other = await Mosquitto.start().then((one) =>
      Object.assign(one, { [Symbol.asyncDispose]: () => one.stop() }),
    );
    const moved = await site.command('config.set', {
      patch: { mqtt: { url: other.url } },
      confirm_within_s: 60,
    });
    const there = await other.record(`${PREFIX}#`);
    const client = await other.client();
    await until(() => there.some(({ topic }) => topic === `${PREFIX}info`), 'the device at the other broker');
    await until(
      () => there.some(({ topic, payload }) => topic === `${PREFIX}status` && payload.includes('"online"')),
      'online',
    );
    const args = { trial: moved.result?.['trial'] };
    await client.publishAsync(`${PREFIX}cmd/config.confirm`, JSON.stringify({ id: 'c1', args }), { qos: 1 });
    const confirmed = (): boolean =>
      there.some(
        ({ topic, payload }) => topic === `${PREFIX}cmdres/config.confirm` && payload.includes('succeeded'),
      );
    await until(confirmed, 'the confirmation');
    const told = there.length;
    await site.powerCut();
    await until(
      () => there.slice(told).some(({ topic }) => topic.endsWith('/info')),
      'the device back there',
    );
  });

  it('what needs a new start gets one; SIGKILL in a trial undoes it; restart is answered and not interrupted', async () => {
    await using site = await Site.open();
    const set = await site.command('config.set', {
      patch: { inference: { timeoutS: 20 } },
      confirm_within_s: 90,
    });
    expect(set.result).toMatchObject({ live: [], link: [], restart: ['inference.timeoutS'] });
    await site.agent.waitFor('a new start', ({ msg }) => msg === 'starting anew');
    await until(() => site.digest() === set.result?.['config_digest'], 'the new settings', WITHIN_MS);
    await site.powerCut();
    await until(() => site.reasons().includes('interrupted'), 'the event', WITHIN_MS);
    expect((await site.command('config.get')).result).toMatchObject({
      overlay: {},
      trial: null,
      settings: { inference: { timeoutS: 10 } },
    });

    const from = site.agent.lines.length;
    const id = randomUUID();
    expect(await site.command('restart', {}, id)).toMatchObject({
      status: 'succeeded',
      result: { restarting: true },
    });
    await site.agent.waitFor('a new start', ({ msg }) => msg === 'agent started', 60_000, from);
    await until(
      () => site.agent.lines.slice(from).some(({ msg }) => msg === 'connected'),
      'the link',
      WITHIN_MS,
    );
    // Asked again, it tells what it was, and does not run again.
    await site.operator.publishAsync(`${PREFIX}cmd/restart`, JSON.stringify({ id }), { qos: 1 });
    const again = await until(
      () =>
        site
          .told('cmdres/restart')
          .filter((one) => one['duplicate'] === true && one['status'] !== 'accepted')[0],
      'the stored answer',
    );
    expect(again).toMatchObject({ status: 'succeeded', result: { restarting: true } });
    expect(site.agent.pid).toBeGreaterThan(0);
    expect(site.agent.lines.slice(from).filter(({ msg }) => msg === 'agent started')).toHaveLength(1);
    const seen = site.observed('south').map(({ seq }) => seq);
    expect([...new Set(seen)].sort((a, b) => a - b)).toEqual([...new Set(seen)].map((_, index) => index + 1));
  });

  it('settings that do not come up are undone: a port that is taken; refuses what is not a sender’s to change, and shows and logs no secret', async () => {
    await using site = await Site.open();
    const taken = await site.command('config.set', {
      patch: { http: { port: site.broker.port } },
      confirm_within_s: 90,
    });
    expect(taken.status).toBe('succeeded');
    await until(() => site.reasons().includes('start_failed'), 'the event', WITHIN_MS);
    expect((await site.command('config.get')).result).toMatchObject({ trial: null, overlay: {} });
    expect(await site.agent.json('/live')).toEqual({ live: true });

    const locked = await site.command('config.set', {
      patch: { model: { allowUnsigned: true }, cameras: [{ id: 'north', kind: 'command', command: ['id'] }] },
    });
    expect(locked.error).toMatchObject({ code: 'config_locked' });
    const wrong = await site.command('config.set', {
      patch: { logLevel: 'loud', cameras: [{ id: 'south', timeoutS: -1 }] },
    });
    expect(wrong.error?.message.split('\n')).toHaveLength(3);
    const set = await site.command('config.set', {
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
    expect((await site.command('config.set', { patch: {} })).error).toMatchObject({ code: 'config_busy' });
    await until(() => site.observed('east').length > 0, 'the new camera', WITHIN_MS);
    await site.command('config.confirm');
    await site.command('config.get');
    const gone = await site.command('config.set', {
      patch: { cameras: [{ id: 'east', remove: true }] },
      confirm_within_s: 60,
    });
    expect(gone.result).toMatchObject({ changed: ['cameras.east'] });
    await until(
      () =>
        site.heard.some(
          ({ topic, payload }) => topic === `${PREFIX}camera/east/state` && payload.length === 0,
        ),
      'its topics cleared',
    );
    const said = [...site.agent.raw, ...site.spoken().map(({ payload }) => payload.toString())].join('\n');
    expect(said).not.toContain('swordfish');
    expect(readFileSync(join(site.agent.stateDir, 'var', 'config-overlay.json'), 'utf8')).toContain(
      'swordfish',
    );
    const level = await site.command('log.level', { level: 'error' });
    expect(level.result).toEqual({ level: 'error', before: 'trace' });
    const lines = site.agent.lines.length;
    const count = site.observed('south').length;
    await until(() => site.observed('south').length > count + 2, 'more observations', WITHIN_MS);
    expect(site.agent.lines.slice(lines + 2).filter((one) => one.level === 'info')).toEqual([]);
  });
});
