import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { makeCertificates, until } from '../fixtures/mosquitto.ts';
import { NatsCluster } from '../fixtures/nats.ts';
import { imagesOf } from '../fixtures/sea-camera.ts';

const USERS = {
  north: 'n-secret',
  south: 's-secret',
  dashboard: 'd-secret',
  operator: 'o-secret',
  admin: 'a-secret',
};
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

  async function connectAs(name: keyof typeof USERS, options: IClientOptions = {}): Promise<MqttClient> {
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

  /** Records the messages that the dashboard receives from now on, as `topic payload`. */
  async function recordAsDashboard(filter = 'swellsight/v1/#'): Promise<string[]> {
    const dashboard = await connectAs('dashboard');
    const received: string[] = [];
    dashboard.on('message', (topic, payload) => received.push(`${topic} ${payload.toString()}`));
    await dashboard.subscribeAsync(filter, { qos: 1 });
    return received;
  }

  /** Publishes without waiting for an acknowledgement, which may not come. */
  const publish = (client: MqttClient, topic: string, payload: string, retain = false): void =>
    void client.publish(topic, payload, { qos: 1, retain }, () => undefined);

  it('accepts the agent with its credentials over TLS', async () => {
    const received = await recordAsDashboard();
    const passwordFile = join(certificates, 'north-password');
    writeFileSync(passwordFile, `${USERS.north}\n`);
    await using agent = await RunningAgent.start({
      site: 'home',
      device: 'north',
      mqtt: {
        url: cluster.nodes.map(({ ports }) => `mqtts://localhost:${ports.mqtt}`),
        protocolVersion: 4,
        username: 'north',
        password_file: passwordFile,
        ca: join(certificates, 'ca.crt'),
      },
      heartbeat: { intervalS: 1 },
      inference: { providers: ['cpu'], threads: 1 },
      cameras: [imagesOf('cam')],
    });
    await until(
      () => received.some((line) => line.startsWith(`${NORTH}camera/cam/latest `)),
      'a record',
      40_000,
    );
    const operator = await connectAs('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, JSON.stringify({ id: '1' }), { qos: 1 });
    await until(() => received.some((line) => /cmdres\/ping .*pong/.test(line)), 'pong');
    expect(await agent.stop()).toBe(0);
  }, 240_000);

  it('lets a device publish on its own topics only, the dashboard nothing, and the operator only commands', async () => {
    const received = await recordAsDashboard();
    for (const [name, topics] of [
      ['south', [`${NORTH}status`, `${NORTH}cmdres/ping`, `${NORTH}cmd/ping`, `${SOUTH}cmd/ping`]],
      ['dashboard', [`${NORTH}cmd/ping`, `${NORTH}status`]],
      ['operator', [`${NORTH}status`, `${NORTH}cmdres/ping`]],
    ] as const)
      for (const topic of topics) publish(await connectAs(name), topic, 'forged');
    publish(await connectAs('south'), `${SOUTH}cmdres/ping`, 'own');
    publish(await connectAs('operator'), `${SOUTH}cmd/ping`, 'command');
    await until(
      () => received.includes(`${SOUTH}cmdres/ping own`) && received.includes(`${SOUTH}cmd/ping command`),
      'the allowed messages',
    );
    await delay(500);
    expect(received.filter((line) => line.includes('forged'))).toEqual([]);
  });

  it('does not publish a will on a topic of another device', async () => {
    const received = await recordAsDashboard();
    const will = {
      topic: `${NORTH}status`,
      payload: Buffer.from('forged will'),
      qos: 1 as const,
      retain: true,
    };
    const south = await connectAs('south', { will }).catch(() => null);
    south?.stream.destroy();
    publish(await connectAs('south'), `${SOUTH}event/x`, 'after');
    await until(() => received.includes(`${SOUTH}event/x after`), 'the later message');
    await delay(500);
    expect(received.filter((line) => line.includes('forged'))).toEqual([]);
  });

  it('does not retain a message that a device may not publish', async () => {
    await (await connectAs('north')).publishAsync(`${NORTH}info`, 'honest', { qos: 1, retain: true });
    publish(await connectAs('south'), `${NORTH}info`, 'forged', true);
    await delay(500);
    const late = await recordAsDashboard();
    await until(() => late.includes(`${NORTH}info honest`), 'the message of the device itself');
    await delay(300);
    expect(late.filter((line) => line.includes('forged'))).toEqual([]);
  });

  it('delivers to a device its own commands only', async () => {
    const south = await connectAs('south');
    const received: string[] = [];
    south.on('message', (topic) => received.push(topic));
    for (const filter of [`${SOUTH}cmd/+`, `${NORTH}cmd/+`, 'swellsight/v1/#', '#'])
      await south.subscribeAsync(filter, { qos: 1 }).catch(() => undefined);
    const operator = await connectAs('operator');
    await operator.publishAsync(`${NORTH}cmd/ping`, 'for north', { qos: 1 });
    await operator.publishAsync(`${SOUTH}cmd/ping`, 'for south', { qos: 1 });
    await until(() => received.length > 0, 'its own command');
    await delay(300);
    expect([...new Set(received)]).toEqual([`${SOUTH}cmd/ping`]);
  });

  it('refuses clients without a user, with a wrong password or without TLS', async () => {
    const tryConnect = (target: string, options: IClientOptions): Promise<MqttClient> =>
      connectAsync(
        target,
        { protocolVersion: 4, reconnectPeriod: 0, connectTimeout: 3000, ca, ...options },
        false,
      );
    await expect(tryConnect(url, {})).rejects.toThrow();
    await expect(tryConnect(url, { username: 'north', password: 'guess' })).rejects.toThrow();
    const plain = `mqtt://localhost:${cluster.node(1).ports.mqtt}`;
    await expect(tryConnect(plain, { username: 'north', password: USERS.north })).rejects.toThrow();
  });

  it('takes all passwords of the example from environment variables', () => {
    const users = readFileSync(join(import.meta.dirname, '../../config/nats/users.conf'), 'utf8');
    expect([...users.matchAll(/password: (\S+)/g)].map(([, word]) => word?.[0])).toEqual(
      Object.keys(USERS).map(() => '$'),
    );
  });
});
