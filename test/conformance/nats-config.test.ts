import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { makeCertificates, until } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';

const USERS = { north: 'n-secret', south: 's-secret', dashboard: 'd-secret', operator: 'o-secret' };
const NORTH = 'swellsight/v1/home/north/';
const SOUTH = 'swellsight/v1/home/south/';

describe('config/nats/cluster-tls.conf', () => {
  const certificates = mkdtempSync(join(tmpdir(), 'swellsight-nats-tls-'));
  const clients: MqttClient[] = [];
  let cluster: NatsCluster;
  let ca: string;
  let url: string;

  beforeAll(async () => {
    ca = makeCertificates(certificates);
    const passwords = Object.entries(USERS).map(([name, word]) => [`${name.toUpperCase()}_PASSWORD`, word]);
    cluster = await NatsCluster.start({
      file: 'cluster-tls.conf',
      env: {
        CERT: join(certificates, 'server.crt'),
        KEY: join(certificates, 'server.key'),
        CA: join(certificates, 'ca.crt'),
        ...Object.fromEntries(passwords),
      },
    });
    url = `mqtts://localhost:${cluster.node(1).ports.mqtt}`;
  }, 240_000);

  afterAll(async () => {
    for (const client of clients) client.end(true);
    await cluster.stop();
    rmSync(certificates, { recursive: true, force: true });
  });

  async function as(name: keyof typeof USERS, options: IClientOptions = {}): Promise<MqttClient> {
    const client = connect(url, {
      protocolVersion: 4,
      clientId: `${name}-${performance.now()}`,
      reconnectPeriod: 0,
      ca,
      username: name,
      password: USERS[name],
      ...options,
    });
    clients.push(client);
    client.on('error', () => undefined);
    await new Promise<void>((resolve) => client.once('connect', () => resolve()));
    return client;
  }

  /** Everything of the base topic that the dashboard gets, from now on. */
  async function listening(filter = 'swellsight/v1/#'): Promise<string[]> {
    const dashboard = await as('dashboard');
    const heard: string[] = [];
    dashboard.on('message', (topic, payload) => heard.push(`${topic} ${payload.toString()}`));
    await dashboard.subscribeAsync(filter, { qos: 1 });
    return heard;
  }

  /** Publishes without waiting for an answer that may never come. */
  const say = (client: MqttClient, topic: string, payload: string, retain = false): void =>
    void client.publish(topic, payload, { qos: 1, retain }, () => undefined);

  it('takes the agent with its own credentials, by TLS', async () => {
    const heard = await listening();
    const secret = join(certificates, 'north-password');
    writeFileSync(secret, `${USERS.north}\n`);
    await using agent = await RunningAgent.start({
      site: 'home',
      device: 'north',
      mqtt: {
        url: cluster.nodes.map(({ ports }) => `mqtts://localhost:${ports.mqtt}`),
        protocolVersion: 4,
        username: 'north',
        password_file: secret,
        ca: join(certificates, 'ca.crt'),
      },
      heartbeat: { intervalS: 1 },
      inference: { providers: ['cpu'], threads: 1 },
      cameras: [{ id: 'cam', kind: 'simulated', schedule: { everyS: 1 }, burst: { frames: 1 } }],
    });
    await until(
      () => heard.some((line) => line.startsWith(`${NORTH}camera/cam/latest `)),
      'a record',
      40_000,
    );
    const operator = await as('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, JSON.stringify({ id: '1' }), { qos: 1 });
    await until(() => heard.some((line) => /cmdres\/ping .*pong/.test(line)), 'pong');
    expect(await agent.stop()).toBe(0);
  }, 240_000);

  it('a device speaks under its own name only; the dashboard says nothing; the operator only commands', async () => {
    const heard = await listening();
    for (const [name, topics] of [
      ['south', [`${NORTH}status`, `${NORTH}cmdres/ping`, `${NORTH}cmd/ping`, `${SOUTH}cmd/ping`]],
      ['dashboard', [`${NORTH}cmd/ping`, `${NORTH}status`]],
      ['operator', [`${NORTH}status`, `${NORTH}cmdres/ping`]],
    ] as const)
      for (const topic of topics) say(await as(name), topic, 'forged');
    say(await as('south'), `${SOUTH}cmdres/ping`, 'own');
    say(await as('operator'), `${SOUTH}cmd/ping`, 'command');
    await until(
      () => heard.includes(`${SOUTH}cmdres/ping own`) && heard.includes(`${SOUTH}cmd/ping command`),
      'what is allowed',
    );
    await delay(500);
    expect(heard.filter((line) => line.includes('forged'))).toEqual([]);
  });

  it('a will for another is not said', async () => {
    const heard = await listening();
    const will = {
      topic: `${NORTH}status`,
      payload: Buffer.from('forged will'),
      qos: 1 as const,
      retain: true,
    };
    const south = await as('south', { will }).catch(() => null);
    south?.stream.destroy();
    say(await as('south'), `${SOUTH}event/x`, 'after');
    await until(() => heard.includes(`${SOUTH}event/x after`), 'what came after');
    await delay(500);
    expect(heard.filter((line) => line.includes('forged'))).toEqual([]);
  });

  it('what a device has no right to say is not kept either', async () => {
    await (await as('north')).publishAsync(`${NORTH}info`, 'honest', { qos: 1, retain: true });
    say(await as('south'), `${NORTH}info`, 'forged', true);
    await delay(500);
    const late = await listening();
    await until(() => late.includes(`${NORTH}info honest`), 'what the device itself said');
    await delay(300);
    expect(late.filter((line) => line.includes('forged'))).toEqual([]);
  });

  it('a device reads its own commands, and nothing of another', async () => {
    const south = await as('south');
    const heard: string[] = [];
    south.on('message', (topic) => heard.push(topic));
    for (const filter of [`${SOUTH}cmd/+`, `${NORTH}cmd/+`, 'swellsight/v1/#', '#'])
      await south.subscribeAsync(filter, { qos: 1 }).catch(() => undefined);
    const operator = await as('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, 'for north', { qos: 1 });
    await operator.publishAsync(`${SOUTH}cmd/ping`, 'for south', { qos: 1 });
    await until(() => heard.length > 0, 'its own command');
    await delay(300);
    expect([...new Set(heard)]).toEqual([`${SOUTH}cmd/ping`]);
  });

  it('a stranger, a wrong password and one without TLS do not come in', async () => {
    const knock = (where: string, options: IClientOptions): Promise<MqttClient> =>
      connectAsync(
        where,
        { protocolVersion: 4, reconnectPeriod: 0, connectTimeout: 3000, ca, ...options },
        false,
      );
    await expect(knock(url, {})).rejects.toThrow();
    await expect(knock(url, { username: 'north', password: 'guess' })).rejects.toThrow();
    const plain = `mqtt://localhost:${cluster.node(1).ports.mqtt}`;
    await expect(knock(plain, { username: 'north', password: USERS.north })).rejects.toThrow();
  });

  it('passwords stand in no file of the example', () => {
    const users = readFileSync(join(import.meta.dirname, '../../config/nats/users.conf'), 'utf8');
    expect([...users.matchAll(/password: (\S+)/g)].map(([, word]) => word?.[0])).toEqual([
      '$',
      '$',
      '$',
      '$',
    ]);
  });
});
