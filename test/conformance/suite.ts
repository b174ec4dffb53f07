import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectAsync, type IClientOptions } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation } from '../../src/contract/observation.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { runCli } from '../fixtures/cli.ts';
import { freePort, until } from '../fixtures/mosquitto.ts';
import type { Broker } from './brokers.ts';
import { json, Observer, PREFIX } from './observer.ts';
import { BROKERS, type BrokerName } from './traits.ts';

/** Cameras that fail each second at almost no cost, and so make records for the link to carry. */
const FAILING = ['south', 'east'];
const CAMERAS = ['north', ...FAILING];
const NORTH_EVERY_S = 2;
/** `PREFIX` without the device. */
const SITE = 'swellsight/v1/surf/';
/** Upper limit for events that normally follow soon. */
const TIMEOUT_MS = 60_000;
/** How long to wait for a message that must not come. */
const QUIET_MS = 1000;
const RETAINED =
  /^(status|info|health|model\/state|agent\/state|camera\/[^/]+\/(state|latest|sea_state\/latest))$/;
const NOT_RETAINED =
  /^(camera\/[^/]+\/(observation|backfill|sea_state|sea_state\/backfill)|event\/[^/]+|cmdres\/.+)$/;

/** The state that the suite passes to further tests of one broker. */
export interface Stage {
  readonly broker: Broker;
  readonly observer: Observer;
  agent: RunningAgent;
  /** Waits until every camera has a new record. */
  readonly waitForNewRecords: () => Promise<void>;
  /** Expects every sequence number of every camera, and each record in one form only. */
  readonly expectComplete: () => Promise<void>;
}

/**
 * Tests the MQTT contract of a running agent against one broker. One agent and one observer run through all tests in
 * this order; the broker's traits leave out what it cannot do. The suites of one file run at the same time, because
 * each mostly waits.
 */
