import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { runCli } from '../fixtures/cli.ts';
import { contractFault } from '../fixtures/contract.ts';
import { jpegOf } from '../fixtures/jpeg.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const PREFIX = 'swellsight/v1/test/dev/';
/** Upper limit for events that normally follow soon. */
const TIMEOUT_MS = 60_000;

interface Answer {
  readonly id: string;
  readonly status: string;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: string; readonly message: string };
  readonly duplicate?: boolean;
}
interface ObservationSummary {
  readonly seq: number;
  readonly status: string;
  readonly captured_at: string;
}

/** An agent with two cameras, its own broker, and an operator's client. */
class Site {
  readonly broker: Mosquitto;
  readonly messages: Message[];
  readonly operator: MqttClient;
  agent: RunningAgent;
  readonly #camera: TestServer;

  private constructor(parts: {
    readonly broker: Mosquitto;
    readonly messages: Message[];
    readonly operator: MqttClient;
    readonly camera: TestServer;
    readonly agent: RunningAgent;
  }) {
    this.broker = parts.broker;
    this.messages = parts.messages;
    this.operator = parts.operator;
    this.#camera = parts.camera;
    this.agent = parts.agent;
  }

  static async open(): Promise<Site> {
    const image = await jpegOf(1, { width: 640, height: 360 });
    const camera = await httpServer((_request, response) => response.end(image));
    const broker = await Mosquitto.start();
    const messages = await broker.record(`${PREFIX}#`);
    const operator = await broker.client();
    const agent = await startAgent(camera.url, broker.url);
    return new Site({ broker, messages, operator, camera, agent });
  }

