import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect } from 'mqtt';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { AgentApi } from '../../../src/contract/api.ts';
import { Commands } from '../../../src/mqtt/commands/commands.ts';
import { EmbeddedBroker } from '../../../src/mqtt/embedded-broker.ts';
import { Device, linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { until } from '../../fixtures/mosquitto.ts';
import { silentLog } from '../../fixtures/store.ts';

describe('EmbeddedBroker', () => {
  let broker: EmbeddedBroker;
  let port: number;
  const warnings: unknown[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => warnings.push(JSON.parse(line)) });
  const sockets: Socket[] = [];

  beforeEach(async () => {
    broker = new EmbeddedBroker({ host: '127.0.0.1', port: 0 }, { log });
    ({ port } = await broker.start());
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await broker.stop();
    await broker.stop();
  });

  const url = (): string => `mqtt://127.0.0.1:${port}`;

  it('serves the link, mosquitto_sub and mosquitto_pub', async () => {
    const { link, births } = startLink(linkOptions(url(), { protocolVersion: 4 }));
    link.setState('info', { n: 1 });
    await until(() => births.length === 1, 'the birth');
    const sub = spawn('mosquitto_sub', ['-p', String(port), '-t', 'swellsight/#', '-v', '-W', '20']);
    let output = '';
    sub.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
    await until(() => output.includes('info {"n":1}') && output.includes('online'), 'the retained messages');
    await link.publish('event/x', '{"live":1}', { qos: 1, retain: false });
    await until(() => output.includes('event/x {"live":1}'), 'the live message');
    const pub = spawn('mosquitto_pub', [
      '-p',
      String(port),
      '-t',
      'swellsight/x',
      '-m',
      'external',
      '-q',
      '1',
    ]);
    expect(await once(pub, 'exit')).toEqual([0, null]);
    await until(() => output.includes('swellsight/x external'), 'the external message');
    await link.stop();
    await until(() => output.includes('stopped'), 'stopped');
    const { link: connected } = startLink(linkOptions(url(), { protocolVersion: 4 }));
    await until(() => connected.connected, 'a client during the stop');
    await broker.stop();
    expect(warnings).toEqual([]);
    sub.kill();
  });

  it('transports commands from mosquitto_pub and answers to mosquitto_sub', async () => {
    const device = new Device(
      linkOptions(url(), { protocolVersion: 4 }),
      {},
      { onCommand: (name, packet) => commands.receive(name, packet) },
    );
    const commands = new Commands(
      {},
      {
        topics,
        link: device.link,
        clock: systemClock,
        log: silentLog,
        raise: device.store.raise,
        commandLog: device.store.commands,
        api: {
          hasRoomForCapture: () => true,
          capture: (camera: string) => Promise.resolve({ camera }),
        } as unknown as AgentApi,
      },
    );
    device.start();
    await until(() => device.link.connected, 'the link');
    const sub = spawn('mosquitto_sub', ['-p', String(port), '-t', `${topics.prefix}cmdres/#`, '-v']);
    let output = '';
    sub.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
    const publish = async (name: string, message: string, ...more: string[]): Promise<void> => {
      const args = [
        '-p',
        String(port),
        '-q',
        '1',
        '-t',
        `${topics.prefix}cmd/${name}`,
        '-m',
        message,
        ...more,
      ];
      expect(await once(spawn('mosquitto_pub', args), 'exit')).toEqual([0, null]);
    };
    // mosquitto_sub does not report its subscription. Repeat the first command until its answer arrives.
    for (let n = 0; !output.includes('"pong":true'); n += 1) {
      if (n > 50) throw new Error('no answer');
      await publish('ping', `{"id": "p${n}"}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await publish('capture', '{"id": "2", "args": {"camera": "north"}}');
    await until(() => output.includes('"result":{"camera":"north"}'), 'the capture');
    await device.link.stop();
    sub.kill();
    await device.stop();
  });

  it('makes the link fall back from MQTT 5 to 3.1.1', async () => {
    const { link, births } = startLink(linkOptions(url(), { protocolVersion: 5 }));
    await until(() => births.length === 1, 'the birth');
    expect(link.stats().protocolVersion).toBe(4);
    await link.stop();
  });

  it('rejects with mqtt_port_taken when the port is in use', async () => {
    const second = new EmbeddedBroker({ host: '127.0.0.1', port }, { log: silentLog });
    await expect(second.start()).rejects.toMatchObject({ code: 'mqtt_port_taken' });
  });

  it('disconnects the sender of a packet that is too large at its header, and no other client', async () => {
    const client = connect(url(), { reconnectPeriod: 0 });
    await once(client as never, 'connect');
    const socket = connectTcp(port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    const connectPacket = Buffer.from('100f00044d51545404020000000378787800'.slice(0, 34), 'hex');
    socket.write(connectPacket);
    await once(socket, 'data');
    // PUBLISH with remaining length 268,435,455, the maximum of the protocol.
    socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
    await once(socket, 'close');
    expect(client.connected).toBe(true);
    await client.publishAsync('a', Buffer.alloc(1_000_000), { qos: 1 });
    client.end(true);
  });

  it('closes a connection that does not use MQTT', async () => {
    const socket = connectTcp(port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'close');
  });

  it('keeps no session of a disconnected client', async () => {
    const before = connect(url(), { clientId: 'same', clean: false, reconnectPeriod: 0 });
    await once(before as never, 'connect');
    await before.subscribeAsync('t', { qos: 1 });
    await before.endAsync(true);
    const other = connect(url(), { reconnectPeriod: 0 });
    await once(other as never, 'connect');
    await other.publishAsync('t', 'x', { qos: 1 });
    const after = connect(url(), { clientId: 'same', clean: false, reconnectPeriod: 0 });
    const got: string[] = [];
    after.on('message', (topic) => got.push(topic));
    const [connack] = (await once(after as never, 'connect')) as [{ sessionPresent: boolean }];
    expect(connack.sessionPresent).toBe(false);
    await other.publishAsync('t2', 'x', { qos: 1 });
    expect(got).toEqual([]);
    for (const client of [other, after]) client.end(true);
  });

  it('limits the number of retained topics, and clears the oldest one', async () => {
    const { link, births } = startLink(linkOptions(url(), { protocolVersion: 4 }));
    await until(() => births.length === 1, 'the birth');
    const publisher = connect(url(), { reconnectPeriod: 0 });
    await once(publisher as never, 'connect');
    for (let n = 0; n < 1100; n += 1) publisher.publish(`r/${n}`, 'x', { qos: 0, retain: true });
    await publisher.publishAsync('done', 'x', { qos: 1 });
    const retained: string[] = [];
    const late = connect(url(), { reconnectPeriod: 0 });
    late.on('message', (topic) => retained.push(topic));
    await once(late as never, 'connect');
    await late.subscribeAsync('r/+', { qos: 0 });
    await until(() => retained.includes('r/1099'), 'the retained messages');
    expect(retained.length).toBeLessThanOrEqual(1000);
    expect(retained).not.toContain('r/0');
    expect(link.connected).toBe(true);
    for (const client of [publisher, late]) client.end(true);
    await link.stop();
  });

  it('limits the total size of retained messages', async () => {
    const publisher = connect(url(), { reconnectPeriod: 0 });
    await once(publisher as never, 'connect');
    const megabyte = Buffer.alloc(1_048_576);
    for (let n = 0; n < 20; n += 1)
      await publisher.publishAsync(`r/${n}`, megabyte, { qos: 1, retain: true });
    const late = connect(url(), { reconnectPeriod: 0 });
    const retained: string[] = [];
    late.on('message', (topic) => retained.push(topic));
    await once(late as never, 'connect');
    await late.subscribeAsync('r/+', { qos: 0 });
    await until(() => retained.includes('r/19'), 'the retained messages');
    expect(retained.length).toBeLessThanOrEqual(16);
    expect(retained).not.toContain('r/0');
    for (const client of [publisher, late]) client.end(true);
  });

  it('limits the subscriptions of a client, also within one packet', async () => {
    const client = connect(url(), { reconnectPeriod: 0 });
    await once(client as never, 'connect');
    const granted = (count: number, first: number): Promise<number> =>
      new Promise((resolve) => {
        const filters = Array.from({ length: count }, (_, n) => `f/${first + n}`);
        client.subscribe(filters, { qos: 0 }, (_error, list, packet) => {
          const codes = packet?.granted ?? list?.map(({ qos }) => qos) ?? [];
          resolve(codes.filter((code) => Number(code) < 128).length);
        });
      });
    expect(await granted(500, 0)).toBe(100);
    expect(await granted(5, 500)).toBe(0);
    await client.unsubscribeAsync(['f/0', 'f/1']);
    expect(await granted(5, 600)).toBe(2);
    client.end(true);
  });

  it('delays publishers for a subscriber that reads nothing, disconnects it, and then continues', async () => {
    const blocked = connect(url(), { reconnectPeriod: 0 });
    await once(blocked as never, 'connect');
    await blocked.subscribeAsync('flood', { qos: 1 });
    blocked.stream.pause();
    const closed = new Promise((resolve) => blocked.stream.once('close', resolve));
    blocked.on('error', () => undefined);
    const sender = connect(url(), { reconnectPeriod: 0 });
    await once(sender as never, 'connect');
    const bytes = Buffer.alloc(20_000);
    const all: Promise<unknown>[] = [];
    for (let n = 0; n < 4000; n += 1) all.push(sender.publishAsync('flood', bytes, { qos: 1 }));
    await Promise.all(all);
    expect(sender.connected).toBe(true);
    blocked.stream.resume();
    await closed;
    for (const client of [blocked, sender]) client.end(true);
  }, 240_000);

  it('processes the queue of a disconnected subscriber without a stack overflow', async () => {
    const blocked = connect(url(), { reconnectPeriod: 0 });
    await once(blocked as never, 'connect');
    await blocked.subscribeAsync('flood', { qos: 1 });
    blocked.on('error', () => undefined);
    blocked.handleMessage = () => undefined;
    const sender = connect(url(), { reconnectPeriod: 0 });
    await once(sender as never, 'connect');
    const bytes = Buffer.alloc(20_000);
    for (let n = 0; n < 5000; n += 1) await sender.publishAsync('flood', bytes, { qos: 1 });
    const thrown: Error[] = [];
    const record = (error: Error): number => thrown.push(error);
    process.on('uncaughtException', record);
    for (const client of [blocked, sender]) client.end(true);
    await broker.stop();
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.off('uncaughtException', record);
    expect(thrown).toEqual([]);
  });
});
