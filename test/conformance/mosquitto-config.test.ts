import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const CONFIG = join(import.meta.dirname, '../../config/mosquitto');
const USERS = {
  north: 'n-secret',
  south: 's-secret',
  dashboard: 'd-secret',
  operator: 'o-secret',
  guest: 'g-secret',
};
const NORTH = 'swellsight/v1/home/north/';
const SOUTH = 'swellsight/v1/home/south/';

/** The very files that people are given, with the paths and the ports of this test. */
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
        mkdirSync(join(dir, 'certs'));
        for (const name of ['server.crt', 'server.key'])
          writeFileSync(join(dir, 'certs', name), readFileSync(join(dir, name)));
        writeFileSync(join(dir, 'acl'), readFileSync(join(CONFIG, 'acl')), { mode: 0o600 });
        mkdirSync(join(dir, 'data'));
        return readFileSync(join(CONFIG, 'mosquitto.conf'), 'utf8')
          .replaceAll('/etc/mosquitto/', `${dir}/`)
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

  async function as(name: keyof typeof USERS, options: IClientOptions = {}): Promise<MqttClient> {
    const client = await broker.client({ username: name, password: USERS[name], ...options });
    clients.push(client);
    return client;
  }

  /** What someone with every right sees of the base topic, and of one that is nobody's. */
  async function everything(client: MqttClient): Promise<Message[]> {
    const messages: Message[] = [];
    client.on('message', (topic, payload, packet) =>
      messages.push({ topic, payload, retain: packet.retain, packet }),
    );
    await client.subscribeAsync(['swellsight/#', 'other/#'], { qos: 1 });
    return messages;
  }

  const denied = (client: MqttClient, topic: string): Promise<unknown> =>
    expect(client.publishAsync(topic, 'x', { qos: 1 }), topic).rejects.toMatchObject({ code: 135 });

  it('takes the agent with its own credentials, by TLS: all of its topics, no refusal', async () => {
    const heard = await everything(await as('dashboard'));
    const secret = join(broker.dir, 'north-password');
    const ca = join(broker.dir, 'ca-of-test.crt');
    writeFileSync(secret, `${USERS.north}\n`);
    writeFileSync(ca, broker.ca ?? '');
    await using agent = await RunningAgent.start({
      site: 'home',
      device: 'north',
      mqtt: { url: broker.url, username: 'north', password_file: secret, ca },
      heartbeat: { intervalS: 1 },
      inference: { providers: ['cpu'], threads: 1 },
      cameras: [{ id: 'cam', kind: 'simulated', schedule: { everyS: 1 }, burst: { frames: 1 } }],
    });
    await until(() => heard.some(({ topic }) => topic === `${NORTH}camera/cam/latest`), 'a record', 60_000);
    const operator = await as('operator');
    await operator.subscribeAsync(`${NORTH}cmdres/#`, { qos: 1 });
    await operator.publishAsync(`${NORTH}cmd/ping`, JSON.stringify({ id: '1' }), { qos: 1 });
    await until(
      () => heard.some(({ topic, payload }) => topic === `${NORTH}cmdres/ping` && payload.includes('pong')),
      'pong',
    );
    const topics = new Set(heard.map(({ topic }) => topic.slice(NORTH.length)));
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
  }, 240_000);

  it('a device cannot speak for another, command itself, or forge what is nobody’s', async () => {
    const heard = await everything(await as('dashboard'));
    const south = await as('south');
    for (const topic of ['status', 'camera/cam/observation', 'cmdres/ping', 'cmd/ping', 'event/x'])
      await denied(south, NORTH + topic);
    await denied(south, `${SOUTH}cmd/ping`);
    await denied(south, `${SOUTH}other`);
    await denied(south, 'other/topic');
    await denied(south, 'swellsight/v1/home/south');
    await denied(south, '$SYS/broker/version');
    await south.publishAsync(`${SOUTH}cmdres/ping`, 'own', { qos: 1 });
    await until(() => heard.some(({ payload }) => payload.toString() === 'own'), 'its own answer');
    expect(heard.filter(({ payload }) => payload.toString() === 'x')).toEqual([]);
  });

  it('a device’s will cannot speak for another', async () => {
    const heard = await everything(await as('dashboard'));
    const will = { topic: `${NORTH}status`, payload: Buffer.from('forged'), qos: 1 as const, retain: true };
    const south = await as('south', { will, clientId: 'south-with-a-foreign-will', reconnectPeriod: 0 });
    south.stream.destroy();
    const other = await as('south');
    await other.publishAsync(`${SOUTH}event/x`, 'after', { qos: 1 });
    await until(() => heard.some(({ payload }) => payload.toString() === 'after'), 'what came after');
    await delay(200);
    expect(heard.filter(({ payload }) => payload.toString() === 'forged')).toEqual([]);
  });

  it('a device reads its own commands, and nothing of another', async () => {
    const south = await as('south');
    const heard: string[] = [];
    south.on('message', (topic) => heard.push(topic));
    await south
      .subscribeAsync([`${SOUTH}cmd/+`, `${NORTH}#`, 'swellsight/v1/#', '#', `${NORTH}cmd/+`], { qos: 1 })
      .catch(() => undefined);
    const operator = await as('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, 'for north', { qos: 1 });
    await operator.publishAsync(`${SOUTH}cmd/ping`, 'for south', { qos: 1 });
    await until(() => heard.length > 0, 'its own command');
    await delay(200);
    expect([...new Set(heard)].filter((topic) => !topic.startsWith(SOUTH))).toEqual([]);
  });

  it('the dashboard cannot command, nor say anything; the operator can only command', async () => {
    const dashboard = await as('dashboard');
    await denied(dashboard, `${NORTH}cmd/restart`);
    await denied(dashboard, `${NORTH}status`);
    const operator = await as('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, '{"id":"2"}', { qos: 1 });
    for (const topic of ['status', 'camera/cam/observation', 'cmdres/ping'])
      await denied(operator, NORTH + topic);
  });

  it('one who may sign in but is no device of that name gets nothing', async () => {
    const guest = await as('guest');
    const heard: string[] = [];
    guest.on('message', (topic) => heard.push(topic));
    await guest.subscribeAsync(['#', 'swellsight/v1/#', `${NORTH}status`], { qos: 1 }).catch(() => undefined);
    const north = await as('north');
    await north.publishAsync(`${NORTH}status`, 'x', { qos: 1, retain: true });
    await delay(300);
    expect(heard).toEqual([]);
    await denied(guest, `${NORTH}cmd/ping`);
  });

  it('a stranger, a wrong password and one without TLS do not come in', async () => {
    const tls = broker.ca === null ? {} : { ca: broker.ca };
    const knock = (url: string, options: IClientOptions): Promise<MqttClient> =>
      connectAsync(
        url,
        { protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 3000, ...tls, ...options },
        false,
      );
    await expect(knock(broker.url, {})).rejects.toMatchObject({ code: 135 });
    await expect(knock(broker.url, { username: 'north', password: 'guess' })).rejects.toMatchObject({
      code: 135,
    });
    await expect(knock(broker.url, { username: '+', password: '' })).rejects.toMatchObject({ code: 135 });
    await expect(
      knock(`mqtt://localhost:${broker.port}`, { username: 'north', password: USERS.north }),
    ).rejects.toThrow();
    await expect(knock(broker.url, { ca: [], username: 'north', password: USERS.north })).rejects.toThrow();
  });

  it('what a subscriber missed while the broker was restarted is there', async () => {
    const session: IClientOptions = {
      clientId: 'recorder',
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    };
    const recorder = await as('dashboard', session);
    await recorder.subscribeAsync('swellsight/v1/#', { qos: 1 });
    await recorder.endAsync();
    const north = await as('north');
    for (let n = 0; n < 1500; n += 1) await north.publishAsync(`${NORTH}event/x`, String(n), { qos: 1 });
    await broker.down();
    await broker.up();
    const heard: string[] = [];
    const back = await broker.client({
      ...session,
      username: 'dashboard',
      password: USERS.dashboard,
      customHandleAcks: (topic, payload, _packet, done) => {
        if (topic.endsWith('event/x')) heard.push(payload.toString());
        done(0);
      },
    });
    clients.push(back);
    await until(() => heard.length >= 1500, 'all of it');
    expect(heard).toEqual(Array.from({ length: 1500 }, (_, n) => String(n)));
  });
});
