import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import * as gates from '../../fixtures/fault-gate.ts';
import { brokerWith, FaultGate, levelOf, type Fault } from '../../fixtures/fault-gate.ts';
import { linkOptions, topics, type Device } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { until, type Message, type Mosquitto } from '../../fixtures/mosquitto.ts';
import { draft, NO_FEATURES } from '../../fixtures/store.ts';

// A faulty broker may cost time, but no records: each case ends with all records at the real broker.

const tuning = {
  connectTimeoutMs: 300,
  ackTimeoutMs: 300,
  backoff: { minMs: 20, maxMs: 60, resetAfterMs: 60_000 },
  refusedBackoff: { minMs: 60, maxMs: 120, resetAfterMs: 60_000 },
  busyBackoff: { minMs: 60, maxMs: 120, resetAfterMs: 60_000 },
};

const bed = new LinkTestBed();

let mosquitto: Mosquitto;
let seen: Message[];
beforeEach(async () => {
  mosquitto = await bed.broker();
  seen = await mosquitto.record(`${topics.prefix}#`);
});

async function gateTo(fault: Fault | null): Promise<FaultGate> {
  const gate = await FaultGate.to(mosquitto.port, fault);
  bed.defer(() => gate.stop());
  return gate;
}

function startDevice(gate: FaultGate, over: Parameters<typeof linkOptions>[1] = {}): Device {
  const options = linkOptions(gate.url, { ...over, tuning: { ...tuning, ...over.tuning } });
  return bed.device(options, { backfillPerS: 1000 }).start();
}

function append(running: Device, count: number): void {
  for (let n = 0; n < count; n += 1) running.store.append(draft(), NO_FEATURES);
}

/** The `seq` of each record that arrived, without duplicates. */
const arrived = (): number[] =>
  [
    ...new Set(
      seen
        .filter(({ topic }) => /camera\/north\/(observation|backfill)$/.test(topic))
        .map(({ payload }) => (JSON.parse(payload.toString()) as Observation).seq),
    ),
  ].toSorted((a, b) => a - b);

/** Opens the gate and expects all records at the real broker. */
async function expectDelivered(running: Device, gate: FaultGate, count: number): Promise<void> {
  gate.change(null);
  await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');
  await until(() => arrived().length >= count, 'all records');
  expect(arrived()).toEqual(Array.from({ length: count }, (_, n) => n + 1));
}

const eventTypes = (running: Device): string[] =>
  running.store.events
    .recent(50)
    .map(({ type }) => type)
    .toReversed();

/** Acknowledges everything but records, which must arrive at the real broker. */
const ackAllButRecords = (topic: string): number | null => (/(observation|backfill)$/.test(topic) ? null : 0);

const PUBLISH_OF_200_MB = Buffer.from([0x30, 0x80, 0x84, 0xaf, 0x5f]);

