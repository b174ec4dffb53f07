import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { contractFault } from '../../fixtures/contract.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { freePort, Mosquitto, until, type Message } from '../../fixtures/mosquitto.ts';
import { Proxy } from '../../fixtures/proxy.ts';
import type { CommandPacket } from '../../../src/mqtt/types.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function broker(options: Parameters<typeof Mosquitto.start>[0] = {}): Promise<Mosquitto> {
  const mosquitto = await Mosquitto.start(options);
  cleanups.push(() => mosquitto.stop());
  return mosquitto;
}

function started(...args: Parameters<typeof startLink>): ReturnType<typeof startLink> {
  const running = startLink(...args);
  cleanups.push(() => running.link.stop());
  return running;
}

const text = (message: Message): Record<string, unknown> =>
  JSON.parse(message.payload.toString()) as Record<string, unknown>;
const states = (messages: readonly Message[]): unknown[] =>
  messages.filter(({ topic }) => topic === topics.status).map((message) => text(message)['state']);

describe('MqttLink on mosquitto', () => {
  it('is born with its states before `online`, and says `stopped` when it leaves', async () => {
    const mosquitto = await broker();
    const seen = await mosquitto.record('swellsight/#');
    const { link, ups } = startLink(linkOptions(mosquitto.url));
    link.setState('health', { n: 1 }, { expiryS: 90 });
    link.setState('info', { n: 2 });
    await until(() => ups.length === 1, 'the birth');
    expect(link.stats()).toMatchObject({
      reconnects1h: 0,
      protocolVersion: 5,
      broker: `127.0.0.1:${mosquitto.port}`,
    });
    expect(link.stats().rttMs).toBeGreaterThan(0);
    link.setState('info', { n: 3 });
    link.setState('health', null);
    await until(() => seen.some((m) => m.topic.endsWith('info') && text(m)['n'] === 3), 'the new state');
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
    await until(() => kept.length >= 2, 'what is retained');
    expect(kept.map((m) => [m.topic.slice(topics.prefix.length), m.retain]).toSorted()).toEqual([
      ['info', true],
      ['status', true],
    ]);
    expect(states(kept)).toEqual(['stopped']);
  });

  it('leaves a will: `offline` with the same session when the process is killed', async () => {
    const mosquitto = await broker();
    const seen = await mosquitto.record(topics.status);
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('../../fixtures/link-process.ts', import.meta.url)), mosquitto.url],
      { stdio: 'ignore' },
    );
    cleanups.push(() => child.kill('SIGKILL'));
    await until(() => states(seen).includes('online'), 'online');
    child.kill('SIGKILL');
    await until(() => states(seen).at(-1) === 'offline', 'the will');
    expect(new Set(seen.map((message) => text(message)['session'])).size).toBe(1);
    expect(seen.map((message) => contractFault(message.topic, message.payload))).toEqual(
      seen.map(() => null),
    );
  });

  it('mends a stale `offline`, also its own late will, and does not argue with `online`', async () => {
    const mosquitto = await broker();
    const seen = await mosquitto.record(topics.status);
    const { ups } = started(linkOptions(mosquitto.url));
    await until(() => ups.length === 1, 'the birth');
    const other = await mosquitto.client();
    const stale = JSON.stringify({ state: 'offline', session: 'session-1', at: '2026-01-01T00:00:00.000Z' });
    await other.publishAsync(topics.status, stale, { qos: 1, retain: true });
    await until(() => states(seen).at(-1) === 'online' && states(seen).includes('offline'), 'the mending');
    expect(states(seen)).toEqual(['starting', 'online', 'offline', 'online']);
  });

  it('speaks TLS with a password, and refuses a broker that it cannot trust', async () => {
    const mosquitto = await broker({ tls: true, users: { dev1: 'right' } });
    const ca = join(mosquitto.dir, 'ca.crt');
    const login = { username: 'dev1', password: 'right' };
    const { ups } = started(linkOptions(mosquitto.url, { ...login, ca }));
    await until(() => ups.length === 1, 'the birth');
    const { events, ups: none } = started(linkOptions(mosquitto.url, { ...login, clientId: 'untrusting' }));
    await until(() => events.length > 0, 'the event');
    expect(events).toMatchObject([{ type: 'mqtt_refused', code: 'mqtt_refused' }]);
    expect(none).toEqual([]);
  });

  it('tells once of a wrong password, retries slowly, and comes back when it is right', async () => {
    const mosquitto = await broker({ users: { dev1: 'right' } });
    const { events, link } = started(
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

  it('waits for a broker that is down at the start, and takes the next address when one is dead', async () => {
    const port = await freePort();
    const dead = await freePort();
    const { ups, link } = started(linkOptions([`mqtt://127.0.0.1:${dead}`, `mqtt://127.0.0.1:${port}`]));
    link.setState('info', { n: 1 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(ups).toEqual([]);
    await expect(link.publish('event/x', '{}', { qos: 1, retain: false })).rejects.toMatchObject({
      code: 'mqtt_unreachable',
    });
    const mosquitto = await broker({ port });
    await until(() => ups.length === 1, 'the birth');
    expect(link.stats().broker).toBe(`127.0.0.1:${port}`);
    await mosquitto.down('SIGKILL');
    await until(() => !link.connected, 'the loss');
    await mosquitto.up();
    await until(() => ups.length === 2, 'the second birth');
    expect(link.stats().reconnects1h).toBe(1);
    const kept = await mosquitto.record('swellsight/#');
    await until(() => kept.length === 2, 'the states of the second birth');
  });

  it('falls back to 3.1.1 where the broker has no 5', async () => {
    const mosquitto = await broker();
    const proxy = await versionFiveRefused(mosquitto.port);
    const { ups, link } = started(linkOptions(proxy));
    await until(() => ups.length === 1, 'the birth');
    expect(link.stats().protocolVersion).toBe(4);
  });

  it('speaks over WebSocket too', async () => {
    const port = await freePort();
    await broker({ lines: [`listener ${port} 127.0.0.1`, 'protocol websockets'] });
    const { ups, link } = started(linkOptions(`ws://127.0.0.1:${port}`));
    await until(() => ups.length === 1, 'the birth');
    await link.publish('event/x', '{}', { qos: 1, retain: false });
  });

  it('tells when the broker says that another client came with its id', async () => {
    const mosquitto = await broker();
    const proxy = await proxied(mosquitto);
    const { ups, events } = started(linkOptions(proxy.url));
    for (const wanted of [1, 2]) {
      await until(() => ups.length === wanted, 'the birth');
      // DISCONNECT with reason 142; this mosquitto only hangs up. Its next words may follow, so that no length is left out.
      proxy.say(Buffer.from([0xe0, 0x02, 142, 0]));
    }
    await until(() => ups.length === 3, 'a third birth');
    await until(() => events.length > 0, 'the event');
    expect(events.map(({ type }) => type)).toEqual(['mqtt_taken_over']);
  });

  it('names a certificate file that is not there', async () => {
    const { events } = started(linkOptions('mqtts://127.0.0.1:1', { ca: '/nowhere/ca.crt' }));
    await until(() => events.length === 1, 'the event');
    expect(events[0]).toMatchObject({
      type: 'mqtt_refused',
      message: 'a certificate, key or password file is unusable',
    });
  });

  it('gives up on a broker that accepts and says nothing, and stops in bounded time', async () => {
    const { url, sockets } = await blackHole();
    const { link, ups } = startLink(linkOptions(url, { tuning: { connectTimeoutMs: 200 } }));
    await until(() => sockets.length >= 2, 'a second attempt');
    expect(ups).toEqual([]);
    const startedMs = performance.now();
    await link.stop();
    expect(performance.now() - startedMs).toBeLessThan(12_000);
    await until(() => sockets.every(({ destroyed }) => destroyed), 'the sockets to be closed');
  });

  it('stops in bounded time when the broker freezes, and leaves the will to speak', async () => {
    const mosquitto = await broker();
    const proxy = await proxied(mosquitto);
    const { link, ups } = startLink(
      linkOptions(proxy.url, { tuning: { stopTimeoutMs: 600, ackTimeoutMs: 30_000 } }),
    );
    await until(() => ups.length === 1, 'the birth');
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

  it('gives up a connection on which nothing is acknowledged', async () => {
    const mosquitto = await broker();
    const proxy = await proxied(mosquitto);
    const { link, ups } = started(linkOptions(proxy.url, { tuning: { ackTimeoutMs: 300 } }));
    await until(() => ups.length === 1, 'the birth');
    proxy.frozen = true;
    await expect(link.publish('event/x', '{}', { qos: 1, retain: false })).rejects.toMatchObject({
      code: 'mqtt_timeout',
    });
    proxy.frozen = false;
    await until(() => ups.length === 2, 'a new connection');
  });

  it('knows the size that the broker allows, and what it may not publish', async () => {
    const mosquitto = await broker({
      lines: ['max_packet_size 4096'],
      users: { dev1: 'p' },
      acl: [
        'user dev1',
        `topic readwrite ${topics.prefix}status`,
        `topic readwrite ${topics.prefix}event/ok`,
      ],
    });
    const { link, ups, events } = started(linkOptions(mosquitto.url, { username: 'dev1', password: 'p' }));
    await until(() => ups.length === 1, 'the birth');
    expect(link.maxPayloadBytes).toBeLessThan(4096);
    await expect(link.publish('event/ok', 'x'.repeat(5000), { qos: 1, retain: false })).rejects.toMatchObject(
      { code: 'mqtt_too_large' },
    );
    await expect(link.publish('event/no', 'x', { qos: 1, retain: false })).rejects.toMatchObject({
      code: 'mqtt_publish_refused',
    });
    await link.publish('event/ok', 'x', { qos: 1, retain: false });
    expect(link.connected).toBe(true);
    expect(events.map(({ type }) => type).filter((type) => type !== 'mqtt_subscribe_refused')).toEqual([]);
  });

  it('never has more unacknowledged messages than the broker takes', async () => {
    const mosquitto = await broker({ lines: ['max_inflight_messages 2'] });
    const proxy = await proxied(mosquitto);
    const { link, ups } = started(linkOptions(proxy.url, { tuning: { ackTimeoutMs: 1000 } }));
    await until(() => ups.length === 1, 'the birth');
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

  it('is born in order again when its own late will waits for it', async () => {
    const mosquitto = await broker();
    const proxy = await proxied(mosquitto);
    const seen = await mosquitto.record(`${topics.prefix}#`);
    const { ups, link } = started(linkOptions(proxy.url));
    link.setState('info', { n: 1 });
    await until(() => ups.length === 1, 'the birth');
    proxy.cut();
    await until(() => ups.length === 2, 'the second birth');
    await link.publish('event/last', '{}', { qos: 1, retain: false });
    await until(() => seen.some(({ topic }) => topic.endsWith('event/last')), 'the last message');
    expect(states(seen)).toEqual(['starting', 'online', 'offline', 'online']);
    const second = seen.slice(seen.findIndex((message) => text(message)['state'] === 'offline') + 1);
    expect(second.map(({ topic }) => topic.slice(topics.prefix.length))).toEqual([
      'info',
      'status',
      'event/last',
    ]);
  });

  it('hands on commands, live ones and those that waited for it, and knows a retained one', async () => {
    const mosquitto = await broker();
    const got: [string, CommandPacket][] = [];
    const onCommand = (name: string, packet: CommandPacket): unknown => got.push([name, packet]);
    const first = startLink(linkOptions(mosquitto.url), { onCommand });
    await until(() => first.ups.length === 1, 'the birth');
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
    const second = started(linkOptions(mosquitto.url, { session: 'session-2' }), { onCommand });
    await until(() => second.ups.length === 1 && got.length === 3, 'the command that waited');
    expect(got[2]![0]).toBe('later');
  });
});

async function proxied(mosquitto: Mosquitto): Promise<Proxy> {
  const proxy = await Proxy.to(mosquitto.port);
  cleanups.push(() => proxy.stop());
  return proxy;
}

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `mqtt://127.0.0.1:${address.port}`;
}

/** Accepts connections and never answers. */
async function blackHole(): Promise<{ url: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.resume();
    sockets.push(socket);
  });
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: await listening(server), sockets };
}

/** A proxy that answers CONNECT of version 5 as a broker of 3.1.1 must, and passes on everything else. */
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
  cleanups.push(() => server.close());
  return listening(server);
}
