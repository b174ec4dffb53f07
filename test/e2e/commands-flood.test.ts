import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { contractFault } from '../fixtures/contract.ts';
import { hostileCommand } from '../fixtures/hostile-commands.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const PREFIX = 'swellsight/v1/test/dev/';
/** All that the protocol can say is sent over version 5; version 4 has the same commands and fewer ways to send them. */
const PIECES = { 5: 20, 4: 6 } as const;
const PIECE = 500;

interface Answer {
  readonly id: string | null;
  readonly status: string;
  readonly reason?: string | null;
}

describe.each([5, 4] as const)('a flood of hostile commands, MQTT version %s', (protocolVersion) => {
  let broker: Mosquitto;
  let agent: RunningAgent;
  let sender: MqttClient;
  let seen: Message[];
  let published = 0;

  beforeAll(async () => {
    // The broker keeps them all, so that every one reaches the device.
    broker = await Mosquitto.start({ lines: ['max_queued_messages 0', 'max_queued_bytes 0'] });
    seen = await broker.record(`${PREFIX}#`, { protocolVersion });
    sender = await broker.client({ protocolVersion });
    agent = await RunningAgent.start({
      mqtt: { url: broker.url, protocolVersion },
      heartbeat: { intervalS: 1 },
      // Fails each second, which costs next to nothing: records that must get through.
      cameras: [
        {
          id: 'south',
          kind: 'http',
          url: `http://127.0.0.1:${await freePort()}/x.jpg`,
          schedule: { everyS: 1 },
          timeoutS: 2,
        },
      ],
    });
    await agent.waitFor('connection', (line) => line.msg === 'connected', 60_000);
    await agent.waitFor('model', () => seen.some(({ topic }) => topic.endsWith('/observation')), 60_000);
  }, 240_000);

  afterAll(async () => {
    await agent[Symbol.asyncDispose]();
    await broker.stop();
  });

  const rssMb = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) / 1024;
  const on = (pattern: RegExp, from = 0): Message[] =>
    seen.slice(from).filter(({ topic }) => pattern.test(topic.slice(PREFIX.length)));
  const answers = (from = 0): Answer[] =>
    on(/^cmdres\//, from).map(({ payload }) => JSON.parse(payload.toString()) as Answer);

  /** What a broker lets through: a topic that it would not have is its own to refuse. */
  async function flood(piece: number): Promise<void> {
    const drawn = fc.sample(hostileCommand, { numRuns: PIECE, seed: 100 + piece });
    // Before version 5 a device cannot tell a retained command that comes while it listens.
    const sent = drawn.filter(({ packet }) => protocolVersion === 5 || packet.retain !== true);
    published += sent.length;
    await Promise.all(
      sent.map(({ name, payload, packet }) => {
        const topic = `${PREFIX}cmd/${name.replace(/[^A-Za-z0-9._-]/gu, '_').slice(0, 200) || '_'}`;
        const correlationData = packet.correlationData ? Buffer.from(packet.correlationData) : undefined;
        const properties =
          protocolVersion === 5 && correlationData ? { properties: { correlationData } } : {};
        return sender.publishAsync(topic, Buffer.from(payload), {
          qos: 1,
          retain: packet.retain ?? false,
          ...properties,
        });
      }),
    );
  }

  it('runs nothing, answers what it can, goes on with its records, and stays as small as it was', async () => {
    await flood(0);
    await until(() => answers().length > 100, 'the first answers');
    const before = rssMb();
    published = 0;
    const from = seen.length;
    for (let piece = 1; piece < PIECES[protocolVersion]; piece += 1) await flood(piece);
    // The last in the queue: all before it were dealt with when it is answered.
    const deadline = Date.now() + 60_000;
    const ended = (): boolean =>
      answers(from).some(({ id, status }) => id?.startsWith('end-') === true && status === 'succeeded');
    for (let n = 0; !ended() && Date.now() < deadline; n += 1) {
      sender.publish(`${PREFIX}cmd/ping`, JSON.stringify({ id: `end-${n}` }), { qos: 1 });
      await delay(500);
    }
    expect(ended()).toBe(true);
    const grown = rssMb() - before;
    const told = answers(from).filter(({ id }) => id?.startsWith('end-') !== true);
    expect(told.filter(({ status }) => status !== 'rejected')).toEqual([]);
    expect(told.length).toBeGreaterThan(100);
    const events = on(/^event\//).length;
    const records = on(/^camera\/south\/observation$/, from);
    console.log(
      `version ${protocolVersion}: ${told.length} of ${published} answered, resident memory ${before.toFixed(0)} MB and ${grown.toFixed(1)} MB more, ${events} events, ${records.length} records meanwhile`,
    );
    // Without an answer means with an event that counts.
    if (told.length < published)
      expect(on(/^event\/command_refused$/).map(({ payload }) => payload.toString())).toContainEqual(
        expect.stringContaining('command_unanswered'),
      );
    expect(events).toBeLessThan(20);
    expect(grown).toBeLessThan(30);
    await until(() => on(/^camera\/south\/observation$/, from).length > 0, 'a record');
    const said = seen.filter(({ topic }) => !topic.startsWith(`${PREFIX}cmd/`));
    expect(said.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean)).toEqual([]);
    const lines = agent.lines.filter(({ part }) => part === 'commands').length;
    expect(lines).toBeLessThan(200);
  }, 240_000);
});
