import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { contractFault } from '../../fixtures/contract.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { MemoryKeyValue } from '../../fixtures/key-value.ts';
import { freePort, until, type Message } from '../../fixtures/mosquitto.ts';
import { Topics } from '../../../src/mqtt/topics.ts';
import type { CommandPacket } from '../../../src/mqtt/types.ts';

const bed = new LinkTestBed();

const json = (message: Message): Record<string, unknown> =>
  JSON.parse(message.payload.toString()) as Record<string, unknown>;
const states = (messages: readonly Message[]): unknown[] =>
  messages.filter(({ topic }) => topic === topics.status).map((message) => json(message)['state']);

describe('MqttLink on mosquitto', () => {
  it('publishes its states before `online`, and `stopped` when it disconnects', async () => {
    const mosquitto = await bed.broker();
    const seen = await mosquitto.record('swellsight/#');
    const { link, births } = startLink(linkOptions(mosquitto.url));
    link.setState('health', { n: 1 }, { expiryS: 90 });
    link.setState('info', { n: 2 });
    await until(() => births.length === 1, 'the birth');
    expect(link.stats()).toMatchObject({
      reconnects1h: 0,
      protocolVersion: 5,
      broker: `127.0.0.1:${mosquitto.port}`,
    });
    expect(link.stats().rttMs).toBeGreaterThan(0);
    link.setState('info', { n: 3 });
    link.setState('health', null);
    await until(() => seen.some((m) => m.topic.endsWith('info') && json(m)['n'] === 3), 'the new state');
    await link.stop();
    await until(() => states(seen).includes('stopped'), 'stopped');
    const order = seen.map((m) => m.topic.slice(topics.prefix.length));
    expect(order.slice(0, 4)).toEqual(['status', 'info', 'health', 'status']);
    expect(states(seen)).toEqual(['starting', 'online', 'stopped']);
    for (const message of seen.filter(({ topic }) => topic === topics.status))
      expect(contractFault(message.topic, message.payload)).toBeNull();
    const expiry = seen.find((m) => m.topic.endsWith('health'))?.packet.properties?.messageExpiryInterval;
    expect(expiry).toBeGreaterThan(80);
    const kept = await mosquitto.record('swellsight/#');
    await until(() => kept.length >= 2, 'the retained messages');
    expect(kept.map((m) => [m.topic.slice(topics.prefix.length), m.retain]).toSorted()).toEqual([
      ['info', true],
      ['status', true],
    ]);
    expect(states(kept)).toEqual(['stopped']);
  });

  it('clears the topics of a removed camera after a restart, and gives up where its access rules forbid it', async () => {
    const rules = ['pattern readwrite swellsight/v1/test/%u/#', 'user reader', 'topic read #'];
    const mosquitto = await bed.broker({ users: { dev1: 'd', dev2: 'e', reader: 'r' }, acl: rules });
    const seen = await mosquitto.record('swellsight/#', { username: 'reader', password: 'r' });
    const memory = new MemoryKeyValue();
    const remembered = (): unknown =>
      (JSON.parse(memory.get('mqtt.retained') ?? '{}') as Record<string, unknown>)['brokers'];
    /** Runs a link until the broker retains only the states of these cameras, as far as the device knows. */
    const run = async (device: string, password: string, cameras: readonly string[]): Promise<void> => {
      const own = new Topics({ base: 'swellsight/v1', site: 'test', device });
      const login = { username: device, password };
      const { link } = startLink(linkOptions(mosquitto.url, login), { topics: own, memory });
      const names = cameras.map((camera) => `camera/${camera}/state`);
      for (const name of names) link.setState(name, { state: 'up' });
      const expected = { [`127.0.0.1:${mosquitto.port}`]: { [own.prefix]: ['status', ...names] } };
      await until(() => isDeepStrictEqual(remembered(), expected), 'nothing to clear');
      expect(link.stats().reconnects1h).toBe(0);
      await link.stop();
    };
    await run('dev1', 'd', ['a', 'b']);
    await run('dev1', 'd', ['a']);
    const cleared = () => seen.filter(({ payload }) => payload.length === 0).map(({ topic }) => topic);
    await until(() => cleared().length > 0, 'the cleared topic');
    await run('dev2', 'e', ['a']);
    expect(cleared()).toEqual([topics.absolute('camera/b/state')]);
  });

  it('leaves a will, `offline` with the same session, when the process is killed', async () => {
    const mosquitto = await bed.broker();
    const seen = await mosquitto.record(topics.status);
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('../../fixtures/link-process.ts', import.meta.url)), mosquitto.url],
      { stdio: 'ignore' },
    );
    bed.defer(() => child.kill('SIGKILL'));
    await until(() => states(seen).includes('online'), 'online');
    child.kill('SIGKILL');
    await until(() => states(seen).at(-1) === 'offline', 'the will');
    expect(new Set(seen.map((message) => json(message)['session'])).size).toBe(1);
    expect(seen.map((message) => contractFault(message.topic, message.payload))).toEqual(
      seen.map(() => null),
    );
  });

  it('replaces a stale `offline`, even when it is its own late will, but not its own `online`', async () => {
    const mosquitto = await bed.broker();
    const seen = await mosquitto.record(topics.status);
    const { births } = bed.link(linkOptions(mosquitto.url));
    await until(() => births.length === 1, 'the birth');
    const other = await mosquitto.client();
    const stale = JSON.stringify({ state: 'offline', session: 'session-1', at: '2026-01-01T00:00:00.000Z' });
    await other.publishAsync(topics.status, stale, { qos: 1, retain: true });
    await until(
      () => states(seen).at(-1) === 'online' && states(seen).includes('offline'),
      'the replaced status',
    );
    expect(states(seen)).toEqual(['starting', 'online', 'offline', 'online']);
  });

  it('connects with TLS and a password, and refuses a broker with an unknown certificate', async () => {
    const mosquitto = await bed.broker({ tls: true, users: { dev1: 'right' } });
    const ca = join(mosquitto.dir, 'ca.crt');
    const login = { username: 'dev1', password: 'right' };
    const { births } = bed.link(linkOptions(mosquitto.url, { ...login, ca }));
    await until(() => births.length === 1, 'the birth');
    const { events, births: none } = bed.link(
      linkOptions(mosquitto.url, { ...login, clientId: 'untrusting' }),
    );
    await until(() => events.length > 0, 'the event');
    expect(events).toMatchObject([{ type: 'mqtt_refused', code: 'mqtt_refused' }]);
    expect(none).toEqual([]);
  });

  it('raises one event about a wrong password, and retries slowly', async () => {
    const mosquitto = await bed.broker({ users: { dev1: 'right' } });
    const { events, link } = bed.link(
      linkOptions(mosquitto.url, {
        username: 'dev1',
        password: 'wrong',
        tuning: { refusedBackoff: { minMs: 300, maxMs: 400, resetAfterMs: 0 } },
      }),
    );
    await until(() => events.length > 0, 'the event');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(events).toHaveLength(1);
    expect(JSON.stringify(events)).not.toContain('wrong"');
    expect(link.connected).toBe(false);
  });

  it('waits for a broker that is down at the start, and tries the next address after a failure', async () => {
    const port = await freePort();
    const dead = await freePort();
    const { births, link } = bed.link(linkOptions([`mqtt://127.0.0.1:${dead}`, `mqtt://127.0.0.1:${port}`]));
    link.setState('info', { n: 1 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(births).toEqual([]);
    await expect(link.publish('event/x', '{}', { qos: 1, retain: false })).rejects.toMatchObject({
      code: 'mqtt_unreachable',
    });
    const mosquitto = await bed.broker({ port });
    await until(() => births.length === 1, 'the birth');
    expect(link.stats().broker).toBe(`127.0.0.1:${port}`);
    await mosquitto.down('SIGKILL');
    await until(() => !link.connected, 'the loss');
    await mosquitto.up();
    await until(() => births.length === 2, 'the second birth');
    expect(link.stats().reconnects1h).toBe(1);
    const kept = await mosquitto.record('swellsight/#');
    await until(() => kept.length === 2, 'the states of the second birth');
  });

  it('falls back to 3.1.1 when the broker does not support version 5', async () => {
    const mosquitto = await bed.broker();
    const proxy = await versionFiveRefused(mosquitto.port);
    const { births, link } = bed.link(linkOptions(proxy));
    await until(() => births.length === 1, 'the birth');
    expect(link.stats().protocolVersion).toBe(4);
  });

  it('connects over WebSocket', async () => {
    const port = await freePort();
    await bed.broker({ lines: [`listener ${port} 127.0.0.1`, 'protocol websockets'] });
    const { births, link } = bed.link(linkOptions(`ws://127.0.0.1:${port}`));
    await until(() => births.length === 1, 'the birth');
    await link.publish('event/x', '{}', { qos: 1, retain: false });
  });

  it('raises an event when the broker reports another client with the same id', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const { births, events } = bed.link(linkOptions(proxy.url));
    for (const wanted of [1, 2]) {
      await until(() => births.length === wanted, 'the birth');
      // DISCONNECT with reason 142, which this mosquitto does not send. The length is explicit, because a packet of the
      // broker may follow.
      proxy.sendToClients(Buffer.from([0xe0, 0x02, 142, 0]));
    }
    await until(() => births.length === 3, 'a third birth');
    await until(() => events.length > 0, 'the event');
    expect(events.map(({ type }) => type)).toEqual(['mqtt_taken_over']);
  });

  it('raises an event about a missing certificate file', async () => {
    const { events } = bed.link(linkOptions('mqtts://127.0.0.1:1', { ca: '/nowhere/ca.crt' }));
    await until(() => events.length === 1, 'the event');
    expect(events[0]).toMatchObject({
      type: 'mqtt_refused',
      message: 'a certificate, key or password file is unusable',
    });
  });

  it('tries again when a broker accepts the connection but does not answer, and stops in bounded time', async () => {
    const { url, sockets } = await blackHole();
    const { link, births } = startLink(linkOptions(url, { tuning: { connectTimeoutMs: 200 } }));
    await until(() => sockets.length >= 2, 'a second attempt');
    expect(births).toEqual([]);
    const startedMs = performance.now();
    await link.stop();
    expect(performance.now() - startedMs).toBeLessThan(12_000);
    await until(() => sockets.every(({ destroyed }) => destroyed), 'the sockets to be closed');
  });

  it.each([5, 4] as const)(
    'leaves `stopped` when it stops at any moment of its first connect: MQTT %i',
    async (protocolVersion) => {
      const mosquitto = await bed.broker();
      const seen = await mosquitto.record(topics.status);
      for (let waitMs = 0; waitMs < 20; waitMs += 1) {
        const { link } = startLink(linkOptions(mosquitto.url, { protocolVersion }));
        await delay(waitMs);
        await link.stop();
        const kept = await mosquitto.record(topics.status);
        await until(() => kept.length > 0, 'the status');
        expect(states(kept)).toEqual(['stopped']);
      }
      expect(states(seen)).not.toContain('offline');
    },
  );

  it('stops in bounded time when the broker freezes, so that the broker publishes the will', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const { link, births } = startLink(
      linkOptions(proxy.url, { tuning: { stopTimeoutMs: 600, ackTimeoutMs: 30_000 } }),
    );
    await until(() => births.length === 1, 'the birth');
    proxy.frozen = true;
    const pending = link.publish('event/x', '{}', { qos: 1, retain: false });
    const settled = expect(pending).rejects.toMatchObject({ code: 'mqtt_unreachable' });
    const startedMs = performance.now();
    await link.stop();
    await settled;
    expect(performance.now() - startedMs).toBeLessThan(12_000);
    const kept = await mosquitto.record(topics.status);
    await until(() => states(kept).includes('offline'), 'the will');
  });

  it('closes a connection without acknowledgements', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const { link, births } = bed.link(linkOptions(proxy.url, { tuning: { ackTimeoutMs: 300 } }));
    await until(() => births.length === 1, 'the birth');
    proxy.frozen = true;
    await expect(link.publish('event/x', '{}', { qos: 1, retain: false })).rejects.toMatchObject({
      code: 'mqtt_timeout',
    });
    proxy.frozen = false;
    await until(() => births.length === 2, 'a new connection');
  });

  it('rejects a message above the size limit of the broker, and one that the broker forbids', async () => {
    const mosquitto = await bed.broker({
      lines: ['max_packet_size 4096'],
      users: { dev1: 'p' },
      acl: [
        'user dev1',
        `topic readwrite ${topics.prefix}status`,
        `topic readwrite ${topics.prefix}event/ok`,
      ],
    });
    const { link, births, events } = bed.link(
      linkOptions(mosquitto.url, { username: 'dev1', password: 'p' }),
    );
    await until(() => births.length === 1, 'the birth');
    expect(link.maxPayloadBytes).toBeLessThan(4096);
    await expect(link.publish('event/ok', 'x'.repeat(5000), { qos: 1, retain: false })).rejects.toMatchObject(
      { code: 'mqtt_too_large' },
    );
    await expect(link.publish('event/no', 'x', { qos: 1, retain: false })).rejects.toMatchObject({
      code: 'mqtt_publish_refused',
    });
    await link.publish('event/ok', 'x', { qos: 1, retain: false });
    expect(link.connected).toBe(true);
    expect(events.map(({ type }) => type).filter((type) => type !== 'mqtt_subscribe_refused')).toEqual([
      'mqtt_broker_limited',
    ]);
  });

  it('never has more unacknowledged messages than the receive maximum of the broker', async () => {
    const mosquitto = await bed.broker({ lines: ['max_inflight_messages 2'] });
    const proxy = await bed.proxyTo(mosquitto.port);
    const { link, births } = bed.link(linkOptions(proxy.url, { tuning: { ackTimeoutMs: 1000 } }));
    await until(() => births.length === 1, 'the birth');
    const seen = await mosquitto.record(`${topics.prefix}event/+`);
    const publish = (n: number): Promise<void> =>
      link.publish(`event/n${n}`, String(n), { qos: 1, retain: false });
    await Promise.all(Array.from({ length: 40 }, (_, n) => publish(n)));
    await until(() => seen.length === 40, 'all messages');
    expect(seen.map(({ payload }) => Number(String(payload)))).toEqual(
      Array.from({ length: 40 }, (_, n) => n),
    );
    proxy.mute = true;
    const lost = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => publish(100 + n)));
    expect(lost.every(({ status }) => status === 'rejected')).toBe(true);
    expect(seen.slice(40).map(({ payload }) => Number(String(payload)))).toEqual([100, 101]);
  });

  it('publishes the birth in order when the broker has published the will', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const seen = await mosquitto.record(`${topics.prefix}#`);
    const { births, link } = bed.link(linkOptions(proxy.url));
    link.setState('info', { n: 1 });
    await until(() => births.length === 1, 'the birth');
    proxy.cut();
    await until(() => births.length === 2, 'the second birth');
    await link.publish('event/last', '{}', { qos: 1, retain: false });
    await until(() => seen.some(({ topic }) => topic.endsWith('event/last')), 'the last message');
    expect(states(seen)).toEqual(['starting', 'online', 'offline', 'online']);
    const second = seen.slice(seen.findIndex((message) => json(message)['state'] === 'offline') + 1);
    expect(second.map(({ topic }) => topic.slice(topics.prefix.length))).toEqual([
      'info',
      'status',
      'event/last',
    ]);
  });

  it('passes on live commands and queued commands, and marks a retained one', async () => {
    const mosquitto = await bed.broker();
    const got: [string, CommandPacket][] = [];
    const onCommand = (name: string, packet: CommandPacket): unknown => got.push([name, packet]);
    const first = startLink(linkOptions(mosquitto.url), { onCommand });
    await until(() => first.births.length === 1, 'the birth');
    const operator = await mosquitto.client();
    const send = (name: string, retain: boolean): Promise<unknown> =>
      operator.publishAsync(`${topics.prefix}cmd/${name}`, name, {
        qos: 1,
        retain,
        properties: { responseTopic: 'r', correlationData: Buffer.from('c') },
      });
    await send('ping', false);
    await send('kept', true);
    await until(() => got.length === 2, 'two commands');
    expect(got[0]).toMatchObject(['ping', { retain: false, responseTopic: 'r' }]);
    expect(Buffer.from(got[0]![1].correlationData!).toString()).toBe('c');
    expect(got[1]).toMatchObject(['kept', { retain: true }]);
    await first.link.stop();
    await send('later', false);
    const second = bed.link(linkOptions(mosquitto.url, { session: 'session-2' }), { onCommand });
    await until(() => second.births.length === 1 && got.length === 3, 'the command that waited');
    expect(got[2]![0]).toBe('later');
  });
});

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `mqtt://127.0.0.1:${address.port}`;
}

/** A server that accepts connections and never answers. */
async function blackHole(): Promise<{ url: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.resume();
    sockets.push(socket);
  });
  bed.defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: await listening(server), sockets };
}

/** A proxy that refuses CONNECT of version 5 as a 3.1.1 broker must, and passes on everything else. */
async function versionFiveRefused(port: number): Promise<string> {
  const server = createServer((near) => {
    near.on('error', () => undefined);
    near.once('data', (hello) => {
      // Fixed header of 2 bytes, protocol name of 6, then the level. Short packets only.
      const levelAt = hello.indexOf('MQTT') + 4;
      if (hello[levelAt] === 5) {
        near.end(Buffer.from([0x20, 0x02, 0x00, 0x01]));
        return;
      }
      const far = connect(port, '127.0.0.1');
      far.on('error', () => undefined);
      far.write(hello);
      near.pipe(far).pipe(near);
    });
  });
  bed.defer(() => server.close());
  return listening(server);
}
