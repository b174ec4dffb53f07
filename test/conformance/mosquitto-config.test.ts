import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { runCli, type CliResult } from '../fixtures/cli.ts';
import { commandsBelow } from '../fixtures/documents.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { imagesOf } from '../fixtures/sea-camera.ts';

const CONFIG = join(import.meta.dirname, '../../config/mosquitto');
const USERS = {
  north: 'n-secret',
  south: 's-secret',
  dashboard: 'd-secret',
  operator: 'o-secret',
  admin: 'a-secret',
  guest: 'g-secret',
};
const NORTH = 'swellsight/v1/home/north/';
const SOUTH = 'swellsight/v1/home/south/';

/**
 * Runs the commands of the section "Set up" of the README in the directory, where `etc` stands for /etc/mosquitto. Leaves out
 * those that need a system or a terminal; the file of passwords is that of the test.
 */
function setUp(dir: string): void {
  const script = commandsBelow('config/mosquitto/README.md', 'Set up')
    .split('\n')
    .filter((line) => !/apt|systemctl|passwords|mosquitto_sub/.test(line))
    .join('\n')
    .replaceAll('sudo ', '')
    .replaceAll('-o mosquitto ', '')
    .replaceAll('/etc/mosquitto/', './etc/');
  const { status, stderr } = spawnSync('sh', { cwd: dir, input: script, encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  copyFileSync(join(dir, 'passwords'), join(dir, 'etc/passwords'));
}

/** Uses the example files, with the paths and ports of this test. */
describe('config/mosquitto', () => {
  let broker: Mosquitto;
  const clients: MqttClient[] = [];

  beforeAll(async () => {
    const [port, webSocketPort] = [await freePort(), await freePort()];
    broker = await Mosquitto.start({
      tls: true,
      port,
      users: USERS,
      config: (dir) => {
        for (const name of ['mosquitto.conf', 'acl']) copyFileSync(join(CONFIG, name), join(dir, name));
        for (const name of ['data', 'etc']) mkdirSync(join(dir, name));
        setUp(dir);
        return readFileSync(join(dir, 'etc/mosquitto.conf'), 'utf8')
          .replaceAll('/etc/mosquitto/', `${dir}/etc/`)
          .replaceAll('/var/lib/mosquitto/', `${dir}/data/`)
          .replace('listener 8883', `listener ${port} 127.0.0.1`)
          .replace('listener 9001', `listener ${webSocketPort} 127.0.0.1`);
      },
    });
  });

  afterAll(async () => {
    for (const client of clients) client.end(true);
    await broker.stop();
  });

  async function connectAs(name: keyof typeof USERS, options: IClientOptions = {}): Promise<MqttClient> {
    const client = await broker.client({ username: name, password: USERS[name], ...options });
    clients.push(client);
    return client;
  }

  /** Records all messages under the base topic and under another topic. */
  async function recordAll(client: MqttClient): Promise<Message[]> {
    const messages: Message[] = [];
    client.on('message', (topic, payload, packet) =>
      messages.push({ topic, payload, retain: packet.retain, packet }),
    );
    await client.subscribeAsync(['swellsight/#', 'other/#'], { qos: 1 });
    return messages;
  }

  const expectDenied = (client: MqttClient, topic: string): Promise<unknown> =>
    expect(client.publishAsync(topic, 'x', { qos: 1 }), topic).rejects.toMatchObject({ code: 135 });

  it('accepts all topics of the agent with its credentials over TLS', async () => {
    const received = await recordAll(await connectAs('dashboard'));
    const passwordFile = join(broker.dir, 'north-password');
    const ca = join(broker.dir, 'ca-of-test.crt');
    writeFileSync(passwordFile, `${USERS.north}\n`);
    writeFileSync(ca, broker.ca ?? '');
    await using agent = await RunningAgent.start({
      site: 'home',
      device: 'north',
      mqtt: { url: broker.url, username: 'north', password_file: passwordFile, ca },
      heartbeat: { intervalS: 1 },
      inference: { providers: ['cpu'], threads: 1 },
      cameras: [imagesOf('cam')],
    });
    await until(
      () => received.some(({ topic }) => topic === `${NORTH}camera/cam/latest`),
      'a record',
      60_000,
    );
    const operator = await connectAs('operator');
    await operator.subscribeAsync(`${NORTH}cmdres/#`, { qos: 1 });
    await operator.publishAsync(`${NORTH}cmd/ping`, JSON.stringify({ id: '1' }), { qos: 1 });
    await until(
      () =>
        received.some(({ topic, payload }) => topic === `${NORTH}cmdres/ping` && payload.includes('pong')),
      'pong',
    );
    const topics = new Set(received.map(({ topic }) => topic.slice(NORTH.length)));
    for (const topic of [
      'status',
      'info',
      'health',
      'model/state',
      'camera/cam/state',
      'camera/cam/observation',
    ])
      expect(topics).toContain(topic);
    const refusals = agent.lines.filter(({ msg = '' }) => /refuse/.test(msg));
    expect(refusals).toEqual([]);
    expect(await agent.stop()).toBe(0);
    const forget = (user: 'operator' | 'admin'): Promise<CliResult> => {
      const login = ['--username', user, '--ca', ca];
      const env = { SWELLSIGHT_BROKER_PASSWORD: USERS[user] };
      return runCli(['fleet', 'forget', 'home/north', '--yes', '--broker', broker.url, ...login], { env });
    };
    expect((await forget('operator')).stderr).toContain('log in as a user that may publish');
    expect(await forget('admin')).toMatchObject({ code: 0 });
    expect((await forget('admin')).stderr).toContain('retains nothing of home/north');
  }, 240_000);

  it('refuses a device that publishes for another device, a command to itself, or any other topic', async () => {
    const received = await recordAll(await connectAs('operator'));
    const south = await connectAs('south');
    for (const topic of ['status', 'camera/cam/observation', 'cmdres/ping', 'cmd/ping', 'event/x'])
      await expectDenied(south, NORTH + topic);
    await expectDenied(south, `${SOUTH}cmd/ping`);
    await expectDenied(south, `${SOUTH}other`);
    await expectDenied(south, 'other/topic');
    await expectDenied(south, 'swellsight/v1/home/south');
    await expectDenied(south, '$SYS/broker/version');
    await south.publishAsync(`${SOUTH}cmdres/ping`, 'own', { qos: 1 });
    await until(() => received.some(({ payload }) => payload.toString() === 'own'), 'its own message');
    expect(received.filter(({ payload }) => payload.toString() === 'x')).toEqual([]);
  });

  it('does not publish a will on a topic of another device', async () => {
    const received = await recordAll(await connectAs('dashboard'));
    const will = { topic: `${NORTH}status`, payload: Buffer.from('forged'), qos: 1 as const, retain: true };
    const south = await connectAs('south', {
      will,
      clientId: 'south-with-a-foreign-will',
      reconnectPeriod: 0,
    });
    south.stream.destroy();
    const other = await connectAs('south');
    await other.publishAsync(`${SOUTH}event/x`, 'after', { qos: 1 });
    await until(() => received.some(({ payload }) => payload.toString() === 'after'), 'the later message');
    await delay(200);
    expect(received.filter(({ payload }) => payload.toString() === 'forged')).toEqual([]);
  });

  it('delivers to a device its own commands only', async () => {
    const south = await connectAs('south');
    const received: string[] = [];
    south.on('message', (topic) => received.push(topic));
    await south
      .subscribeAsync([`${SOUTH}cmd/+`, `${NORTH}#`, 'swellsight/v1/#', '#', `${NORTH}cmd/+`], { qos: 1 })
      .catch(() => undefined);
    const operator = await connectAs('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, 'for north', { qos: 1 });
    await operator.publishAsync(`${SOUTH}cmd/ping`, 'for south', { qos: 1 });
    await until(() => received.length > 0, 'its own command');
    await delay(200);
    expect([...new Set(received)].filter((topic) => !topic.startsWith(SOUTH))).toEqual([]);
  });

  it('lets the dashboard publish nothing, and the operator only commands', async () => {
    const dashboard = await connectAs('dashboard');
    await expectDenied(dashboard, `${NORTH}cmd/restart`);
    await expectDenied(dashboard, `${NORTH}status`);
    const operator = await connectAs('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, '{"id":"2"}', { qos: 1 });
    for (const topic of ['status', 'camera/cam/observation', 'cmdres/ping'])
      await expectDenied(operator, NORTH + topic);
  });

  it('lets Home Assistant, with the rules of the operator, find devices and publish its status', async () => {
    const topic = 'homeassistant/device/swellsight_home_north_0a1b2c3d/config';
    const will = {
      topic: 'homeassistant/status',
      payload: Buffer.from('offline'),
      qos: 1 as const,
      retain: false,
    };
    const homeAssistant = await connectAs('operator', { will, clientId: 'home-assistant' });
    const received: string[] = [];
    homeAssistant.on('message', (from) => received.push(from));
    await homeAssistant.subscribeAsync('homeassistant/#', { qos: 1 });
    await homeAssistant.publishAsync('homeassistant/status', 'online', { qos: 1 });
    await (await connectAs('admin')).publishAsync(topic, '{}', { qos: 1 });
    await until(() => received.includes(topic), 'the discovery message');
    await expectDenied(homeAssistant, topic);
  });

  it('gives the dashboard no command, which may contain a password', async () => {
    const [dashboard, device] = await Promise.all([connectAs('dashboard'), connectAs('north')]);
    const received = await recordAll(dashboard);
    await dashboard.subscribeAsync([`${NORTH}cmd/#`, `${NORTH}cmd/config.set`], { qos: 1 });
    const commands: string[] = [];
    device.on('message', (topic) => commands.push(topic));
    await device.subscribeAsync(`${NORTH}cmd/+`, { qos: 1 });
    const operator = await connectAs('operator');
    for (const name of ['config.set', 'ping'])
      await operator.publishAsync(`${NORTH}cmd/${name}`, 'swordfish', { qos: 1 });
    await until(() => commands.length === 2, 'the commands at the device');
    await device.publishAsync(`${NORTH}cmdres/ping`, 'answer', { qos: 1 });
    await until(() => received.some(({ topic }) => topic === `${NORTH}cmdres/ping`), 'the answer');
    expect(received.filter(({ topic }) => topic.includes('/cmd/'))).toEqual([]);
  });

  it('gives a user that is neither device, dashboard nor operator no message', async () => {
    const guest = await connectAs('guest');
    const received: string[] = [];
    guest.on('message', (topic) => received.push(topic));
    await guest.subscribeAsync(['#', 'swellsight/v1/#', `${NORTH}status`], { qos: 1 }).catch(() => undefined);
    const north = await connectAs('north');
    await north.publishAsync(`${NORTH}status`, 'x', { qos: 1, retain: true });
    await delay(300);
    expect(received).toEqual([]);
    await expectDenied(guest, `${NORTH}cmd/ping`);
  });

  it('refuses clients without a user, with a wrong password or without TLS', async () => {
    const tls = broker.ca === null ? {} : { ca: broker.ca };
    const tryConnect = (url: string, options: IClientOptions): Promise<MqttClient> =>
      connectAsync(
        url,
        { protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 3000, ...tls, ...options },
        false,
      );
    await expect(tryConnect(broker.url, {})).rejects.toMatchObject({ code: 135 });
    await expect(tryConnect(broker.url, { username: 'north', password: 'guess' })).rejects.toMatchObject({
      code: 135,
    });
    await expect(tryConnect(broker.url, { username: '+', password: '' })).rejects.toMatchObject({
      code: 135,
    });
    await expect(
      tryConnect(`mqtt://localhost:${broker.port}`, { username: 'north', password: USERS.north }),
    ).rejects.toThrow();
    await expect(
      tryConnect(broker.url, { ca: [], username: 'north', password: USERS.north }),
    ).rejects.toThrow();
  });

  it('keeps the messages for a disconnected subscriber over a restart', async () => {
    const session: IClientOptions = {
      clientId: 'recorder',
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    };
    const recorder = await connectAs('dashboard', session);
    await recorder.subscribeAsync('swellsight/v1/#', { qos: 1 });
    await recorder.endAsync();
    const north = await connectAs('north');
    for (let n = 0; n < 1500; n += 1) await north.publishAsync(`${NORTH}event/x`, String(n), { qos: 1 });
    await broker.down();
    await broker.up();
    const received: string[] = [];
    const back = await broker.client({
      ...session,
      username: 'dashboard',
      password: USERS.dashboard,
      customHandleAcks: (topic, payload, _packet, done) => {
        if (topic.endsWith('event/x')) received.push(payload.toString());
        done(0);
      },
    });
    clients.push(back);
    await until(() => received.length >= 1500, 'all messages');
    expect(received).toEqual(Array.from({ length: 1500 }, (_, n) => String(n)));
  });
});
