import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { AgentApi } from '../../../src/contract/api.ts';
import type { Observation } from '../../../src/contract/observation.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { Commands, type CommandsOptions } from '../../../src/mqtt/commands/commands.ts';
import { calibration, CannedAgent } from '../../fixtures/agent-api.ts';
import { contractFault } from '../../fixtures/contract.ts';
import { Device, linkOptions, topics } from '../../fixtures/link.ts';
import { Mosquitto, until, type Message } from '../../fixtures/mosquitto.ts';
import { draft, seaStateDraft, silentLog } from '../../fixtures/store.ts';

interface Reply {
  readonly id: string | null;
  readonly status: string;
  readonly reason?: string | null;
  readonly duplicate?: boolean;
  readonly result?: unknown;
  readonly error?: { readonly code: string };
}

/** The methods of the agent that these commands call. */
class FakeAgent {
  captures = 0;
  readonly labelled: string[] = [];
  /** Captures wait for this. */
  gate: Promise<unknown> = Promise.resolve();

  hasRoom = true;

  readonly api = {
    hasRoomForCapture: () => this.hasRoom,
    info: () => new CannedAgent().info(),
    announce: () => Promise.resolve(),
    capture: async (camera: string, signal: AbortSignal): Promise<Observation> => {
      this.captures += 1;
      await this.gate;
      signal.throwIfAborted();
      if (camera === 'none') throw new AgentError('camera_unknown', 'there is no camera none');
      if (camera === 'bug') throw new TypeError('/secret/path is not a function');
      if (camera === 'big')
        return { ...draft(), warnings: ['w'.repeat(2_000_000)] } as unknown as Observation;
      return { ...draft({ camera }), seq: 1, published_at: null, historical: false };
    },
    measureSeaState: (camera: string, durationS: number | null) => {
      if (durationS === null) throw new AgentError('sea_state_unavailable', 'the camera takes no clips');
      return {
        ...seaStateDraft({ camera, duration_s: durationS }),
        seq: 1,
        published_at: null,
        historical: false,
      };
    },
    addLabel: (label: { observation_id: string }) => {
      this.labelled.push(label.observation_id);
      return calibration;
    },
  } as unknown as AgentApi;
}