describe('a broker that accepts no connection', () => {
  it.each<[string, Fault]>([
    ['sends nothing', gates.silent],
    ['closes the connection at once', (socket) => void socket.destroy()],
    ['closes the connection on CONNECT', gates.hangsUp],
    ['answers in HTTP', gates.answers('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')],
    ['sends random bytes', (socket) => void socket.once('data', () => socket.write(randomBytes(4096)))],
    ['sends a PUBLISH before CONNACK', gates.answers(Buffer.from([0x30, 4, 0, 1, 0x61, 0x62]))],
    ['announces a packet of 200 MB', gates.answers(PUBLISH_OF_200_MB)],
    ['sends half a CONNACK', gates.answers(Buffer.from([0x20, 3, 0]))],
    ['sends CONNACK twice', gates.answers(Buffer.from([0x20, 3, 0, 0, 0, 0x20, 3, 0, 0, 0]))],
    ['sends CONNACK with invalid properties', gates.answers(Buffer.from([0x20, 5, 0, 0, 2, 0xfe, 0xfe]))],
  ])('%s', async (_what, fault) => {
    const gate = await gateTo(fault);
    const running = startDevice(gate);
    append(running, 5);
    await until(() => gate.connections >= 3, 'three attempts');
    expect(running.link.connected).toBe(false);
    expect(running.store.outbox.stats().depth).toBeGreaterThanOrEqual(5);
    await expectDelivered(running, gate, 5);
  });

  it.each([1, 2, 3, 4, 5])('refuses 3.1.1 with code %d', async (code) => {
    await expectRefusal(code, 4, [2, 4, 5].includes(code) ? ['mqtt_refused'] : []);
  });

  it.each([
    [128, []],
    [129, []],
    [130, []],
    [131, []],
    [132, []],
    [133, ['mqtt_refused']],
    [134, ['mqtt_refused']],
    [135, ['mqtt_refused']],
    [136, []],
    [137, []],
    [138, ['mqtt_refused']],
    [140, ['mqtt_refused']],
    [144, ['mqtt_refused']],
    [149, []],
    [151, []],
    [153, []],
    [154, ['mqtt_refused']],
    [155, ['mqtt_refused']],
    [156, ['mqtt_moved']],
    [157, ['mqtt_moved']],
    [159, []],
  ])('refuses 5 with code %d', async (code, events) => {
    await expectRefusal(code, 5, events);
  });

  async function expectRefusal(code: number, protocolVersion: 4 | 5, events: string[]): Promise<void> {
    const gate = await gateTo(gates.refuses(code));
    const running = startDevice(gate, { protocolVersion });
    append(running, 3);
    await until(() => gate.connections >= 3, 'three attempts');
    expect(gate.firstBytes.map(levelOf)[0]).toBe(protocolVersion);
    // One event for any number of refusals.
    expect(eventTypes(running)).toEqual(events);
    await expectDelivered(running, gate, 3);
    // Retained messages that were refused once are left out for a time, also at a broker that accepts them. The link
    // reports this when its states are acknowledged, which may be after the records arrived.
    if (code === 154) await until(() => running.link.stats().faults?.length === 1, 'the limit of the broker');
    expect(running.link.stats().faults).toEqual(code === 154 ? ['broker_limits:retain'] : []);
  }
});

