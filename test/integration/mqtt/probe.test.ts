import { writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Aedes, type AedesOptions } from 'aedes';
import { connect, type IClientOptions } from 'mqtt';
import { describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { probeBroker, type ProbeReport } from '../../../src/mqtt/probe.ts';
import { eventually } from '../../fixtures/capture.ts';
import { Topics } from '../../../src/mqtt/topics.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { ZooBroker, type Quirk } from '../../fixtures/broker-zoo.ts';
import { linkOptions, topics } from '../../fixtures/link.ts';
import { freePort, until, type Mosquitto } from '../../fixtures/mosquitto.ts';

// The tests mostly wait for answers that do not come.
vi.setConfig({ maxConcurrency: 8 });
const bed = new LinkTestBed({ areConcurrent: true });
const CLIENT_ID = 'swellsight-test-dev1';
const VERSIONS = [5, 4] as const;
const LOGIN = { username: 'dev1', password: 'secret' };
const USERS = { dev1: 'secret', operator: 'secret' };
const STATUS = 'swellsight/v1/test/dev1/status';

function probe(url: string, mqtt: object = {}, signal = new AbortController().signal): Promise<ProbeReport> {
  const overlay = { site: 'test', device: 'dev1', mqtt: { url, clientId: CLIENT_ID, ...mqtt } };
  const settings = loadSettings({ file: null, env: {}, cwd: '/', overlay });
  return probeBroker({ url, mqtt: settings.mqtt, topics, timeoutMs: 20_000 }, { clock: systemClock }, signal);
}

const statusOf = (state: string, session = 'former'): string =>
  JSON.stringify({ state, session, at: '2026-01-01T00:00:00.000Z' });

/** Retains a status of a former run, and returns all messages on its topic from then on. */
async function retainStatus(
  broker: Mosquitto,
  payload: string,
  login: IClientOptions = {},
): Promise<{ readonly texts: () => string[]; readonly retained: () => Promise<string> }> {
  const writer = await broker.client(login);
  await writer.publishAsync(STATUS, payload, { qos: 1, retain: true });
  const seen = await broker.record(STATUS, login);
  await until(() => seen.length === 1, 'the retained status');
  const retained = async (): Promise<string> => {
    const after = await broker.record(STATUS, login);
    await until(() => after.length > 0, 'the retained status');
    return after[0]!.payload.toString();
  };
  return { texts: () => seen.map((message) => message.payload.toString()), retained };
}

/** Whether the broker has a session of the device. */
async function hasSession({ url }: Mosquitto, protocolVersion: 4 | 5): Promise<boolean> {
  const client = connect(url, { clientId: CLIENT_ID, clean: false, protocolVersion });
  const isPresent = await new Promise<boolean>((resolve) =>
    client.once('connect', ({ sessionPresent }) => resolve(sessionPresent)),
  );
  client.end(true);
  return isPresent;
}

const PASSED = {
  kind: 'connected',
  commandRefusal: null,
  statusRefusal: null,
  publishFailure: null,
} as const;
const ALL_RULES = [
  'pattern readwrite swellsight/v1/+/%u/#',
  'user operator',
  'topic readwrite swellsight/v1/#',
];

describe.concurrent('probeBroker', () => {
  it.each(VERSIONS)(
    'connects with TLS and password as the agent does, and leaves nothing: MQTT %i',
    async (version) => {
      const broker = await bed.broker({ users: USERS, tls: true });
      const ca = join(broker.dir, 'probe-ca.pem');
      writeFileSync(ca, broker.ca ?? '');
      const operator = { username: 'operator', password: 'secret' };
      const seen = await broker.record('#', operator);
      const report = await probe(broker.url, { ca, ...LOGIN, protocolVersion: version });
      expect(report).toEqual({
        ...PASSED,
        protocolVersion: version,
        isStatusDelivered: true,
        waitingCommands: 0,
        lostCommands: 0,
        limits: [],
        isStatusStale: false,
        isIdFromLogin: false,
      });
      expect(seen.map(({ topic, retain }) => [topic, retain])).toEqual([[STATUS, false]]);
      expect(JSON.parse(seen[0]!.payload.toString())).toMatchObject({ state: 'offline' });
    },
  );

  it.each(VERSIONS)(
    'repeats the retained status and does not change it: MQTT %i',
    async (protocolVersion) => {
      const broker = await bed.broker();
      const writer = await broker.client();
      const status = JSON.stringify({ state: 'stopped', session: 's', at: '2026-01-01T00:00:00.000Z' });
      await writer.publishAsync(STATUS, status, { qos: 1, retain: true });
      const seen = await broker.record(STATUS);
      await until(() => seen.length === 1, 'the retained status');
      expect(await probe(broker.url, { protocolVersion })).toMatchObject({ isStatusDelivered: true });
      await until(() => seen.length === 2, 'the same status');
      expect(seen.map(({ payload }) => payload.toString())).toEqual([status, status]);
      const after = await broker.record(STATUS);
      await until(() => after.length === 1, 'the retained status');
      expect(after[0]!.payload.toString()).toBe(status);
    },
  );

  it('distinguishes a wrong password and an unknown certificate from an unreachable broker', async () => {
    const broker = await bed.broker({ users: USERS, tls: true });
    const ca = join(broker.dir, 'probe-ca.pem');
    writeFileSync(ca, broker.ca ?? '');
    const wrong = probe(broker.url, { ...LOGIN, ca, password: 'wrong' });
    await expect(wrong).rejects.toMatchObject({ code: 'mqtt_refused' });
    await expect(probe(broker.url, LOGIN)).rejects.toMatchObject({ code: 'mqtt_refused' });
    const nowhere = `mqtt://127.0.0.1:${String(await freePort())}`;
    await expect(probe(nowhere)).rejects.toMatchObject({ code: 'mqtt_unreachable' });
  });

  it.each<[name: string, version: 4 | 5, acl: readonly string[], expected: object]>([
    ['all', 5, ALL_RULES, { ...PASSED, isStatusDelivered: true }],
    ['all', 4, ALL_RULES, { ...PASSED, isStatusDelivered: true }],
    ['no message on status', 5, ['pattern read #'], { publishFailure: { code: 'mqtt_publish_refused' } }],
    ['no message on status', 4, ['pattern read #'], { publishFailure: null, isStatusDelivered: false }],
    ['no reading of status', 5, ['pattern write #'], { publishFailure: null, isStatusDelivered: false }],
    ['no reading of status', 4, ['pattern write #'], { publishFailure: null, isStatusDelivered: false }],
  ])('finds what the access rules allow: %s, MQTT %i', async (_, protocolVersion, acl, expected) => {
    const broker = await bed.broker({ users: USERS, acl });
    expect(await probe(broker.url, { ...LOGIN, protocolVersion })).toMatchObject(expected);
  });

  it.each([
    ['one connection', { lines: ['max_connections 1'] }],
    ['a prefix of client ids', { lines: [`clientid_prefixes ${CLIENT_ID}`] }],
  ])('connects to a broker with %s', async (_, options) => {
    const broker = await bed.broker(options);
    expect(await probe(broker.url)).toMatchObject({ ...PASSED, isStatusDelivered: true });
  });

  it('reads the topics of its client id where the rules bind them to it', async () => {
    const base = `bound/${CLIENT_ID}`;
    const acl = ['pattern readwrite bound/%c/#'];
    const broker = await bed.broker({ acl });
    const overlay = { mqtt: { url: broker.url, clientId: CLIENT_ID, base } };
    const { mqtt } = loadSettings({ file: null, env: {}, cwd: '/', overlay });
    const own = new Topics({ base, site: 'test', device: 'dev1' });
    const report = await probeBroker(
      { url: broker.url, mqtt, topics: own, timeoutMs: 20_000 },
      { clock: systemClock },
      new AbortController().signal,
    );
    expect(report).toMatchObject({ ...PASSED, isStatusDelivered: true });
  });

  it('reports refused subscriptions of a broker that checks them', async () => {
    const broker = await bed.broker({ refusesSubscriptions: true });
    const refused = expect.stringMatching(/Not authorized|135|128/) as unknown;
    expect(await probe(broker.url)).toMatchObject({ commandRefusal: refused, statusRefusal: refused });
  });

  /** Serves MQTT 3.1.1. Returns the address. */
  async function serveAedes(options: AedesOptions): Promise<string> {
    const aedes = await Aedes.createBroker(options);
    const server = createServer((socket) => aedes.handle(socket));
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    bed.defer(() => new Promise<void>((resolve) => aedes.close(() => server.close(() => resolve()))));
    return `mqtt://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  }

  it('connects to a broker that closes the connection of any other client id', async () => {
    const url = await serveAedes({
      preConnect: ({ conn }, { clientId }, done) =>
        clientId === CLIENT_ID ? done(null, true) : void conn.destroy(),
    });
    expect(await probe(url)).toMatchObject({ ...PASSED, protocolVersion: 4, isStatusDelivered: true });
  });

  it('falls back to MQTT 3.1.1 as the agent does, and reports refused subscriptions there', async () => {
    const url = await serveAedes({
      authorizeSubscribe: (_client, _subscription, done) => done(null, null),
    });
    expect(await probe(url)).toMatchObject({
      protocolVersion: 4,
      commandRefusal: expect.any(String) as unknown,
      statusRefusal: expect.any(String) as unknown,
    });
  });

  it.each([
    [5, 3],
    [4, 3],
    [5, 30],
    [4, 30],
  ] as const)(
    'leaves the queued commands of the agent: MQTT %i, %i commands',
    async (protocolVersion, count) => {
      const broker = await bed.broker();
      const first = bed.link(linkOptions(broker.url, { protocolVersion }));
      await until(() => first.births.length > 0, 'the first connection');
      await first.link.stop();
      const operator = await broker.client();
      const names = Array.from({ length: count }, (_, index) => `ping${String(index)}`);
      for (const name of names)
        await operator.publishAsync(`swellsight/v1/test/dev1/cmd/${name}`, '{}', { qos: 1 });
      for (let round = 0; round < 2; round += 1) {
        const report = await probe(broker.url, { protocolVersion });
        expect(report).toMatchObject(PASSED);
        expect((report as { waitingCommands: number }).waitingCommands).toBeGreaterThan(0);
      }
      const received: string[] = [];
      bed.link(linkOptions(broker.url, { protocolVersion, session: 'session-2' }), {
        onCommand: (name) => received.push(name),
      });
      await eventually('all commands', () => received.length >= count);
      expect([...new Set(received)].sort()).toEqual(names.sort());
    },
  );

  it.each(VERSIONS)(
    'leaves the queued commands where the broker sets the client id from the login: MQTT %i',
    async (protocolVersion) => {
      const broker = await bed.broker({ users: USERS, lines: ['use_username_as_clientid true'] });
      const login = { ...LOGIN, protocolVersion };
      const first = bed.link(linkOptions(broker.url, login));
      await until(() => first.births.length > 0, 'the first connection');
      await first.link.stop();
      const operator = await broker.client({ username: 'operator', password: 'secret' });
      await operator.publishAsync('swellsight/v1/test/dev1/cmd/ping', '{}', { qos: 1 });
      for (let round = 0; round < 2; round += 1)
        expect(await probe(broker.url, login)).toMatchObject({ ...PASSED, isIdFromLogin: true });
      const received: string[] = [];
      bed.link(linkOptions(broker.url, { ...login, session: 'session-2' }), {
        onCommand: (name) => received.push(name),
      });
      await eventually('the command', () => received.includes('ping'));
    },
  );

  it.each(VERSIONS)('removes the session that it had to make: MQTT %i', async (protocolVersion) => {
    const broker = await bed.broker();
    await probe(broker.url, { protocolVersion });
    expect(await hasSession(broker, protocolVersion)).toBe(false);
  });

  it('counts commands that the broker had queued with QoS 0 apart: they are lost', async () => {
    const broker = await bed.broker({ lines: ['queue_qos0_messages true'] });
    const first = bed.link(linkOptions(broker.url));
    await until(() => first.births.length > 0, 'the first connection');
    await first.link.stop();
    const operator = await broker.client();
    for (const qos of [0, 1, 1, 0, 0] as const)
      await operator.publishAsync('swellsight/v1/test/dev1/cmd/ping', '{}', { qos });
    await operator.publishAsync('after', '', { qos: 1 });
    expect(await probe(broker.url)).toMatchObject({ ...PASSED, waitingCommands: 2, lostCommands: 3 });
    expect(await probe(broker.url)).toMatchObject({ ...PASSED, waitingCommands: 2, lostCommands: 0 });
  });

  it.each(VERSIONS)(
    'keeps `stopped` at a broker whose limits make the connection useless: MQTT %i',
    async (protocolVersion) => {
      const broker = await bed.broker({ lines: ['max_packet_size 1400'] });
      const status = await retainStatus(broker, statusOf('stopped'));
      const outcome = await probe(broker.url, { protocolVersion }).catch((thrown: unknown) => thrown);
      // MQTT 3.1.1 has no announcement of the limit.
      if (protocolVersion === 5)
        expect(outcome).toMatchObject({
          code: 'mqtt_refused',
          context: { limit_bytes: 1400 },
          hint: expect.stringContaining('max_packet_size') as unknown,
        });
      else expect(outcome).toMatchObject(PASSED);
      expect(await status.retained()).toBe(statusOf('stopped'));
      expect(status.texts().filter((text) => text.includes('offline'))).toEqual([]);
    },
  );

  it.each<[string, Quirk]>([
    ['QoS 0 only', { connack: { maximumQoS: 0 } }],
    ['no retained messages', { connack: { retainAvailable: false } }],
    ['packets of 512 bytes', { connack: { maximumPacketSize: 512 } }],
  ])('leaves no will message at a broker with %s', async (_, quirk) => {
    const zoo = await ZooBroker.start(quirk);
    bed.defer(() => zoo.stop());
    await probe(zoo.url).catch(() => null);
    await until(() => zoo.connections === 0, 'the end of all connections');
    expect(zoo.retained.size).toBe(0);
    expect(zoo.wills).toBe(0);
  });

  it.each([
    ['reads the status', '-doctor'],
    ['connects as the agent', CLIENT_ID],
  ])('leaves no will message when it is aborted while it %s', async (_, idEnd) => {
    const stop = new AbortController();
    const zoo = await ZooBroker.start({
      onPacket: (packet, client) => {
        if (packet.cmd !== 'connect' || !packet.clientId.endsWith(idEnd)) return false;
        client.will = packet.will ?? null;
        stop.abort(new Error('Ctrl-C'));
        const connack = { cmd: 'connack', sessionPresent: false, reasonCode: 0 } as const;
        setTimeout(() => client.send(connack), 100);
        return true;
      },
    });
    bed.defer(() => zoo.stop());
    await expect(probe(zoo.url, {}, stop.signal)).rejects.toThrow('Ctrl-C');
    await until(() => zoo.connections === 0, 'the end of all connections');
    expect(zoo.wills).toBe(0);
  });

  it.each(VERSIONS)(
    'does not take the retained `online` of an agent that has ended for a running one: MQTT %i',
    async (protocolVersion) => {
      const broker = await bed.broker();
      const status = await retainStatus(broker, statusOf('online'));
      expect(await probe(broker.url, { protocolVersion })).toMatchObject({
        ...PASSED,
        isStatusStale: true,
        isStatusDelivered: true,
      });
      expect(await status.retained()).toBe(statusOf('online'));
    },
    60_000,
  );

  it('connects to a broker without retained messages, and leaves no session there', async () => {
    const broker = await bed.broker({ lines: ['retain_available false'] });
    expect(await probe(broker.url)).toMatchObject({ ...PASSED, limits: ['retain'], isIdFromLogin: false });
    expect(await hasSession(broker, 5)).toBe(false);
  });

  it('does not connect as an agent that it cannot ask', async () => {
    const broker = await bed.broker({
      users: USERS,
      acl: ['pattern read #', 'user operator', 'topic readwrite #'],
    });
    await retainStatus(broker, statusOf('online'), { username: 'operator', password: 'secret' });
    const report = await probe(broker.url, { ...LOGIN, protocolVersion: 4 });
    expect(report).toEqual({ kind: 'identity_in_use', session: 'former' });
  }, 60_000);

  it('does not connect as the agent while that is online, also on another machine', async () => {
    const broker = await bed.broker();
    const running = bed.link(linkOptions(broker.url, { session: 'other-machine' }));
    await until(() => running.births.length > 0, 'the connection');
    expect(await probe(broker.url)).toEqual({ kind: 'identity_in_use', session: 'other-machine' });
    expect(running.link.connected).toBe(true);
    expect(running.link.stats().reconnects1h).toBe(0);
    expect(running.births).toHaveLength(1);
  });
});