export function conformance(
  name: BrokerName,
  open: () => Promise<Broker>,
  addTests?: (stage: () => Stage) => void,
): void {
  const traits = BROKERS[name];
  const isVersion5 = traits.protocolVersion === 5;
  const isExternal = name !== 'embedded';

  const inOrder = (): void => {
    const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-conformance-'));
    let stage: Stage;
    let config: Record<string, unknown>;
    let beforeKill: { readonly from: number; readonly session: string | undefined };

    const clientOptions = (clientId: string): IClientOptions => ({
      protocolVersion: traits.protocolVersion,
      clientId,
      clean: false,
      ...(isVersion5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
    });
    const startAgent = (): Promise<RunningAgent> => RunningAgent.start(config, { stateDir });
    /** Waits for the status online; returns its session. */
    const waitForOnline = (from: number): Promise<string> =>
      until(
        () => stage.observer.statuses(from).findLast(({ state }) => state === 'online')?.session,
        'online',
        TIMEOUT_MS,
      );
    const waitForNewRecords = async (cameras = CAMERAS): Promise<void> => {
      const { observer } = stage;
      const before = new Map(cameras.map((camera) => [camera, observer.stream(camera).highest]));
      for (const [camera, seq] of before)
        await until(() => observer.stream(camera).highest > seq + 1, `records of ${camera}`, TIMEOUT_MS);
    };
    /** The backlog follows live records: a missing number may still arrive. */
    const expectComplete = async (cameras = CAMERAS): Promise<void> => {
      const { observer } = stage;
      const hasNoGaps = (): boolean =>
        cameras.every((camera) => observer.stream(camera).missing.length === 0);
      await until(hasNoGaps, 'the backlog', TIMEOUT_MS).catch(() => undefined);
      for (const camera of cameras) {
        const { missing, changedIds, highest, uniqueCount } = stage.observer.stream(camera);
        expect({ camera, missing, changedIds, uniqueCount }).toEqual({
          camera,
          missing: [],
          changedIds: [],
          uniqueCount: highest,
        });
      }
    };

    beforeAll(async () => {
      const broker = await open();
      const closedPort = await freePort();
      const failing = {
        kind: 'http',
        url: `http://127.0.0.1:${closedPort}/x.jpg`,
        timeoutS: 1,
        schedule: { everyS: 1 },
        burst: { frames: 1 },
      };
      config = {
        site: 'surf',
        device: 'dev-1',
        mqtt: broker.mqtt,
        heartbeat: { intervalS: 1 },
        inference: { providers: ['cpu'], threads: 1 },
        cameras: [
          {
            id: 'north',
            kind: 'directory',
            path: join(import.meta.dirname, '../fixtures/sea'),
            replay: 'loop',
            schedule: { everyS: NORTH_EVERY_S },
            burst: { frames: 1 },
          },
          ...FAILING.map((id) => ({ id, ...failing })),
        ],
      };
      // Subscribe before the agent publishes; an embedded broker starts only with its agent.
      const opening = Observer.open(broker.urls, clientOptions('observer'));
      if (isExternal) await opening;
      const agent = await startAgent();
      stage = { broker, observer: await opening, agent, waitForNewRecords, expectComplete };
    });

    afterAll(async () => {
      stage.observer.close();
      await stage.agent[Symbol.asyncDispose]();
      await stage.broker.stop();
      rmSync(stateDir, { recursive: true, force: true });
    });

    it('publishes its birth in order: starting, states, online, then records', async () => {
      const { observer } = stage;
      const session = await waitForOnline(0);
      await until(
        () => CAMERAS.every((camera) => observer.records(camera, 'observation').length > 0),
        'records',
      );
      const topics = observer.messages.map(({ topic }) => topic);
      const first = observer.messages.findIndex(
        ({ topic, payload }) => topic === 'status' && json<{ state: string }>(payload).state === 'online',
      );
      expect(observer.statuses().every((status) => status.session === session)).toBe(true);
      // With the embedded broker the observer may subscribe after the birth: retained messages have no order.
      if (!isExternal) return;
      expect(
        observer
          .statuses()
          .map(({ state }) => state)
          .slice(0, 2),
      ).toEqual(['starting', 'online']);
      const birth = topics.slice(0, first);
      expect(birth).toEqual(expect.arrayContaining(['info', 'health', 'model/state']));
      expect(birth.filter((topic) => NOT_RETAINED.test(topic))).toEqual([]);
    });

    it('uses the MQTT version of the broker', async () => {
      const health = await stage.agent.json('/health/detailed');
      expect(JSON.stringify(health)).toContain('127.0.0.1');
      const line = stage.agent.lines.find(({ msg }) => msg === 'connected');
      expect(line?.['protocolVersion']).toBe(traits.protocolVersion);
    });

    it('retains its states, and nothing else', async () => {
      await until(
        () => stage.observer.on(/^camera\/[^/]+\/latest$/).length >= CAMERAS.length,
        'the latest records',
        TIMEOUT_MS,
      );
      const late = await Observer.open(stage.broker.urls, clientOptions(`late-${performance.now()}`));
      const retained = () =>
        new Set(late.messages.filter(({ packet }) => packet.retain).map(({ topic }) => topic));
      const expected = [
        'status',
        'info',
        'health',
        'model/state',
        'agent/state',
        ...CAMERAS.flatMap((camera) => [`camera/${camera}/state`, `camera/${camera}/latest`]),
      ];
      await until(() => expected.every((topic) => retained().has(topic)), `retained: ${expected.join()}`);
      expect([...retained()].filter((topic) => !RETAINED.test(topic))).toEqual([]);
      late.close();
    });

    it('publishes with the QoS and the retain flag of the contract', () => {
      for (const { topic, packet } of stage.observer.messages) {
        expect([topic, packet.qos]).toEqual([topic, 1]);
        // Without retain as published, a subscriber never sees the flag on a new message.
        if (traits.retainAsPublished) expect([topic, packet.retain]).toEqual([topic, RETAINED.test(topic)]);
      }
    });

    if (traits.messageExpiry)
      it('sets the heartbeat to expire after three intervals', async () => {
        const heartbeats = await until(() => {
          const received = stage.observer.on(/^health$/);
          return received.length > 1 && received;
        }, 'a second heartbeat');
        for (const { packet } of heartbeats.slice(1))
          expect(packet.properties?.messageExpiryInterval).toBeLessThanOrEqual(3);
      });

    it('publishes the same record on latest as on observation', async () => {
      await waitForNewRecords(['south']);
      const { observer } = stage;
      const live = new Map(observer.records('south', 'observation').map((record) => [record.seq, record]));
      const latest = observer.on(/^camera\/south\/latest$/).map(({ payload }) => json<Observation>(payload));
      expect(latest.length).toBeGreaterThan(0);
      const ids = latest.map(({ seq, id }) => [seq, id]);
      const known = latest.filter(({ seq }) => live.has(seq)).map(({ seq }) => [seq, live.get(seq)?.id]);
      expect(ids.filter(([seq]) => live.has(Number(seq)))).toEqual(known);
    });

    describe('commands', () => {
      it('answers ping with a receipt and a result', async () => {
        await stage.observer.command('ping', { id: 'ping-1', issued_at: new Date().toISOString() });
        const result = await stage.observer.result('ping-1');
        expect(result).toMatchObject({ topic: 'cmdres/ping', status: 'succeeded', result: { pong: true } });
        expect(stage.observer.answers('ping-1').map(({ status }) => status)).toEqual([
          'accepted',
          'succeeded',
        ]);
      });

      it('answers info with a receipt and a result', async () => {
        const from = stage.observer.messages.length;
        await stage.observer.command('info', { id: 'info-1' });
        expect(await stage.observer.result('info-1')).toMatchObject({ status: 'succeeded' });
        expect(stage.observer.answers('info-1', from)).toHaveLength(2);
      });

      it('returns and publishes the record of a capture, and answers its label', async () => {
        await stage.observer.command('capture', { id: 'cap-1', args: { camera: 'north' } });
        const { status, result } = await stage.observer.result('cap-1');
        expect(status).toBe('succeeded');
        const record = result as Observation;
        await until(
          () => stage.observer.records('north', 'observation').find(({ id }) => id === record.id),
          'the captured record',
        );
        await stage.observer.command('label', {
          id: 'label-1',
          args: { observation_id: record.id, height_m: 1.2, observer: 'suite' },
        });
        const labelled = await stage.observer.result('label-1');
        // The agent refuses to label a record without a measurement, with an answer.
        expect(['succeeded', 'failed']).toContain(labelled['status']);
      });

      it('runs a command once for two messages with the same id, and answers both', async () => {
        const north = stage.observer.stream('north').records.length;
        const sinceMs = performance.now();
        await stage.observer.command('capture', { id: 'cap-1', args: { camera: 'north' } });
        await until(
          () => stage.observer.answers('cap-1').filter(({ duplicate }) => duplicate === true).length === 2,
          'the duplicate’s answers',
        );
        const results = stage.observer.answers('cap-1').filter(({ status }) => status === 'succeeded');
        expect(results).toHaveLength(2);
        expect(results[1]?.['result']).toEqual(results[0]?.['result']);
        // The schedule makes records in the meantime.
        const slots = Math.ceil((performance.now() - sinceMs) / (NORTH_EVERY_S * 1000));
        expect(stage.observer.stream('north').records.length).toBeLessThanOrEqual(north + slots + 1);
      });

      it('refuses expired, unknown and malformed commands with the reason', async () => {
        const { observer } = stage;
        await observer.command('ping', { id: 'late-1', expires_at: '2020-01-01T00:00:00.000Z' });
        await observer.command('fly', { id: 'fly-1' });
        await observer.command('capture', { id: 'args-1', args: { camera: 7 } });
        const from = observer.messages.length;
        await observer.command('ping', Buffer.from('{"id": "half'));
        await observer.command('ping', Buffer.from([0xff, 0xfe, 0x00]));
        expect(await observer.result('late-1')).toMatchObject({ status: 'rejected', reason: 'expired' });
        expect(await observer.result('fly-1')).toMatchObject({
          status: 'rejected',
          reason: 'unknown_command',
        });
        const args = await observer.result('args-1');
        expect(args['status']).toBe('rejected');
        expect(args['reason']).toMatch(/^bad_args/);
        await until(
          () =>
            observer.on(/^cmdres\/ping$/, from).filter(({ payload }) => payload.includes('malformed'))
              .length === 2,
          'the answers to malformed commands',
        );
        await until(
          () => observer.events().some(({ code }) => code === 'command_expired'),
          'the event of the expired command',
        );
      });

      it('still answers after a command of 300 kB', async () => {
        const big = { id: 'big-1', args: { camera: 'x'.repeat(300_000) } };
        await stage.observer.command('capture', big);
        await stage.observer.command('ping', { id: 'after-big' });
        expect(await stage.observer.result('after-big')).toMatchObject({ status: 'succeeded' });
      });

      it(`${traits.retainAsPublished ? 'refuses' : 'runs, as it cannot see the flag,'} a new retained command`, async () => {
        await stage.observer.command('ping', { id: 'kept-1' }, { retain: true });
        const result = await stage.observer.result('kept-1');
        if (traits.retainAsPublished)
          expect(result).toMatchObject({ status: 'rejected', reason: 'retained' });
        else expect(result).toMatchObject({ status: 'succeeded' });
      });

      if (traits.responseTopic)
        it('answers on the response topic, but only below its own cmdres/', async () => {
          const correlationData = Buffer.from([1, 2, 0, 255]);
          const sendPing = (id: string, responseTopic: string): Promise<unknown> =>
            stage.observer.command('ping', { id }, { properties: { responseTopic, correlationData } });
          await sendPing('to-1', `${PREFIX}cmdres/mine/7`);
          await sendPing('to-2', 'swellsight/v1/surf/other/cmdres/mine');
          expect(await stage.observer.result('to-1')).toMatchObject({ topic: 'cmdres/mine/7' });
          expect(await stage.observer.result('to-2')).toMatchObject({ topic: 'cmdres/ping' });
          const answer = stage.observer.on(/^cmdres\/mine\/7$/)[0];
          expect(answer?.packet.properties?.correlationData).toEqual(correlationData);
        });
    });

    if (isExternal)
      describe('connection', () => {
        const external = () => {
          if (!stage.broker.external) throw new Error('the broker is embedded in the agent');
          return stage.broker.external;
        };

        it('sends the same records again under the same ids when acknowledgements are lost', async () => {
          const { observer } = stage;
          const { proxies } = external();
          const from = observer.messages.length;
          for (const proxy of proxies) proxy.mute = true;
          await until(
            () => observer.records('south', 'observation', from).length > 1,
            'records without an acknowledgement',
          );
          for (const proxy of proxies) {
            proxy.mute = false;
            proxy.cut();
          }
          const ids = observer.records('south', 'observation', from).map(({ id }) => id);
          await until(
            () =>
              ids.every((id) => observer.stream('south').records.filter((one) => one.id === id).length > 1),
            'the same ids again',
            TIMEOUT_MS,
          );
          await expectComplete();
        }, 240_000);

        it('is offline by its will when the connection breaks, and online again in the same session', async () => {
          const { observer } = stage;
          const from = observer.messages.length;
          const session = observer.statuses().at(-1)?.session;
          for (const proxy of external().proxies) proxy.cut();
          await waitForOnline(from);
          const statuses = observer.statuses(from);
          expect(statuses.every((status) => status.session === session)).toBe(true);
          expect(statuses.some(({ state }) => state === 'offline')).toBe(true);
          expect(statuses.at(-1)?.state).toBe('online');
          await waitForNewRecords(['south']);
        }, 240_000);

        it('does not run a retained command again when it reconnects', async () => {
          // The two tests above reconnected; with 3.1.1 the broker then sends the command with its retain flag.
          const { observer } = stage;
          // The answer may arrive twice, because its acknowledgement may have been lost.
          const runs = observer.answers('kept-1').filter(({ status }) => status === 'succeeded');
          expect(new Set(runs.map(({ result }) => JSON.stringify(result))).size).toBeLessThanOrEqual(1);
          const refused = () =>
            observer.answers('kept-1').filter(({ reason }) => reason === 'retained').length;
          if (traits.retainHandling) expect(refused()).toBeLessThanOrEqual(1);
          else await until(() => refused() >= 1, 'the refusal');
        });

        it('keeps records while the broker is down, and sends all of them in order as historical', async () => {
          const { observer } = stage;
          await stage.observer.command('ping', Buffer.alloc(0), { retain: true });
          await waitForNewRecords(['south']);
          const from = observer.messages.length;
          await external().down();
          const downAtMs = Date.now();
          const lineCount = stage.agent.lines.length;
          // The second record of each camera was certainly made while the broker was down.
          const countRecords = (camera: string): number =>
            stage.agent.lines
              .slice(lineCount)
              .filter((line) => line.msg === 'observation' && line['camera'] === camera).length;
          await until(
            () => CAMERAS.every((camera) => countRecords(camera) >= 2),
            'records without a broker',
            TIMEOUT_MS,
          );
          await external().up();
          const upAtMs = Date.now();
          await waitForOnline(from);
          await waitForNewRecords();
          await until(
            () => CAMERAS.every((camera) => observer.stream(camera).missing.length === 0),
            'every sequence number',
            TIMEOUT_MS,
          );
          await expectComplete();
          for (const camera of CAMERAS) {
            const live = observer.records(camera, 'observation', from);
            const backfill = observer.records(camera, 'backfill', from);
            expect(live.every(({ historical }) => !historical)).toBe(true);
            expect(backfill.every(({ historical }) => historical)).toBe(true);
            expect(backfill.length).toBeGreaterThan(0);
            expect(isAscending(firstArrivals(backfill))).toBe(true);
            expect(isAscending(firstArrivals(live))).toBe(true);
            const during = backfill.filter(({ captured_at }) => {
              const ms = Date.parse(captured_at);
              return ms > downAtMs && ms < upAtMs;
            });
            expect(during.length).toBeGreaterThan(0);
          }
        }, 240_000);
      });

    if (!isExternal)
      // A stop loses no record with the embedded broker either; a kill ends the broker too.
      it('loses no record over a clean stop and a start', async () => {
        const from = stage.observer.messages.length;
        expect(await stage.agent.stop()).toBe(0);
        stage.agent = await startAgent();
        await waitForOnline(from);
        await waitForNewRecords();
        await expectComplete();
      }, 240_000);

    it(`is killed with SIGKILL${traits.will ? ', and the broker publishes its will' : ''}`, async () => {
      const { observer } = stage;
      const from = observer.messages.length;
      const session = observer.statuses().at(-1)?.session;
      stage.agent.signal('SIGKILL');
      await stage.agent.exited;
      if (traits.will) {
        await until(() => observer.statuses(from).some(({ state }) => state === 'offline'), 'the will');
        expect(observer.statuses(from)).toEqual([expect.objectContaining({ state: 'offline', session })]);
      }
      beforeKill = { from, session };
    }, 240_000);

    it('starts again with a new session, and continues its sequence numbers', async () => {
      const { observer } = stage;
      const from = observer.messages.length;
      stage.agent = await startAgent();
      expect(await waitForOnline(from)).not.toBe(beforeKill.session);
      await waitForNewRecords();
      if (isExternal) await expectComplete();
      if (!traits.will)
        expect(observer.statuses(beforeKill.from).every(({ state }) => state !== 'offline')).toBe(true);
    }, 240_000);

    addTests?.(() => stage);

    it('publishes stopped at a clean stop, and no offline after it', async () => {
      const { observer } = stage;
      const from = observer.messages.length;
      const session = observer.statuses().at(-1)?.session;
      expect(await stage.agent.stop()).toBe(0);
      if (isExternal) {
        await until(() => observer.statuses(from).length > 0, 'the status stopped');
        await delay(QUIET_MS);
        expect(observer.statuses(from)).toEqual([expect.objectContaining({ state: 'stopped', session })]);
        for (const camera of CAMERAS)
          expect(json(observer.on(new RegExp(`^camera/${camera}/state$`)).at(-1)!.payload)).toMatchObject({
            state: 'down',
            reason: 'agent_stopped',
          });
      }
    }, 240_000);

    if (isExternal)
      it('clears the topics of its former name, and fleet forget those of a device', async () => {
        const retained = new Set<string>();
        const client = await connectAsync(stage.broker.urls[0] ?? '', clientOptions('retained'));
        client.on('message', (topic, payload) => {
          if (!RETAINED.test(topic.slice(SITE.length).replace(/^[^/]+\//, ''))) return;
          if (payload.length === 0) retained.delete(topic);
          else retained.add(topic);
        });
        await client.subscribeAsync(`${SITE}#`, { qos: 1 });
        const countOf = (device: string): number =>
          [...retained].filter((topic) => topic.startsWith(`${SITE}${device}/`)).length;
        await until(() => countOf('dev-1') >= 4 + 2 * CAMERAS.length, 'the topics of dev-1');
        const agent = await RunningAgent.start({ ...config, device: 'dev-2' }, { stateDir });
        await until(() => countOf('dev-1') === 0 && countOf('dev-2') > 5, 'only topics of dev-2', TIMEOUT_MS);
        expect(await agent.stop()).toBe(0);
        const args = ['surf/dev-2', '--broker', stage.broker.urls[0] ?? '', '--yes'];
        expect(await runCli(['fleet', 'forget', ...args])).toMatchObject({ code: 0, stderr: '' });
        await until(() => retained.size === 0, 'no retained topic');
        client.end(true);
      }, 240_000);

    it('has numbered its events without gaps', () => {
      const numbers = new Set(stage.observer.events().map(({ seq }) => seq));
      const highest = Math.max(0, ...numbers);
      if (isExternal) expect([...numbers].sort((a, b) => a - b)).toEqual(range(highest));
      expect(numbers.size).toBeGreaterThan(0);
    });

    it('has published only messages that match the contract', () => {
      expect(stage.observer.contractFaults()).toEqual([]);
      const counts = CAMERAS.map((camera) => {
        const { uniqueCount, records } = stage.observer.stream(camera);
        return `${camera} ${uniqueCount} (+${records.length - uniqueCount} duplicates)`;
      });
      const records = stage.observer.on(/^camera\/[^/]+\/(observation|backfill)$/);
      const storeIds = new Set(records.map(({ payload }) => json<Observation>(payload).store_id));
      // The same over a clean stop, SIGKILL and restarts.
      expect([...storeIds]).toEqual([expect.any(String)]);
      console.log(
        `${name}: ${stage.observer.messages.length} messages; records ${counts.join(', ')}; none lost`,
      );
    });
  };
  describe.concurrent(`Agent with ${name}`, () => {
    describe('in this order', { concurrent: false }, inOrder);
  });
}

const range = (highest: number): readonly number[] =>
  Array.from({ length: highest }, (_, index) => index + 1);

/** Sequence numbers in order of first arrival. */
function firstArrivals(records: readonly Observation[]): readonly number[] {
  return [...new Set(records.map(({ seq }) => seq))];
}

function isAscending(numbers: readonly number[]): boolean {
  return numbers.every((seq, index) => index === 0 || seq > (numbers[index - 1] ?? 0));
}