describe('a broker that accepts the connection and then', () => {
  it('never answers a subscription', async () => {
    const mute: Fault = (socket) =>
      void socket.once('data', () => {
        socket.write(Buffer.from([0x20, 3, 0, 0, 0]));
        socket.resume();
      });
    await expectNothingLost(mute);
  });

  it('never acknowledges', async () => {
    await expectNothingLost(brokerWith({ puback: () => null }));
  });

  it('acknowledges states but no record', async () => {
    const gate = await gateTo(brokerWith({ puback: ackAllButRecords }));
    const running = startDevice(gate, { tuning: { ackTimeoutMs: 200 } });
    append(running, 3);
    await until(() => gate.connections >= 3, 'three connections');
    expect(running.store.outbox.stats().depth).toBe(3);
    await expectDelivered(running, gate, 3);
  });

  it('sends random bytes', async () => {
    await expectNothingLost(
      brokerWith({
        onConnected: (socket) => setTimeout(() => socket.write(randomBytes(4096)), 30),
        puback: ackAllButRecords,
      }),
    );
  });

  it('announces a useless size limit: no record is set aside', async () => {
    const gate = await gateTo(brokerWith({ connack: [0x27, 0, 0, 0, 100] }));
    const running = startDevice(gate);
    append(running, 3);
    await until(() => gate.connections >= 3, 'three attempts');
    expect(eventTypes(running)).toEqual(['mqtt_refused']);
    await expectDelivered(running, gate, 3);
  });

  it('sends a message with QoS 2', async () => {
    const message = Buffer.from([0x34, 6, 0, 1, 0x61, 0, 7, 0]);
    await expectNothingLost(
      brokerWith({ onConnected: (socket) => socket.write(message), puback: ackAllButRecords }),
    );
  });

  it('acknowledges unknown packets, and answers a subscription twice', async () => {
    const noise = [0x40, 2, 0x77, 0x77, 0x90, 4, 0x66, 0x66, 0, 1, 0xd0, 0];
    const gate = await gateTo(brokerWith({ onConnected: (socket) => socket.write(Buffer.from(noise)) }));
    const running = startDevice(gate);
    await until(() => running.link.connected, 'the birth');
    append(running, 3);
    await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');
    expect(gate.connections).toBe(1);
  });

  it('sends a packet that would exhaust the memory: the link disconnects and starts a new session', async () => {
    const flood = brokerWith({
      onConnected: (socket) => {
        socket.write(PUBLISH_OF_200_MB);
        const chunk = Buffer.alloc(65_536);
        const pour = (): void => {
          while (!socket.destroyed && socket.write(chunk));
        };
        socket.on('drain', pour);
        pour();
      },
    });
    const gate = await gateTo(flood);
    const running = startDevice(gate);
    append(running, 3);
    await until(() => gate.firstBytes.length >= 3, 'three attempts');
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(100e6);
    // Bit 1 of the flags after the protocol level is clean start.
    const cleanStart = (hello: Buffer): boolean => ((hello[hello.indexOf('MQTT') + 5] ?? 0) & 2) === 2;
    expect(gate.firstBytes.slice(0, 3).map(cleanStart)).toEqual([false, true, true]);
    expect(eventTypes(running)).toEqual(['mqtt_session_forgotten']);
    await expectDelivered(running, gate, 3);
  });

  it.each([
    ['reports a keep-alive timeout', 141, 60, []],
    ['shuts down', 139, 60, []],
    ['is busy', 137, 120, []],
    ['reports a message rate too high', 150, 120, []],
    ['reports an exceeded quota', 151, 120, []],
    ['disconnects the device by administrative action', 152, 120, ['mqtt_refused']],
    ['no longer authorizes the device', 135, 120, ['mqtt_refused']],
    ['has moved', 157, 120, ['mqtt_moved']],
    ['redirects the device', 156, 120, ['mqtt_moved']],
  ])('%s: waits as long as DISCONNECT %d requires', async (_what, code, longestWaitMs, events) => {
    let lastMs = 0;
    const waits: number[] = [];
    const gate = await gateTo(
      brokerWith({
        onConnected: (socket) => {
          if (lastMs > 0) waits.push(performance.now() - lastMs);
          setTimeout(() => {
            lastMs = performance.now();
            socket.end(Buffer.from([0xe0, 2, code, 0]));
          }, 40);
        },
        puback: ackAllButRecords,
      }),
    );
    const running = startDevice(gate);
    append(running, 3);
    await until(() => waits.length >= 3, 'four connections');
    // At least half of the minimum of its series.
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(longestWaitMs === 60 ? 9 : 29);
    expect(eventTypes(running)).toEqual(events);
    await expectDelivered(running, gate, 3);
  });

  it('redirects to another server: the event names it, and the link does not follow', async () => {
    const to = [...Buffer.from('evil.example:1883')];
    const properties = [0x1c, 0, to.length, ...to];
    const gate = await gateTo(
      brokerWith({
        onConnected: (socket) =>
          setTimeout(
            () =>
              socket.end(Buffer.from([0xe0, properties.length + 2, 157, properties.length, ...properties])),
            40,
          ),
      }),
    );
    const running = startDevice(gate);
    await until(() => gate.connections >= 2, 'another attempt at the same broker');
    const [event] = running.store.events.recent(5);
    expect(event).toMatchObject({ type: 'mqtt_moved', context: { server_reference: 'evil.example:1883' } });
    await expectDelivered(running, gate, 0);
  });

  it.each([5, 4] as const)(
    'refuses the subscription to commands: records are still sent, version %d',
    async (protocolVersion) => {
      const gate = await gateTo(brokerWith({ suback: (filter) => (filter.includes('/cmd/') ? 128 : 1) }));
      const running = startDevice(gate, { protocolVersion });
      await until(() => running.link.connected, 'the birth');
      append(running, 3);
      await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');
      expect(eventTypes(running)).toEqual(['mqtt_subscribe_refused']);
      expect(running.link.stats().faults).toEqual(['commands_refused']);
      gate.cut();
      await until(() => gate.connections === 2 && running.link.connected, 'the second birth');
      expect(eventTypes(running)).toEqual(['mqtt_subscribe_refused']);
      gate.change(null);
      await until(() => running.link.stats().faults?.length === 0, 'the grant');
    },
  );

  it('accepts everything: each birth has the order of the contract', async () => {
    const packets: string[] = [];
    const gate = await gateTo(
      brokerWith({ onPacket: (what) => packets.push(what.replace(topics.prefix, '…/')) }),
    );
    const running = startDevice(gate);
    running.link.setState('camera/north/state', { n: 1 });
    running.link.setState('homeassistant/device/x/config', { n: 2 }, { absolute: true });
    running.link.setState('info', { n: 3 });
    append(running, 1);
    await until(() => packets.at(-1)?.endsWith('backfill') === true, 'the drained outbox');
    // Subscription options in hex: QoS 1 is 1, no local 4, retain as published 8, retain handling 2 is 20.
    const birth = [
      'PUBLISH …/info retained',
      'PUBLISH homeassistant/device/x/config retained',
      'PUBLISH …/camera/north/state retained',
      'PUBLISH …/status retained',
      'SUBSCRIBE …/status 1',
    ];
    const subscriptions = ['SUBSCRIBE …/cmd/+ 2d', 'SUBSCRIBE …/status 1'];
    expect(packets).toEqual([
      ...subscriptions,
      'PUBLISH …/status retained',
      ...birth,
      'PUBLISH …/camera/north/backfill',
    ]);
    packets.length = 0;
    gate.cut();
    await until(() => running.link.connected && gate.connections === 2, 'the second birth');
    append(running, 1);
    await until(() => packets.at(-1)?.endsWith('observation') === true, 'the record');
    expect(packets).toEqual([...subscriptions, ...birth, 'PUBLISH …/camera/north/observation']);
  });

  it('has a receive maximum of 1: the link sends one message at a time', async () => {
    let unacked = 0;
    let maxUnacked = 0;
    const slow: Fault = (socket) => {
      const write = socket.write.bind(socket);
      brokerWith({
        connack: [0x21, 0, 1],
        puback: () => {
          unacked += 1;
          maxUnacked = Math.max(maxUnacked, unacked);
          return 0;
        },
      })(socket);
      // Delay each answer, so that a second message would be counted.
      socket.write = (bytes: Buffer) => {
        setTimeout(() => {
          if (bytes[0] === 0x40) unacked -= 1;
          write(bytes);
        }, 3);
        return true;
      };
    };
    const gate = await gateTo(slow);
    const running = startDevice(gate);
    running.link.setState('info', { n: 1 });
    running.link.setState('health', { n: 1 });
    await until(() => running.link.connected, 'the birth');
    append(running, 40);
    await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');
    expect(maxUnacked).toBe(1);
    expect(gate.connections).toBe(1);
  });

  it('closes the connection over the same state each time: the state is left out, with an event', async () => {
    const poison: Fault = (socket) => {
      brokerWith({
        puback: (topic) => {
          if (topic.endsWith('camera/north/state')) socket.destroy();
          return 0;
        },
      })(socket);
    };
    const gate = await gateTo(poison);
    const running = startDevice(gate);
    running.link.setState('info', { n: 1 });
    running.link.setState('camera/north/state', { n: 2 });
    running.link.setState('health', { n: 3 });
    append(running, 3);
    await until(() => running.link.connected, 'the birth');
    await until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');
    expect(eventTypes(running)).toEqual(['mqtt_state_left_out']);
    running.link.setState('camera/north/state', { n: 4 });
    await delay(200);
    expect(running.link.connected).toBe(true);
  });

  it('refuses a state temporarily: the link publishes it later', async () => {
    let busy = true;
    const answers: number[] = [];
    const gate = await gateTo(
      brokerWith({
        puback: (topic) => {
          if (!topic.endsWith('info')) return 0;
          const answer = busy ? 151 : 0;
          answers.push(answer);
          return answer;
        },
      }),
    );
    const running = startDevice(gate, { tuning: { checkEveryMs: 50 } });
    running.link.setState('info', { n: 1 });
    await until(() => running.link.connected && answers.length >= 2, 'another try');
    busy = false;
    await until(() => answers.includes(0), 'the accepted state');
    await delay(200);
    expect(answers.filter((answer) => answer === 0)).toHaveLength(1);
    expect(gate.connections).toBe(1);
  });

  async function expectNothingLost(fault: Fault): Promise<void> {
    const gate = await gateTo(fault);
    const running = startDevice(gate);
    append(running, 3);
    await until(() => gate.connections >= 3, 'three connections');
    expect(running.store.outbox.stats().depth).toBeGreaterThanOrEqual(3);
    await expectDelivered(running, gate, 3);
  }
});
