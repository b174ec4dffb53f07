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
/** Version 5 has all ways to send a command; version 4 has the same commands and needs fewer batches. */
const BATCHES = { 5: 20, 4: 6 } as const;
const BATCH_COMMANDS = 500;

interface Answer {
  readonly id: string | null;
  readonly status: string;
  readonly reason?: string | null;
}

describe.each([5, 4] as const)(
  'Agent under a flood of hostile commands, MQTT version %s',
  (protocolVersion) => {
    let broker: Mosquitto;
    let agent: RunningAgent;
    let sender: MqttClient;
    let messages: Message[];
    let publishedCount = 0;

    beforeAll(async () => {
      // An unlimited queue: every command reaches the device.
      broker = await Mosquitto.start({ lines: ['max_queued_messages 0', 'max_queued_bytes 0'] });
      messages = await broker.record(`${PREFIX}#`, { protocolVersion });
      sender = await broker.client({ protocolVersion });
      agent = await RunningAgent.start({
        mqtt: { url: broker.url, protocolVersion },
        heartbeat: { intervalS: 1 },
        // Fails each second at almost no cost: these records must be delivered during the flood.
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
      await agent.waitFor(
        'model',
        () => messages.some(({ topic }) => topic.endsWith('/observation')),
        60_000,
      );
    }, 240_000);

    afterAll(async () => {
      await agent[Symbol.asyncDispose]();
      await broker.stop();
    });

    const rssMb = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))?.[1]) / 1024;
    const messagesOn = (pattern: RegExp, from = 0): Message[] =>
      messages.slice(from).filter(({ topic }) => pattern.test(topic.slice(PREFIX.length)));
    const answers = (from = 0): Answer[] =>
      messagesOn(/^cmdres\//, from).map(({ payload }) => JSON.parse(payload.toString()) as Answer);

    /** Sends one batch; changes topics that a broker would refuse. */
    async function sendBatch(batch: number): Promise<void> {
      const drawn = fc.sample(hostileCommand, { numRuns: BATCH_COMMANDS, seed: 100 + batch });
      // Before version 5, a subscribed device cannot see that a new command is retained.
      const sent = drawn.filter(({ packet }) => protocolVersion === 5 || packet.retain !== true);
      publishedCount += sent.length;
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

    it('runs no command, answers, delivers records, and does not grow', async () => {
      await sendBatch(0);
      await until(() => answers().length > 100, 'the first answers');
      const beforeMb = rssMb();
      publishedCount = 0;
      const from = messages.length;
      for (let batch = 1; batch < BATCHES[protocolVersion]; batch += 1) await sendBatch(batch);
      // The queue is in order: an answer to the last command means that all others have been handled.
      const deadline = Date.now() + 60_000;
      const isEndAnswered = (): boolean =>
        answers(from).some(({ id, status }) => id?.startsWith('end-') === true && status === 'succeeded');
      for (let n = 0; !isEndAnswered() && Date.now() < deadline; n += 1) {
        sender.publish(`${PREFIX}cmd/ping`, JSON.stringify({ id: `end-${n}` }), { qos: 1 });
        await delay(500);
      }
      expect(isEndAnswered()).toBe(true);
      const grownMb = rssMb() - beforeMb;
      const answered = answers(from).filter(({ id }) => id?.startsWith('end-') !== true);
      expect(answered.filter(({ status }) => status !== 'rejected')).toEqual([]);
      expect(answered.length).toBeGreaterThan(100);
      const eventCount = messagesOn(/^event\//).length;
      const records = messagesOn(/^camera\/south\/observation$/, from);
      console.log(
        `version ${protocolVersion}: ${answered.length} of ${publishedCount} answered, resident memory ${beforeMb.toFixed(0)} MB and ${grownMb.toFixed(1)} MB more, ${eventCount} events, ${records.length} records meanwhile`,
      );
      // An event counts the commands that got no answer.
      if (answered.length < publishedCount)
        expect(
          messagesOn(/^event\/command_refused$/).map(({ payload }) => payload.toString()),
        ).toContainEqual(expect.stringContaining('command_unanswered'));
      expect(eventCount).toBeLessThan(20);
      expect(grownMb).toBeLessThan(30);
      await until(() => messagesOn(/^camera\/south\/observation$/, from).length > 0, 'a record');
      const published = messages.filter(({ topic }) => !topic.startsWith(`${PREFIX}cmd/`));
      expect(published.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean)).toEqual(
        [],
      );
      const logLineCount = agent.lines.filter(({ part }) => part === 'commands').length;
      expect(logLineCount).toBeLessThan(200);
    }, 240_000);
  },
);
