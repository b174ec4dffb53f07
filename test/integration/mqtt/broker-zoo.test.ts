import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { ZooBroker, type ClientPacket, type Quirk } from '../../fixtures/broker-zoo.ts';
import { Device, linkOptions, topics } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { until } from '../../fixtures/mosquitto.ts';
import { NatsCluster } from '../../fixtures/nats.ts';
import { RabbitMq } from '../../fixtures/rabbitmq.ts';
import { imagesOf } from '../../fixtures/sea-camera.ts';
import { draft, NO_FEATURES } from '../../fixtures/store.ts';

// The tests with brokers of the zoo mostly wait for answers that do not come.
vi.setConfig({ maxConcurrency: 6 });
const bed = new LinkTestBed();

const isRetained = (packet: ClientPacket): boolean => packet.cmd === 'publish' && packet.retain;
const isQos1 = (packet: ClientPacket): boolean => packet.cmd === 'publish' && packet.qos === 1;
const subscribes = (packet: ClientPacket, filter: RegExp): boolean =>
  packet.cmd === 'subscribe' && packet.subscriptions.some(({ topic }) => filter.test(topic));
const WILDCARD = /[+#]/;
const hasRetainedWill = (packet: ClientPacket): boolean =>
  packet.cmd === 'connect' && packet.will?.retain === true;
const wantsSession = (packet: ClientPacket): boolean => packet.cmd === 'connect' && packet.clean === false;

/** A quirk for packets that match. */
const when = (
  matches: (packet: ClientPacket) => boolean,
  act: (client: Parameters<NonNullable<Quirk['onPacket']>>[1], packet: ClientPacket) => boolean,
  more: Omit<Quirk, 'onPacket'> = {},
): Quirk => ({ ...more, onPacket: (packet, client) => matches(packet) && act(client, packet) });

/** Acts only on the first `count` matching packets. */
function firstTimes(
  count: number,
  matches: (packet: ClientPacket) => boolean,
): (packet: ClientPacket) => boolean {
  let left = count;
  return (packet) => matches(packet) && left-- > 0;
}

/** Closes connections that are silent for one and a half keep-alives of one second. */
function shortKeepAlive(): Quirk {
  let timer: NodeJS.Timeout | undefined;
  return when(
    () => true,
    (client) => {
      clearTimeout(timer);
      timer = setTimeout(() => client.close(), 1500);
      return false;
    },
    { connack: { serverKeepAlive: 1 } },
  );
}

/** What the link does with a broker. */
interface Outcome {
  /** The version of MQTT, or the reason why the link refuses the broker. */
  readonly connects: string;
  readonly will: 'retained' | 'sent' | '';
  /** How a new subscriber gets the states. */
  readonly states: 'retained' | 'each heartbeat' | '';
  readonly commands: 'yes' | 'no' | '';
  readonly observations: string;
  readonly degraded: string;
}

const GOOD: Outcome = {
  connects: '5',
  will: 'retained',
  states: 'retained',
  commands: 'yes',
  observations: '8 of 8',
  degraded: '',
};
const OLD = { connects: '3.1.1' };
const NO_RETAIN = { will: 'sent', states: 'each heartbeat', degraded: 'broker_limits:retain' } as const;
const NO_WILDCARDS = { degraded: 'broker_limits:wildcards' };
const NO_SESSION = { degraded: 'broker_limits:session_expiry' };
const refused = (connects: string): Outcome => ({
  ...{ connects, will: '', states: '', commands: '', observations: '' },
  degraded: 'link_refused',
});
const QOS_0 = refused('the broker supports QoS 0 only, and records would be lost: the agent needs QoS 1');
const ONLY_4 = { versions: [4] } as const;
const no = { retainsNothing: true } as const;

/** Feature, the broker, and what differs from a broker with all features. */
const ROWS: readonly [string, () => Quirk, Partial<Outcome>][] = [
  ['all features', () => ({}), {}],
  ['3.1.1 only', () => ONLY_4, OLD],
  ['3.1.1 only, closes', () => when((p) => p.cmd === 'connect' && p.protocolVersion === 5, (c) => c.close()), OLD],
  ['no retain: CONNACK 154', () => when(hasRetainedWill, (c) => c.refuse(154), { ...no, connack: { retainAvailable: false } }), NO_RETAIN],
  ['no retain: announced', () => ({ ...no, connack: { retainAvailable: false } }), NO_RETAIN],
  ['no retain: DISCONNECT 154', () => when(isRetained, (c) => c.disconnect(154), no), NO_RETAIN],
  ['no retain: closes at the will', () => when(hasRetainedWill, (c) => c.close(), { ...ONLY_4, ...no }), { ...OLD, ...NO_RETAIN, degraded: 'broker_limits:retain broker_limits:session_expiry' }],
  ['no retain: closes at a message', () => when(isRetained, (c) => c.close(), { ...ONLY_4, ...no }), { ...OLD, ...NO_RETAIN }],
  ['no retain: ignores the flag', () => no, { will: 'sent', states: '' }],
  ['QoS 1 at most', () => ({ connack: { maximumQoS: 1 } }), {}],
  ['QoS 0 only: announced', () => ({ connack: { maximumQoS: 0 } }), QOS_0],
  ['QoS 0 only: CONNACK 155', () => when((p) => p.cmd === 'connect' && (p.will?.qos ?? 0) > 0, (c) => c.refuse(155)), QOS_0],
  ['QoS 0 only: DISCONNECT 155', () => when(isQos1, (c) => c.disconnect(155)), QOS_0],
  ['QoS 0 only: closes', () => when(isQos1, (c) => c.close(), { ...ONLY_4, grants: 0 }), QOS_0],
  ['QoS 0 only: no acknowledgement', () => when(isQos1, () => true, { ...ONLY_4, grants: 0 }), QOS_0],
  ['QoS 0 for subscriptions', () => ({ grants: 0 }), { degraded: 'broker_limits:qos' }],
  ['no session expiry', () => ({ connack: { sessionExpiryInterval: 0 } }), NO_SESSION],
  ['session of an hour', () => ({ connack: { sessionExpiryInterval: 3600 } }), NO_SESSION],
  ['no sessions: closes', () => when(wantsSession, (c) => c.close()), NO_SESSION],
  ['no sessions: CONNACK 131', () => when(wantsSession, (c) => c.refuse(131)), NO_SESSION],
  ['receive maximum 1', () => ({ receiveMaximum: 1 }), { degraded: 'broker_limits:receive_maximum' }],
  ['no wildcards: announced', () => when((p) => subscribes(p, WILDCARD), (c) => c.disconnect(162), { connack: { wildcardSubscriptionAvailable: false } }), NO_WILDCARDS],
  ['no wildcards: DISCONNECT 162', () => when((p) => subscribes(p, WILDCARD), (c) => c.disconnect(162)), NO_WILDCARDS],
  ['no wildcards: SUBACK 162', () => when((p) => subscribes(p, WILDCARD), (c, p) => c.answer(p, 162)), NO_WILDCARDS],
  ['no wildcards: SUBACK 128', () => when((p) => subscribes(p, WILDCARD), (c, p) => c.answer(p, 128), ONLY_4), { ...OLD, ...NO_WILDCARDS }],
  ['no wildcards: closes', () => when((p) => subscribes(p, WILDCARD), (c) => c.close(), ONLY_4), { ...OLD, ...NO_WILDCARDS }],
  ['no identifiers, no shared subscriptions', () => ({ connack: { subscriptionIdentifiersAvailable: false, sharedSubscriptionAvailable: false } }), {}],
  ['packets of 4 KiB', () => when((p) => (p.length ?? 0) > 4096, (c) => c.disconnect(149), { connack: { maximumPacketSize: 4096 } }), { degraded: 'broker_limits:packet_size' }],
  ['packets of 512 bytes', () => ({ connack: { maximumPacketSize: 512 } }), refused('the size limit of the broker is too low for a record')],
  ['keep-alive of 1 s', shortKeepAlive, {}],
  ['topic aliases', () => ({ connack: { topicAliasMaximum: 10 } }), {}],
  ['assigned client id, response information', () => ({ connack: { assignedClientIdentifier: 'other', responseInformation: 'x/' } }), {}],
  ['commands: SUBACK 135', () => when((p) => subscribes(p, /\/cmd\//), (c, p) => c.answer(p, 135)), { commands: 'no', degraded: 'commands_refused' }],
  ['only cmd/ping: SUBACK 135', () => when((p) => subscribes(p, /\/cmd\/(?!ping)/), (c, p) => c.answer(p, 135)), { degraded: 'commands_refused' }],
  ['quota of subscriptions: SUBACK 151', () => when(firstTimes(1, (p) => subscribes(p, WILDCARD)), (c, p) => c.answer(p, 151)), {}],
  ['quota of messages: PUBACK 151', () => when(firstTimes(3, (p) => p.cmd === 'publish' && p.topic.endsWith('observation')), (c, p) => c.answer(p, 151)), {}],
  ['a camera: PUBACK 135', () => when((p) => p.cmd === 'publish' && /south\/(observation|backfill)/.test(p.topic), (c, p) => c.answer(p, 135)), { observations: '4 of 8, 4 rejected' }],
  ['subscription to status: closes', () => when((p) => subscribes(p, /status$/), (c) => c.close(), ONLY_4), { ...OLD, ...NO_WILDCARDS }],
  ['all subscriptions: closes', () => when((p) => p.cmd === 'subscribe', (c) => c.close(), ONLY_4), { ...OLD, commands: 'no', degraded: 'commands_refused broker_limits:wildcards' }],
]; // prettier-ignore

const table: string[][] = [];

afterAll(() => {
  const head = ['feature', 'connects with', 'will', 'states', 'commands', 'observations', 'degraded'];
  const rows = [head, ...table];
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  process.stdout.write(`\n${lines.join('\n')}\n\n`);
});

function append(device: Device, count: number): void {
  for (let n = 0; n < count; n += 1)
    device.store.append(draft({ camera: n % 2 === 0 ? 'north' : 'south' }), NO_FEATURES);
}

const drained = (device: Device): Promise<true> =>
  until(() => device.store.outbox.stats().depth === 0, 'an empty outbox');

/** The numbers of each camera that arrived, without repetitions. */
function arrived({ messages }: ZooBroker): Map<string, Set<number>> {
  const numbers = new Map<string, Set<number>>([
    ['north', new Set()],
    ['south', new Set()],
  ]);
  for (const { topic, payload } of messages) {
    const [, camera = ''] = /camera\/(\w+)\/(observation|backfill)$/.exec(topic) ?? [];
    if (camera !== '') numbers.get(camera)?.add((JSON.parse(payload.toString()) as { seq: number }).seq);
  }
  return numbers;
}

const stateIn = (payload: Buffer): unknown =>
  (JSON.parse(payload.toString()) as Record<string, unknown>)['state'];

/** Runs store, forwarder and link with one broker of the zoo, through a cut connection. */
async function observe(quirk: Quirk): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const zoo = await ZooBroker.start(quirk);
  stack.defer(() => zoo.stop());
  const commands: string[] = [];
  const device = new Device(
    linkOptions(zoo.url, { tuning: { checkEveryMs: 200, ackTimeoutMs: 1000 } }),
    {},
    { onCommand: (name) => commands.push(name) },
  );
  stack.defer(() => device.stop());
  device.link.setState('info', { text: 'x'.repeat(3000) });
  device.link.setState('camera/north/state', { state: 'up' });
  append(device, 4);
  device.start();
  const faults = (): string => (device.link.stats().faults ?? []).join(' ');
  await until(() => device.link.connected || faults().includes('link_refused'), 'the link or its refusal');
  if (!device.link.connected) {
    const event = device.store.events.recent(10).find(({ type }) => type === 'mqtt_refused');
    return { ...refused(event?.message ?? ''), degraded: faults() };
  }
  await drained(device);

  const sendCommand = (): void =>
    zoo.accept({ topic: `${topics.prefix}cmd/ping`, payload: Buffer.from('{"id":"1"}'), retain: false });
  const repeats = setInterval(sendCommand, 300);
  await until(() => commands.length > 0 || faults().includes('commands_refused'), 'a command or its refusal');
  if (faults().includes('commands_refused')) await new Promise((resolve) => setTimeout(resolve, 700));
  clearInterval(repeats);

  const infos = (): number => zoo.messages.filter(({ topic }) => topic.endsWith('/info')).length;
  const infosBefore = infos();
  const isStored = zoo.retained.has(`${topics.prefix}info`);
  device.link.setState('health', { n: 1 }, { expiryS: 90, withOthers: true });
  await until(() => zoo.messages.some(({ topic }) => topic.endsWith('/health')), 'the heartbeat');
  await new Promise((resolve) => setTimeout(resolve, 100));
  const states = isStored ? 'retained' : infos() > infosBefore ? 'each heartbeat' : '';

  if (quirk.connack?.serverKeepAlive !== undefined) await new Promise((resolve) => setTimeout(resolve, 4000));
  const { reconnects1h: reconnects, protocolVersion } = device.link.stats();
  const before = zoo.messages.length;
  zoo.cut();
  const will = await until(
    () =>
      zoo.messages.slice(before).find((m) => m.topic === topics.status && stateIn(m.payload) === 'offline'),
    'the will',
  );
  append(device, 4);
  await until(
    () => device.link.stats().reconnects1h > reconnects && device.link.connected,
    'the next connection',
  );
  await drained(device);
  const degraded = faults();

  const numbers = [...arrived(zoo).values()];
  const total = numbers.reduce((sum, { size }) => sum + size, 0);
  // Without a gap: the highest number of each camera is the count.
  for (const one of numbers) expect(Math.max(0, ...one)).toBe(one.size);
  const rejected = device.store.stats.rejected(1).count;
  return {
    connects: protocolVersion === 5 ? '5' : '3.1.1',
    will: will.retain ? 'retained' : 'sent',
    states,
    commands: commands.length > 0 ? 'yes' : 'no',
    observations: `${String(total)} of 8${rejected > 0 ? `, ${String(rejected)} rejected` : ''}`,
    degraded,
  };
}

describe.concurrent('the link and the forwarder with a broker of the zoo', () => {
  it.each(ROWS)('%s', async (name, quirk, difference) => {
    const outcome = await observe(quirk());
    table.push([name, ...(Object.values(outcome) as string[])]);
    expect(outcome).toEqual({ ...GOOD, ...difference });
  });
});

interface Stoppable {
  readonly stop: () => unknown;
}

function stopLater<T extends Stoppable>(broker: T): T {
  bed.defer(() => broker.stop());
  return broker;
}

/** Real brokers: the addresses, and what differs from a broker with all features. */
const REAL: readonly [string, () => Promise<readonly string[]>, Partial<Outcome>][] = [
  ['mosquitto', async () => [(await bed.broker()).url], {}],
  ['mosquitto, retain_available false', async () => [(await bed.broker({ lines: ['retain_available false'] })).url], NO_RETAIN],
  ['mosquitto, max_qos 0', async () => [(await bed.broker({ lines: ['max_qos 0'] })).url], QOS_0],
  ['mosquitto, max_packet_size 8192', async () => [(await bed.broker({ lines: ['max_packet_size 8192'] })).url], { degraded: 'broker_limits:packet_size' }],
  ['mosquitto, max_keepalive 10', async () => [(await bed.broker({ lines: ['max_keepalive 10'] })).url], {}],
  ['NATS, three nodes', async () => stopLater(await NatsCluster.start()).urls, OLD],
  ['RabbitMQ', async () => [stopLater(await RabbitMq.start()).url], OLD],
]; // prettier-ignore

const DEVICE = 'swellsight/v1/test/dev/';
const HEARTBEAT_S = 2;

async function clientOf(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = connect(url, { protocolVersion: 4, ...options });
  bed.defer(() => client.end(true));
  client.on('error', () => undefined);
  await new Promise((resolve) => client.once('connect', resolve));
  return client;
}

interface Heard {
  readonly topic: string;
  readonly body: Record<string, unknown>;
  readonly retain: boolean;
}

async function listen(url: string, filter: string): Promise<Heard[]> {
  const heard: Heard[] = [];
  const client = await clientOf(url);
  client.on('message', (topic, payload, { retain }) =>
    heard.push({
      topic: topic.slice(DEVICE.length),
      body: JSON.parse(payload.toString()) as Record<string, unknown>,
      retain,
    }),
  );
  await client.subscribeAsync(filter, { qos: 1 });
  return heard;
}

const isLinkCode = (code: string): boolean => /^(link|commands|broker)_/.test(code);

/** Runs the built agent with a real broker, and kills it. */
async function observeAgent(urls: readonly string[]): Promise<Outcome> {
  const [url = ''] = urls;
  const heard = await listen(url, `${DEVICE}#`);
  const agent = await RunningAgent.start({
    mqtt: { url: urls },
    heartbeat: { intervalS: HEARTBEAT_S },
    cameras: [imagesOf('sea')],
  });
  bed.defer(() => agent[Symbol.asyncDispose]());
  const first = await agent.waitFor(
    'connection or refusal',
    ({ msg, code }) => msg === 'connected' || code === 'mqtt_refused',
  );
  if (first.msg !== 'connected') {
    let codes: string[] = [];
    while (!codes.includes('link_refused')) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { degraded } = await agent.json('/health').catch(() => ({ degraded: [] }));
      codes = (degraded as string[]).filter(isLinkCode);
    }
    const degraded = codes.filter((code) => code !== 'link_down').join(' ');
    return { ...refused(String(first.msg)), degraded };
  }
  const sender = await clientOf(url);
  await until(
    () => heard.some(({ topic, body }) => topic === 'status' && body['state'] === 'online'),
    'online',
  );
  await sender.publishAsync(`${DEVICE}cmd/ping`, '{"id":"1"}', { qos: 1 });
  await until(
    () => heard.some(({ topic, body }) => topic === 'cmdres/ping' && body['status'] === 'succeeded'),
    'the answer',
  );
  const numbers = (): number[] =>
    heard
      .filter(({ topic }) => /\/(observation|backfill)$/.test(topic))
      .map(({ body }) => Number(body['seq']));
  await until(() => new Set(numbers()).size >= 3, 'observations', 60_000);
  const late = await listen(url, `${DEVICE}info`);
  await until(() => late.length > 0, 'the state for a new subscriber').catch(() => undefined);
  // One that was made before the connection may come first.
  const health = await until(
    () =>
      heard.findLast(
        ({ topic, body }) => topic === 'health' && !(body['degraded'] as string[]).includes('link_down'),
      ),
    'a heartbeat',
  );
  agent.signal('SIGKILL');
  await until(
    () => heard.some(({ topic, body }) => topic === 'status' && body['state'] === 'offline'),
    'the will',
  );
  const status = await listen(url, `${DEVICE}status`);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const unique = new Set(numbers());
  expect(Math.max(...unique)).toBe(unique.size);
  return {
    connects: first['protocolVersion'] === 5 ? '5' : '3.1.1',
    will: status.some(({ retain, body }) => retain && body['state'] === 'offline') ? 'retained' : 'sent',
    states: late[0]?.retain === true ? 'retained' : late.length > 0 ? 'each heartbeat' : '',
    commands: 'yes',
    observations: 'without gap',
    degraded: (health.body['degraded'] as string[]).filter(isLinkCode).join(' '),
  };
}

describe('the built agent with a real broker', () => {
  it.each(REAL)('%s', async (name, start, difference) => {
    const outcome = await observeAgent(await start());
    table.push([name, ...(Object.values(outcome) as string[])]);
    const expected = { ...GOOD, observations: 'without gap', ...difference };
    expect(outcome).toEqual(expected);
  });
});