  /** Kills the agent with SIGKILL, and starts it with the same state directory. */
  async powerCut(): Promise<void> {
    this.agent.signal('SIGKILL');
    await this.agent.exited;
    this.agent = await startAgent(this.#camera.url, this.broker.url, this.agent.stateDir);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await this.broker.stop();
    await this.#camera.stop();
  }

  /** Sends a command and waits for its receipt and its result; returns the result. */
  async command(name: string, args: object = {}, id = randomUUID()): Promise<Answer> {
    const payload = JSON.stringify({ id, issued_at: new Date().toISOString(), args });
    await this.operator.publishAsync(`${PREFIX}cmd/${name}`, payload, { qos: 1 });
    const [, answer] = await until(
      () => {
        const answers = this.payloadsOf(`cmdres/${name}`).filter((one) => one['id'] === id);
        return answers.length >= 2 && answers;
      },
      `the answer to ${name}`,
      TIMEOUT_MS,
    );
    return answer as unknown as Answer;
  }

  /** All payloads on one topic of the device, parsed. */
  payloadsOf(topic: string): Record<string, unknown>[] {
    return this.messages
      .filter((one) => one.topic === PREFIX + topic)
      .map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
  }

  /** All messages that the device published. */
  published(): Message[] {
    return this.messages.filter(({ topic }) => !topic.startsWith(`${PREFIX}cmd/`));
  }

  observationsOf(camera: string): ObservationSummary[] {
    return [
      ...this.payloadsOf(`camera/${camera}/observation`),
      ...this.payloadsOf(`camera/${camera}/backfill`),
    ] as unknown as ObservationSummary[];
  }

  countMeasured(camera: string): number {
    return this.observationsOf(camera).filter(({ status }) => status !== 'failed' && status !== 'skipped')
      .length;
  }

  configDigest(): unknown {
    return this.payloadsOf('info').at(-1)?.['config_digest'];
  }

  undoReasons(): unknown[] {
    return this.payloadsOf('event/config_undone').map(
      ({ context }) => (context as { reason: string }).reason,
    );
  }
}

const cameraAt = (url: string, id: string, everyS: number) => ({
  id,
  kind: 'http',
  url: `${url}/${id}.jpg`,
  schedule: { everyS },
  burst: { frames: 1, intervalS: 0 },
});

async function startAgent(cameraUrl: string, url: string, stateDir?: string): Promise<RunningAgent> {
  const agent = await RunningAgent.start(
    {
      mqtt: { url },
      heartbeat: { intervalS: 5 },
      cameras: [cameraAt(cameraUrl, 'north', 4), cameraAt(cameraUrl, 'south', 3)],
    },
    stateDir === undefined ? {} : { stateDir },
  );
  await agent.waitFor('the link', ({ msg }) => msg === 'connected', TIMEOUT_MS);
  return agent;
}

/** Each test has its own agent and broker, and mostly waits: some run at the same time. */
describe.concurrent('Remote configuration', { timeout: 240_000 }, () => {
  it('changes a schedule, a region and the log level while it runs, and the other camera misses no slot', async () => {
    await using site = await Site.open();
    await until(
      () => site.countMeasured('south') >= 2 && site.countMeasured('north') >= 1,
      'first observations',
      TIMEOUT_MS,
    );
    const firstMeasured = site.observationsOf('south').length - 1;
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
    const before = site.observationsOf('north').length;
    await until(
      () =>
        site.observationsOf('north').length >= before + 4 &&
        site.configDigest() === set.result?.['config_digest'],
      'the new interval',
      TIMEOUT_MS,
    );
    await site.command('config.confirm', { trial: set.result?.['trial'] });
    expect(site.agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);

    for (const camera of ['north', 'south']) {
      const seen = site.observationsOf(camera);
      expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, index) => index + 1));
    }
    // Each slot has a record with its time, even when a busy machine could not serve it. Records before the first
    // measured one may have waited for the model.
    const [first, ...south] = site.observationsOf('south').slice(firstMeasured);
    const slots = south.map(({ captured_at }) =>
      Math.round((Date.parse(captured_at) - Date.parse(first?.captured_at ?? '')) / 3000),
    );
    expect(slots.length).toBeGreaterThanOrEqual(2);
    expect(slots).toEqual(slots.map((_, index) => index + 1));

    // The confirmed settings survive a power cut.
    await site.powerCut();
    const view = await site.command('config.get');
    expect(view.result).toMatchObject({
      trial: null,
      overlay: { logLevel: 'debug', cameras: [{ id: 'north', schedule: { everyS: 2 } }] },
    });
    expect(site.undoReasons()).toEqual([]);

    // Somebody on the device removes some of them, while the agent runs.
    const file = join(site.agent.stateDir, 'test-config.json');
    const dropped = await runCli(['config', 'drop', 'cameras.north', '--config', file]);
    expect(dropped).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/; the agent uses the local/) as unknown,
    });
    expect((await site.command('config.get')).result).toMatchObject({
      overlay: { logLevel: 'debug', heartbeat: { intervalS: 2 } },
    });
    await until(() => site.configDigest() !== set.result?.['config_digest'], 'the digest without them');
    expect(
      site
        .published()
        .map(({ topic, payload }) => contractFault(topic, payload))
        .filter(Boolean),
    ).toEqual([]);
  });

  it('undoes a move to a dead broker with an event, and keeps a confirmed move after SIGKILL', async () => {
    await using site = await Site.open();
    await until(() => site.configDigest(), 'info');
    const before = site.configDigest();
    const count = site.observationsOf('south').length;
    const set = await site.command('config.set', {
      patch: { mqtt: { url: `mqtt://127.0.0.1:${await freePort()}` } },
      confirm_within_s: 8,
    });
    expect(set).toMatchObject({ status: 'succeeded', result: { link: ['mqtt.url'], restart: [] } });
    await until(
      () => site.payloadsOf('status').some(({ state }) => state === 'stopped'),
      'the device to disconnect',
    );
    // What stays retained on the broker that it left.
    expect(site.payloadsOf('camera/south/state').at(-1)).toMatchObject({
      state: 'down',
      reason: 'agent_stopped',
    });
    await until(() => site.undoReasons().length > 0, 'the event', TIMEOUT_MS);
    expect(site.undoReasons()).toEqual(['broker_lost']);
    expect(site.payloadsOf('status').at(-1)).toMatchObject({ state: 'online' });
    expect(site.payloadsOf('camera/south/state').at(-1)).toMatchObject({ state: 'up' });
    await until(() => site.configDigest() === before, 'the previous settings');
    // No record is lost from the time without a broker, and the agent did not restart.
    await until(() => site.observationsOf('south').length > count + 4, 'the backlog', TIMEOUT_MS);
    const seqs = [...new Set(site.observationsOf('south').map(({ seq }) => seq))].sort((a, b) => a - b);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    expect(site.agent.lines.filter(({ msg }) => msg === 'agent started')).toHaveLength(1);

    await using other = await Mosquitto.start().then((one) =>
      Object.assign(one, { [Symbol.asyncDispose]: () => one.stop() }),
    );
    const moved = await site.command('config.set', {
      patch: { mqtt: { url: other.url } },
      confirm_within_s: 60,
    });
    const otherMessages = await other.record(`${PREFIX}#`);
    const client = await other.client();
    await until(
      () => otherMessages.some(({ topic }) => topic === `${PREFIX}info`),
      'the device at the other broker',
    );
    await until(
      () =>
        otherMessages.some(
          ({ topic, payload }) => topic === `${PREFIX}status` && payload.includes('"online"'),
        ),
      'online',
    );
    const args = { trial: moved.result?.['trial'] };
    await client.publishAsync(`${PREFIX}cmd/config.confirm`, JSON.stringify({ id: 'c1', args }), { qos: 1 });
    const isConfirmed = (): boolean =>
      otherMessages.some(
        ({ topic, payload }) => topic === `${PREFIX}cmdres/config.confirm` && payload.includes('succeeded'),
      );
    await until(isConfirmed, 'the confirmation');
    const countBefore = otherMessages.length;
    await site.powerCut();
    await until(
      () => otherMessages.slice(countBefore).some(({ topic }) => topic.endsWith('/info')),
      'the device at the other broker again',
    );
  });

  it('restarts its parts for a setting that needs it, undoes a trial after SIGKILL, and answers restart', async () => {
    await using site = await Site.open();
    const set = await site.command('config.set', {
      patch: { inference: { timeoutS: 20 } },
      confirm_within_s: 90,
    });
    expect(set.result).toMatchObject({ live: [], link: [], restart: ['inference.timeoutS'] });
    await site.agent.waitFor('a new start', ({ msg }) => msg === 'restarting');
    await until(() => site.configDigest() === set.result?.['config_digest'], 'the new settings', TIMEOUT_MS);
    await site.powerCut();
    await until(() => site.undoReasons().includes('interrupted'), 'the event', TIMEOUT_MS);
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
      TIMEOUT_MS,
    );
    // The same command again: the agent answers from memory, and does not restart again.
    await site.operator.publishAsync(`${PREFIX}cmd/restart`, JSON.stringify({ id }), { qos: 1 });
    const again = await until(
      () =>
        site
          .payloadsOf('cmdres/restart')
          .filter((one) => one['duplicate'] === true && one['status'] !== 'accepted')[0],
      'the stored answer',
    );
    expect(again).toMatchObject({ status: 'succeeded', result: { restarting: true } });
    expect(site.agent.pid).toBeGreaterThan(0);
    expect(site.agent.lines.slice(from).filter(({ msg }) => msg === 'agent started')).toHaveLength(1);
    const seen = site.observationsOf('south').map(({ seq }) => seq);
    expect([...new Set(seen)].sort((a, b) => a - b)).toEqual([...new Set(seen)].map((_, index) => index + 1));
  });

  it('returns to the former HTTP port when nobody confirms the new one', async () => {
    await using site = await Site.open();
    const port = await freePort();
    const response = await fetch(`${site.agent.url}/api/v1/config`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ patch: { http: { port } }, confirm_within_s: 30 }),
    });
    expect(await response.json()).toMatchObject({ changed: ['http.port'], restart: ['http.port'] });
    const answers = (url: string) =>
      fetch(`${url}/live`, { signal: AbortSignal.timeout(2000) }).then(
        ({ status }) => status,
        () => null,
      );
    await expect.poll(() => answers(`http://127.0.0.1:${port}`), { timeout: TIMEOUT_MS }).toBe(200);
    expect(await answers(site.agent.url)).toBeNull();
    await expect.poll(() => answers(site.agent.url), { timeout: 2 * TIMEOUT_MS, interval: 500 }).toBe(200);
    expect(await answers(`http://127.0.0.1:${port}`)).toBeNull();
    await until(() => site.undoReasons().includes('not_confirmed'), 'the event', TIMEOUT_MS);
    expect(await site.agent.json('/api/v1/config')).toMatchObject({ trial: null, overlay: {} });
  });

  it('undoes a port that is in use, refuses locked and invalid settings, and shows and logs no secret', async () => {
    await using site = await Site.open();
    const portInUse = await site.command('config.set', {
      patch: { http: { port: site.broker.port } },
      confirm_within_s: 90,
    });
    expect(portInUse.status).toBe('succeeded');
    await until(() => site.undoReasons().includes('start_failed'), 'the event', TIMEOUT_MS);
    expect((await site.command('config.get')).result).toMatchObject({ trial: null, overlay: {} });
    expect(await site.agent.json('/live')).toEqual({ live: true });

    const locked = await site.command('config.set', {
      patch: { model: { allowUnsigned: true }, cameras: [{ id: 'north', kind: 'command', command: ['id'] }] },
    });
    expect(locked.error).toMatchObject({ code: 'config_locked' });
    const invalid = await site.command('config.set', {
      patch: { logLevel: 'loud', cameras: [{ id: 'south', timeoutS: -1 }] },
    });
    expect(invalid.error?.message.split('\n')).toHaveLength(3);
    const set = await site.command('config.set', {
      patch: {
        logLevel: 'trace',
        cameras: [
          {
            id: 'east',
            kind: 'http',
            url: 'http://127.0.0.1:9/a.jpg',
            schedule: { everyS: 2 },
            burst: { frames: 1 },
            username: 'viewer',
            password: 'swordfish',
          },
        ],
      },
      confirm_within_s: 60,
    });
    expect(set.result).toMatchObject({ changed: ['logLevel', 'cameras.east'], restart: [] });
    expect((await site.command('config.set', { patch: {} })).error).toMatchObject({ code: 'config_busy' });
    await until(() => site.observationsOf('east').length > 0, 'the new camera', TIMEOUT_MS);
    await site.command('config.confirm');
    await site.command('config.get');
    const removed = await site.command('config.set', {
      patch: { cameras: [{ id: 'east', remove: true }] },
      confirm_within_s: 60,
    });
    expect(removed.result).toMatchObject({ changed: ['cameras.east'] });
    await until(
      () =>
        site.messages.some(
          ({ topic, payload }) => topic === `${PREFIX}camera/east/state` && payload.length === 0,
        ),
      'the topics of the removed camera to be cleared',
    );
    const output = [...site.agent.raw, ...site.published().map(({ payload }) => payload.toString())].join(
      '\n',
    );
    expect(output).not.toContain('swordfish');
    expect(readFileSync(join(site.agent.stateDir, 'var', 'config-overlay.json'), 'utf8')).toContain(
      'swordfish',
    );
    const level = await site.command('log.level', { level: 'error' });
    expect(level.result).toEqual({ level: 'error', before: 'trace' });
    const lines = site.agent.lines.length;
    const count = site.observationsOf('south').length;
    await until(() => site.observationsOf('south').length > count + 2, 'more observations', TIMEOUT_MS);
    expect(site.agent.lines.slice(lines + 2).filter((one) => one.level === 'info')).toEqual([]);
  });
});