describe('Commands on mosquitto', () => {
  let mosquitto: Mosquitto;
  let device: Device;
  let commands: Commands;
  let agent: FakeAgent;
  let operator: MqttClient;
  let answers: Message[];

  beforeEach(async () => {
    mosquitto = await Mosquitto.start();
    agent = new FakeAgent();
    device = new Device(
      linkOptions(mosquitto.url),
      {},
      { onCommand: (name, packet) => commands.receive(name, packet) },
    );
    commands = createCommands({});
    device.start();
    operator = await mosquitto.client();
    answers = await mosquitto.record(`${topics.prefix}cmdres/#`);
    await until(() => device.link.connected, 'the link');
  });
  afterEach(async () => {
    await commands.stop();
    await device.stop();
    await mosquitto.stop();
  });

  function createCommands(options: CommandsOptions): Commands {
    const common = { clock: systemClock, log: silentLog, raise: device.store.raise };
    return new Commands(options, {
      ...common,
      topics,
      link: device.link,
      commandLog: device.store.commands,
      api: agent.api,
    });
  }

  const send = (
    name: string,
    body: unknown,
    options: { retain?: boolean; responseTopic?: string; correlation?: string } = {},
  ): Promise<unknown> => {
    const { responseTopic, correlation } = options;
    return operator.publishAsync(
      `${topics.prefix}cmd/${name}`,
      typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      {
        qos: 1,
        retain: options.retain ?? false,
        properties: {
          ...(responseTopic === undefined ? {} : { responseTopic }),
          ...(correlation === undefined ? {} : { correlationData: Buffer.from(correlation) }),
        },
      },
    );
  };

  const replies = (): Reply[] => answers.map(({ payload }) => JSON.parse(payload.toString()) as Reply);
  const untilAnswers = (count: number): Promise<true> =>
    until(() => answers.length >= count, `${count} answers`);
  const expectContract = (): void =>
    expect(answers.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean)).toEqual([]);
  const raisedCodes = (): string[] => device.store.events.recent(50).map(({ code }) => code);

  it('answers each command with a receipt and a result', async () => {
    await send('ping', { id: 'p1' });
    await untilAnswers(2);
    await send('info', { id: 'i1', args: {} });
    await untilAnswers(4);
    await send('capture', { id: 'c1', args: { camera: 'north' } });
    await untilAnswers(6);
    const observation_id = randomUUID();
    await send('label', { id: 'l1', args: { observation_id, height_m: 1.2 } });
    await untilAnswers(8);
    await send('sea_state', { id: 's1', args: { camera: 'north', durationS: 300 } });
    await untilAnswers(10);
    expect(replies().map(({ id, status }) => `${String(id)} ${status}`)).toEqual(
      ['p1', 'i1', 'c1', 'l1', 's1'].flatMap((id) => [`${id} accepted`, `${id} succeeded`]),
    );
    expect(replies()[1]!.result).toMatchObject({ pong: true, uptime_s: expect.any(Number) });
    expect(replies()[5]!.result).toMatchObject({ camera: 'north', status: 'measured' });
    expect(replies()[7]!.result).toEqual(calibration);
    expect(replies()[9]!.result).toMatchObject({ schema: 'swellsight.sea_state/1', duration_s: 300 });
    expect(agent.labelled).toEqual([observation_id]);
    expect(answers.map(({ topic }) => topic.slice(topics.prefix.length))[5]).toBe('cmdres/capture');
    expectContract();
  });

  it('answers on the response topic only if it is below cmdres', async () => {
    await send('ping', { id: 'a' }, { responseTopic: `${topics.prefix}cmdres/client/1`, correlation: 'c-1' });
    await untilAnswers(2);
    await send('ping', { id: 'b' }, { responseTopic: 'swellsight/v1/other/dev/status' });
    await untilAnswers(4);
    expect(answers.map(({ topic }) => topic.slice(topics.prefix.length))).toEqual([
      'cmdres/client/1',
      'cmdres/client/1',
      'cmdres/ping',
      'cmdres/ping',
    ]);
    expect(answers.map(({ packet }) => packet.properties?.correlationData?.toString())).toEqual([
      'c-1',
      'c-1',
      undefined,
      undefined,
    ]);
  });

  it('sends only the final answer where no receipt is wanted: the mosquitto_rr command of the docs', async () => {
    const docs = readFileSync(join(import.meta.dirname, '../../../docs/mqtt.md'), 'utf8');
    const line = /^mosquitto_rr (?:.*\\\n)*.*$/m.exec(docs)?.[0] ?? '';
    const command = line
      .replaceAll('swellsight/v1/home/pi/', topics.prefix)
      .replace('mosquitto_rr', `mosquitto_rr -p ${mosquitto.port}`);
    const { stdout } = await promisify(execFile)('sh', ['-c', command]);
    expect(JSON.parse(stdout)).toMatchObject({ status: 'succeeded', result: { camera: 'north' } });
    await send('ping', { id: 'p1', receipt: false });
    await untilAnswers(2);
    await send('ping', { id: 'p1', receipt: false });
    await send('ping', { id: 'p2', receipt: false, args: { to: 'x' } });
    await untilAnswers(4);
    expect(replies().map(({ status, duplicate }) => [status, duplicate])).toEqual([
      ['succeeded', undefined],
      ['succeeded', undefined],
      ['succeeded', true],
      ['rejected', undefined],
    ]);
    expectContract();
  });

  it('runs a repeated command once, also after a restart', async () => {
    const body = { id: 'once', args: { camera: 'north' } };
    let open: (value: unknown) => void = () => undefined;
    agent.gate = new Promise((resolve) => (open = resolve));
    await send('capture', body);
    await send('capture', body);
    await untilAnswers(2);
    open(null);
    await untilAnswers(3);
    await send('capture', body);
    await untilAnswers(5);
    expect(replies().map(({ status, duplicate }) => [status, duplicate])).toEqual([
      ['accepted', undefined],
      ['accepted', true],
      ['succeeded', undefined],
      ['accepted', true],
      ['succeeded', true],
    ]);
    expect(replies()[4]!.result).toEqual(replies()[2]!.result);
    await commands.stop();
    commands = createCommands({});
    await send('capture', body);
    await untilAnswers(7);
    expect(replies()[6]).toMatchObject({ status: 'succeeded', duplicate: true });
    expect(agent.captures).toBe(1);
    await send('ping', { id: 'once' });
    await untilAnswers(8);
    expect(replies()[7]).toMatchObject({ status: 'rejected', reason: 'id_used_before' });
    expectContract();
  });

  it('does not run an interrupted command again', async () => {
    device.store.commands.begin('interrupted', 'capture');
    await send('capture', { id: 'interrupted', args: { camera: 'north' } });
    await untilAnswers(2);
    expect(replies()[1]).toMatchObject({
      status: 'failed',
      duplicate: true,
      error: { code: 'command_interrupted' },
    });
    expect(agent.captures).toBe(0);
  });

  it('rejects retained and expired commands, and raises an event', async () => {
    await send('capture', { id: 'r', args: { camera: 'north' } }, { retain: true });
    await send('capture', { id: 'e', args: { camera: 'north' }, expires_at: '2020-01-01T00:00:00.000Z' });
    await send('capture', '', { retain: true });
    await untilAnswers(2);
    expect(replies().map(({ id, status, reason }) => [id, status, reason])).toEqual([
      ['r', 'rejected', 'retained'],
      ['e', 'rejected', 'expired'],
    ]);
    expect(raisedCodes().toSorted()).toEqual(['command_expired', 'command_retained']);
    expect(agent.captures).toBe(0);
    expectContract();
  });

  it('rejects invalid messages with a reason, and does not run them', async () => {
    const invalid: [string, unknown, string | null, RegExp][] = [
      ['ping', 'no json', null, /^malformed/],
      ['ping', '', null, /^malformed/],
      ['ping', Buffer.from([0xff, 0xfe, 0x00]), null, /^malformed/],
      ['ping', [], null, /^malformed/],
      ['ping', {}, null, /^malformed/],
      ['ping', { id: 5 }, null, /^malformed/],
      ['ping', { id: '' }, '', /^malformed/],
      ['ping', { id: 'x'.repeat(129) }, null, /^malformed/],
      ['ping', { id: 'extra', evil: true }, 'extra', /^malformed/],
      ['ping', { id: 'args', args: { a: 1 } }, 'args', /^bad_args/],
      ['ping', { id: 'time', expires_at: 'tomorrow' }, 'time', /^malformed/],
      ['capture', { id: 'nocam' }, 'nocam', /^bad_args.*camera/],
      ['label', { id: 'neg', args: { observation_id: randomUUID(), height_m: -1 } }, 'neg', /^bad_args/],
      ['label', { id: 'uuid', args: { observation_id: '../x', height_m: 1 } }, 'uuid', /^bad_args/],
      ['constructor', { id: 'proto' }, 'proto', /^unknown_command$/],
      ['reboot', { id: 'what' }, 'what', /^unknown_command$/],
      ['ping', `{"id":"deep","args":${'['.repeat(20_000)}`, null, /^malformed/],
      ['ping', JSON.stringify({ id: 'large', args: { x: 'x'.repeat(70_000) } }), null, /^too_large$/],
    ];
    for (const [name, body] of invalid) await send(name, body);
    await untilAnswers(invalid.length);
    expect(replies().map(({ id, status }) => [id, status])).toEqual(
      invalid.map(([, , id]) => [id, 'rejected']),
    );
    replies().forEach(({ reason }, n) => expect(reason).toMatch(invalid[n]![3]));
    expect(agent.captures).toBe(0);
    expectContract();
  });

  it('reports failures by code, without the message of unexpected errors', async () => {
    for (const camera of ['none', 'bug', 'big']) await send('capture', { id: camera, args: { camera } });
    await untilAnswers(6);
    const failed = replies().filter(({ status }) => status === 'failed');
    expect(failed.map(({ id, error }) => [id, error?.code]).toSorted()).toEqual([
      ['big', 'mqtt_too_large'],
      ['bug', 'internal'],
      ['none', 'camera_unknown'],
    ]);
    expect(JSON.stringify(failed)).not.toContain('secret');
    expectContract();
  });

  it('limits running and waiting commands, times out, and runs a ping alongside a capture', async () => {
    await commands.stop();
    commands = createCommands({ concurrency: 2, queueLimit: 2, timeoutMs: { capture: 400 } });
    let open: (value: unknown) => void = () => undefined;
    agent.gate = new Promise((resolve) => (open = resolve));
    const capture = (id: string, expires_at?: string) =>
      send('capture', { id, args: { camera: 'north' }, ...(expires_at === undefined ? {} : { expires_at }) });
    await capture('c1');
    await send('ping', { id: 'p1' });
    await until(() => replies().some(({ id, status }) => id === 'p1' && status === 'succeeded'), 'the ping');
    await capture('c2');
    await capture('c3', new Date(Date.now() + 100).toISOString());
    await send('ping', { id: 'p2' });
    await send('ping', { id: 'p3' });
    await until(() => replies().some(({ id }) => id === 'p3'), 'the rejection');
    expect(replies().find(({ id }) => id === 'p3')).toMatchObject({ status: 'rejected', reason: 'busy' });
    await until(
      () => replies().some(({ id, status }) => id === 'p2' && status === 'succeeded'),
      'the queued ping',
    );
    const outcome = (id: string): Reply | undefined => replies().findLast((reply) => reply.id === id);
    await until(() => outcome('c3')?.status === 'expired', 'the expired command');
    expect(outcome('c1')).toMatchObject({ status: 'failed', error: { code: 'command_timeout' } });
    open(null);
    expectContract();
  });

  it('rejects a capture while the queue of its camera is full, and runs other commands', async () => {
    agent.hasRoom = false;
    await send('capture', { id: 'full', args: { camera: 'north' } });
    await send('ping', { id: 'p' });
    await untilAnswers(3);
    expect(replies()[0]).toMatchObject({ id: 'full', status: 'rejected', reason: 'busy' });
    expect(agent.captures).toBe(0);
    agent.hasRoom = true;
    // A rejected command was never accepted, so its id may be used again.
    await send('capture', { id: 'full', args: { camera: 'north' } });
    await until(
      () => replies().some(({ id, status }) => id === 'full' && status === 'succeeded'),
      'the result',
    );
    expectContract();
  });

  it('delivers an answer after the link is back', async () => {
    let open: (value: unknown) => void = () => undefined;
    agent.gate = new Promise((resolve) => (open = resolve));
    await send('capture', { id: 'c', args: { camera: 'north' } });
    await untilAnswers(1);
    await mosquitto.down('SIGKILL');
    await until(() => !device.link.connected, 'the lost connection');
    open(null);
    await mosquitto.up();
    await until(() => replies().some(({ status }) => status === 'succeeded'), 'the answer', 60_000);
  });

  it('rejects commands when the store is closed', async () => {
    device.store.close();
    await send('ping', { id: 'p' });
    await untilAnswers(1);
    expect(replies()[0]).toMatchObject({ id: 'p', status: 'rejected' });
  });
});
