import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { AgentApi } from '../../../src/contract/api.ts';
import { Commands } from '../../../src/mqtt/commands/commands.ts';
import { EmbeddedBroker } from '../../../src/mqtt/embedded.ts';
import { Device, linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { until } from '../../fixtures/mosquitto.ts';
import { silentLog } from '../../fixtures/store.ts';

describe('EmbeddedBroker', () => {
  let broker: EmbeddedBroker;
  let port: number;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    broker = new EmbeddedBroker({ host: '127.0.0.1', port: 0 }, { log: silentLog });
    ({ port } = await broker.start());
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await broker.stop();
    await broker.stop();
  });

  const url = (): string => `mqtt://127.0.0.1:${port}`;

  it('serves the link and the usual command line programs', async () => {
    const { link, births } = startLink(linkOptions(url(), { protocolVersion: 4 }));
    link.setState('info', { n: 1 });
    await until(() => births.length === 1, 'the birth');
    const sub = spawn('mosquitto_sub', ['-p', String(port), '-t', 'swellsight/#', '-v', '-W', '20']);
    let said = '';
    sub.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
    await until(() => said.includes('info {"n":1}') && said.includes('online'), 'what is retained');
    await link.publish('event/x', '{"live":1}', { qos: 1, retain: false });
    await until(() => said.includes('event/x {"live":1}'), 'the live message');
    const pub = spawn('mosquitto_pub', [
      '-p',
      String(port),
      '-t',
      'swellsight/x',
      '-m',
      'from outside',
      '-q',
      '1',
    ]);
    expect(await once(pub, 'exit')).toEqual([0, null]);
    await until(() => said.includes('swellsight/x from outside'), 'the message from outside');
    await link.stop();
    await until(() => said.includes('stopped'), 'stopped');
    sub.kill();
  });

  it('carries commands from mosquitto_pub and their answers to mosquitto_sub', async () => {
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
        api: { capture: (camera: string) => Promise.resolve({ camera }) } as unknown as AgentApi,
      },
    );
    device.start();
    await until(() => device.link.connected, 'the link');
    const sub = spawn('mosquitto_sub', ['-p', String(port), '-t', `${topics.prefix}cmdres/#`, '-v']);
    let said = '';
    sub.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
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
    // The subscription has no sign of its own: the first command is sent until its answer is seen.
    for (let n = 0; !said.includes('"pong":true'); n += 1) {
      if (n > 50) throw new Error('no answer');
      await publish('ping', `{"id": "p${n}"}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await publish('capture', '{"id": "2", "args": {"camera": "north"}}');
    await until(() => said.includes('"result":{"camera":"north"}'), 'the capture');
    await device.link.stop();
    sub.kill();
    await device.stop();
  });

  it('is what a client of version 5 finds out by itself', async () => {
    const { link, births } = startLink(linkOptions(url(), { protocolVersion: 5 }));
    await until(() => births.length === 1, 'the birth');
    expect(link.stats().protocolVersion).toBe(4);
    await link.stop();
  });

  it('says who is in the way when the port is taken', async () => {
    const second = new EmbeddedBroker({ host: '127.0.0.1', port }, { log: silentLog });
    await expect(second.start()).rejects.toMatchObject({ code: 'mqtt_port_taken' });
  });

  it('cuts off a packet that is too large at its header, and nobody else', async () => {
    const client = connect(url(), { reconnectPeriod: 0 });
    await once(client as never, 'connect');
    const socket = connectTcp(port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    const connectPacket = Buffer.from('100f00044d51545404020000000378787800'.slice(0, 34), 'hex');
    socket.write(connectPacket);
    await once(socket, 'data');
    // PUBLISH, remaining length 268,435,455: the most that the protocol knows.
    socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
    await once(socket, 'close');
    expect(client.connected).toBe(true);
    await client.publishAsync('a', Buffer.alloc(1_000_000), { qos: 1 });
    client.end(true);
  });

  it('closes what speaks no MQTT', async () => {
    const socket = connectTcp(port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'close');
  });

  it('keeps nothing for a client that went away', async () => {
    const away = connect(url(), { clientId: 'away', clean: false, reconnectPeriod: 0 });
    await once(away as never, 'connect');
    await away.subscribeAsync('t', { qos: 1 });
    await away.endAsync(true);
    const other = connect(url(), { reconnectPeriod: 0 });
    await once(other as never, 'connect');
    await other.publishAsync('t', 'x', { qos: 1 });
    const back = connect(url(), { clientId: 'away', clean: false, reconnectPeriod: 0 });
    const got: string[] = [];
    back.on('message', (topic) => got.push(topic));
    const [connack] = (await once(back as never, 'connect')) as [{ sessionPresent: boolean }];
    expect(connack.sessionPresent).toBe(false);
    await other.publishAsync('t2', 'x', { qos: 1 });
    expect(got).toEqual([]);
    for (const client of [other, back]) client.end(true);
  });

  it('bounds what it retains: the topic set longest ago goes', async () => {
    const { link, births } = startLink(linkOptions(url(), { protocolVersion: 4 }));
    await until(() => births.length === 1, 'the birth');
    const greedy = connect(url(), { reconnectPeriod: 0 });
    await once(greedy as never, 'connect');
    for (let n = 0; n < 1100; n += 1) greedy.publish(`r/${n}`, 'x', { qos: 0, retain: true });
    await greedy.publishAsync('done', 'x', { qos: 1 });
    const kept: string[] = [];
    const late = connect(url(), { reconnectPeriod: 0 });
    late.on('message', (topic) => kept.push(topic));
    await once(late as never, 'connect');
    await late.subscribeAsync('r/+', { qos: 0 });
    await until(() => kept.includes('r/1099'), 'what is retained');
    expect(kept.length).toBeLessThanOrEqual(1000);
    expect(kept).not.toContain('r/0');
    expect(link.connected).toBe(true);
    for (const client of [greedy, late]) client.end(true);
    await link.stop();
  });

  it('bounds the bytes that it retains', async () => {
    const greedy = connect(url(), { reconnectPeriod: 0 });
    await once(greedy as never, 'connect');
    const megabyte = Buffer.alloc(1_048_576);
    for (let n = 0; n < 20; n += 1) await greedy.publishAsync(`r/${n}`, megabyte, { qos: 1, retain: true });
    const late = connect(url(), { reconnectPeriod: 0 });
    const kept: string[] = [];
    late.on('message', (topic) => kept.push(topic));
    await once(late as never, 'connect');
    await late.subscribeAsync('r/+', { qos: 0 });
    await until(() => kept.includes('r/19'), 'what is retained');
    expect(kept.length).toBeLessThanOrEqual(16);
    expect(kept).not.toContain('r/0');
    for (const client of [greedy, late]) client.end(true);
  });

  it('takes so many subscriptions of one client and no more, also in one packet', async () => {
    const greedy = connect(url(), { reconnectPeriod: 0 });
    await once(greedy as never, 'connect');
    const granted = (count: number, first: number): Promise<number> =>
      new Promise((resolve) => {
        const filters = Array.from({ length: count }, (_, n) => `f/${first + n}`);
        greedy.subscribe(filters, { qos: 0 }, (_error, list, packet) => {
          const codes = packet?.granted ?? list?.map(({ qos }) => qos) ?? [];
          resolve(codes.filter((code) => Number(code) < 128).length);
        });
      });
    expect(await granted(500, 0)).toBe(100);
    expect(await granted(5, 500)).toBe(0);
    await greedy.unsubscribeAsync(['f/0', 'f/1']);
    expect(await granted(5, 600)).toBe(2);
    greedy.end(true);
  });

  it('a subscriber that takes nothing holds publishers up, is cut off, and all goes on', async () => {
    const deaf = connect(url(), { reconnectPeriod: 0 });
    await once(deaf as never, 'connect');
    await deaf.subscribeAsync('flood', { qos: 1 });
    deaf.stream.pause();
    const over = new Promise((resolve) => deaf.stream.once('close', resolve));
    deaf.on('error', () => undefined);
    const sender = connect(url(), { reconnectPeriod: 0 });
    await once(sender as never, 'connect');
    const bytes = Buffer.alloc(20_000);
    const all: Promise<unknown>[] = [];
    for (let n = 0; n < 4000; n += 1) all.push(sender.publishAsync('flood', bytes, { qos: 1 }));
    await Promise.all(all);
    expect(sender.connected).toBe(true);
    deaf.stream.resume();
    await over;
    for (const client of [deaf, sender]) client.end(true);
  }, 240_000);

  it('what waited for a subscriber that is gone goes through without a stack of its own', async () => {
    const deaf = connect(url(), { reconnectPeriod: 0 });
    await once(deaf as never, 'connect');
    await deaf.subscribeAsync('flood', { qos: 1 });
    deaf.on('error', () => undefined);
    deaf.handleMessage = () => undefined;
    const sender = connect(url(), { reconnectPeriod: 0 });
    await once(sender as never, 'connect');
    const bytes = Buffer.alloc(20_000);
    for (let n = 0; n < 5000; n += 1) await sender.publishAsync('flood', bytes, { qos: 1 });
    const thrown: Error[] = [];
    const note = (error: Error): number => thrown.push(error);
    process.on('uncaughtException', note);
    for (const client of [deaf, sender]) client.end(true);
    await broker.stop();
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.off('uncaughtException', note);
    expect(thrown).toEqual([]);
  });
});
