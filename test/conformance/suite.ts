import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { IClientOptions } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation } from '../../src/contract/observation.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import { freePort, until } from '../fixtures/mosquitto.ts';
import type { Broker } from './brokers.ts';
import { json, Observer, PREFIX } from './observer.ts';
import { BROKERS, type BrokerName } from './traits.ts';

/** Cameras that fail each second, which costs next to nothing: records for the link to carry. */
const FAILING = ['south', 'east'];
const CAMERAS = ['north', ...FAILING];
const NORTH_EVERY_S = 2;
/** For anything that should come soon; costs nothing where it does. */
const WITHIN_MS = 60_000;
/** Where nothing may come. */
const QUIET_MS = 1000;
const RETAINED = /^(status|info|health|model\/state|camera\/[^/]+\/(state|latest))$/;
const NOT_RETAINED = /^(camera\/[^/]+\/(observation|backfill)|event\/[^/]+|cmdres\/.+)$/;

/** What the suite leaves to further checks of one broker. */
export interface Stage {
  readonly broker: Broker;
  readonly observer: Observer;
  agent: RunningAgent;
  /** Waits until every camera has come to a newer record. */
  readonly goesOn: () => Promise<void>;
  /** Every number of every camera has come, and no record came in two forms. */
  readonly complete: () => Promise<void>;
}

/**
 * The outside contract of a running agent, section 3, against one broker. One agent and one observer live through all of
 * it, in this order; what the broker cannot do is left out by its traits. Suites in one file run at once: each waits for
 * most of its time.
 */
export function conformance(
  name: BrokerName,
  open: () => Promise<Broker>,
  more?: (stage: () => Stage) => void,
): void {
  const traits = BROKERS[name];
  const five = traits.protocolVersion === 5;
  const apart = name !== 'embedded';

  const inOrder = (): void => {
    const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-conformance-'));
    let stage: Stage;
    let config: Record<string, unknown>;
    let killed: { readonly from: number; readonly session: string | undefined };

    const clientOptions = (clientId: string): IClientOptions => ({
      protocolVersion: traits.protocolVersion,
      clientId,
      clean: false,
      ...(five ? { properties: { sessionExpiryInterval: 3600 } } : {}),
    });
    const startAgent = (): Promise<RunningAgent> => RunningAgent.start(config, { stateDir });
    const online = (from: number): Promise<string> =>
      until(
        () => stage.observer.statuses(from).findLast(({ state }) => state === 'online')?.session,
        'online',
        WITHIN_MS,
      );
    /** Every camera comes to a record that is newer than now. */
    const goesOn = async (cameras = CAMERAS): Promise<void> => {
      const { observer } = stage;
      const before = new Map(cameras.map((camera) => [camera, observer.stream(camera).highest]));
      for (const [camera, seq] of before)
        await until(() => observer.stream(camera).highest > seq + 1, `records of ${camera}`, WITHIN_MS);
    };
    /** What waited comes behind what is live: every number of each camera is there, at once or a little later. */
    const complete = async (cameras = CAMERAS): Promise<void> => {
      const { observer } = stage;
      const gapless = (): boolean => cameras.every((camera) => observer.stream(camera).missing.length === 0);
      await until(gapless, 'the backlog', WITHIN_MS).catch(() => undefined);
      for (const camera of cameras) {
        const { missing, changed, highest, unique } = stage.observer.stream(camera);
        expect({ camera, missing, changed, unique }).toEqual({
          camera,
          missing: [],
          changed: [],
          unique: highest,
        });
      }
    };

    beforeAll(async () => {
      const broker = await open();
      const closed = await freePort();
      const other = {
        kind: 'http',
        url: `http://127.0.0.1:${closed}/x.jpg`,
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
          ...FAILING.map((id) => ({ id, ...other })),
        ],
      };
      // Before the agent, so that its first words are heard; an embedded broker is not there before its agent.
      const opening = Observer.open(broker.urls, clientOptions('observer'));
      if (apart) await opening;
      const agent = await startAgent();
      stage = { broker, observer: await opening, agent, goesOn, complete };
    });

    afterAll(async () => {
      stage.observer.close();
      await stage.agent[Symbol.asyncDispose]();
      await stage.broker.stop();
      rmSync(stateDir, { recursive: true, force: true });
    });

    it('is born in order: starting, states, online, then records', async () => {
      const { observer } = stage;
      const session = await online(0);
      await until(
        () => CAMERAS.every((camera) => observer.records(camera, 'observation').length > 0),
        'records',
      );
      const topics = observer.seen.map(({ topic }) => topic);
      const first = observer.seen.findIndex(
        ({ topic, payload }) => topic === 'status' && json<{ state: string }>(payload).state === 'online',
      );
      expect(observer.statuses().every((status) => status.session === session)).toBe(true);
      // With the embedded broker the observer may come later than the birth: what is retained has no order.
      if (!apart) return;
      expect(
        observer
          .statuses()
          .map(({ state }) => state)
          .slice(0, 2),
      ).toEqual(['starting', 'online']);
      const born = topics.slice(0, first);
      expect(born).toEqual(expect.arrayContaining(['info', 'health', 'model/state']));
      expect(born.filter((topic) => NOT_RETAINED.test(topic))).toEqual([]);
    });

    it('speaks the version of MQTT that the broker has', async () => {
      const health = await stage.agent.json('/health/detailed');
      expect(JSON.stringify(health)).toContain('127.0.0.1');
      const line = stage.agent.lines.find(({ msg }) => msg === 'connected');
      expect(line?.['protocolVersion']).toBe(traits.protocolVersion);
    });

    it('keeps states for whoever comes later, and nothing else', async () => {
      await until(
        () => stage.observer.on(/^camera\/[^/]+\/latest$/).length >= CAMERAS.length,
        'the newest records',
        WITHIN_MS,
      );
      const late = await Observer.open(stage.broker.urls, clientOptions(`late-${performance.now()}`));
      const kept = () => new Set(late.seen.filter(({ packet }) => packet.retain).map(({ topic }) => topic));
      const wanted = [
        'status',
        'info',
        'health',
        'model/state',
        ...CAMERAS.flatMap((camera) => [`camera/${camera}/state`, `camera/${camera}/latest`]),
      ];
      await until(() => wanted.every((topic) => kept().has(topic)), `retained: ${wanted.join()}`);
      expect([...kept()].filter((topic) => !RETAINED.test(topic))).toEqual([]);
      late.close();
    });

    it('sends with the QoS and the retain flag of the contract', () => {
      for (const { topic, packet } of stage.observer.seen) {
        expect([topic, packet.qos]).toEqual([topic, 1]);
        // Retain as published shows the flag as it was sent; without it, a live message never bears it.
        if (traits.retainAsPublished) expect([topic, packet.retain]).toEqual([topic, RETAINED.test(topic)]);
      }
    });

    if (traits.messageExpiry)
      it('lets the heartbeat expire after three intervals', async () => {
        const beats = await until(() => {
          const heard = stage.observer.on(/^health$/);
          return heard.length > 1 && heard;
        }, 'a second heartbeat');
        for (const { packet } of beats.slice(1))
          expect(packet.properties?.messageExpiryInterval).toBeLessThanOrEqual(3);
      });

    it('says in latest what it said live', async () => {
      await goesOn(['south']);
      const { observer } = stage;
      const live = new Map(observer.records('south', 'observation').map((record) => [record.seq, record]));
      const latest = observer.on(/^camera\/south\/latest$/).map(({ payload }) => json<Observation>(payload));
      expect(latest.length).toBeGreaterThan(0);
      const ids = latest.map(({ seq, id }) => [seq, id]);
      const known = latest.filter(({ seq }) => live.has(seq)).map(({ seq }) => [seq, live.get(seq)?.id]);
      expect(ids.filter(([seq]) => live.has(Number(seq)))).toEqual(known);
    });

    describe('commands', () => {
      it('ping: a receipt, then a result', async () => {
        await stage.observer.command('ping', { id: 'ping-1', issued_at: new Date().toISOString() });
        const result = await stage.observer.result('ping-1');
        expect(result).toMatchObject({ topic: 'cmdres/ping', status: 'succeeded', result: { pong: true } });
        expect(stage.observer.answers('ping-1').map(({ status }) => status)).toEqual([
          'accepted',
          'succeeded',
        ]);
      });

      it('info: its states again', async () => {
        const from = stage.observer.seen.length;
        await stage.observer.command('info', { id: 'info-1' });
        expect(await stage.observer.result('info-1')).toMatchObject({ status: 'succeeded' });
        expect(stage.observer.answers('info-1', from)).toHaveLength(2);
      });

      it('capture: the record in the answer and on the camera’s topic; label: its reading', async () => {
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
        // A record without a measurement cannot be labelled: that is answered too.
        expect(['succeeded', 'failed']).toContain(labelled['status']);
      });

      it('twice the same id: run once, the stored answer again', async () => {
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
        // The schedule goes on meanwhile.
        const slots = Math.ceil((performance.now() - sinceMs) / (NORTH_EVERY_S * 1000));
        expect(stage.observer.stream('north').records.length).toBeLessThanOrEqual(north + slots + 1);
      });

      it('expired, unknown, with bad arguments, malformed: refused, and why', async () => {
        const { observer } = stage;
        await observer.command('ping', { id: 'late-1', expires_at: '2020-01-01T00:00:00.000Z' });
        await observer.command('fly', { id: 'fly-1' });
        await observer.command('capture', { id: 'args-1', args: { camera: 7 } });
        const from = observer.seen.length;
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
          'answers to what is malformed',
        );
        await until(
          () => observer.events().some(({ code }) => code === 'command_expired'),
          'the event of the expired command',
        );
      });

      it('a command of 300 kB does no harm', async () => {
        const big = { id: 'big-1', args: { camera: 'x'.repeat(300_000) } };
        await stage.observer.command('capture', big);
        await stage.observer.command('ping', { id: 'after-big' });
        expect(await stage.observer.result('after-big')).toMatchObject({ status: 'succeeded' });
      });

      it(`retained while it listens: ${traits.retainAsPublished ? 'refused' : 'cannot be told from others'}`, async () => {
        await stage.observer.command('ping', { id: 'kept-1' }, { retain: true });
        const result = await stage.observer.result('kept-1');
        if (traits.retainAsPublished)
          expect(result).toMatchObject({ status: 'rejected', reason: 'retained' });
        else expect(result).toMatchObject({ status: 'succeeded' });
      });

      if (traits.responseTopic)
        it('answers where it is asked to, below its own answers only', async () => {
          const correlationData = Buffer.from([1, 2, 0, 255]);
          const ask = (id: string, responseTopic: string): Promise<unknown> =>
            stage.observer.command('ping', { id }, { properties: { responseTopic, correlationData } });
          await ask('to-1', `${PREFIX}cmdres/mine/7`);
          await ask('to-2', 'swellsight/v1/surf/other/cmdres/mine');
          expect(await stage.observer.result('to-1')).toMatchObject({ topic: 'cmdres/mine/7' });
          expect(await stage.observer.result('to-2')).toMatchObject({ topic: 'cmdres/ping' });
          const answer = stage.observer.on(/^cmdres\/mine\/7$/)[0];
          expect(answer?.packet.properties?.correlationData).toEqual(correlationData);
        });
    });

    if (apart)
      describe('the link', () => {
        const outside = () => {
          if (!stage.broker.outside) throw new Error('the broker lives in the agent');
          return stage.broker.outside;
        };

        it('acknowledgements are lost: the same records come again under the same ids', async () => {
          const { observer } = stage;
          const { proxies } = outside();
          const from = observer.seen.length;
          for (const proxy of proxies) proxy.mute = true;
          await until(
            () => observer.records('south', 'observation', from).length > 1,
            'records without an answer',
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
            WITHIN_MS,
          );
          await complete();
        }, 240_000);

        it('a cut link: `offline` of this session, and online again', async () => {
          const { observer } = stage;
          const from = observer.seen.length;
          const session = observer.statuses().at(-1)?.session;
          for (const proxy of outside().proxies) proxy.cut();
          await online(from);
          const told = observer.statuses(from);
          expect(told.every((status) => status.session === session)).toBe(true);
          expect(told.some(({ state }) => state === 'offline')).toBe(true);
          expect(told.at(-1)?.state).toBe('online');
          await goesOn(['south']);
        }, 240_000);

        it('does not run again what is retained when it comes back', async () => {
          // After the two losses above; with 3.1.1 the broker sends it each time, and the flag shows it.
          const { observer } = stage;
          // The answer itself may come again: its acknowledgement may be among those that were lost.
          const runs = observer.answers('kept-1').filter(({ status }) => status === 'succeeded');
          expect(new Set(runs.map(({ result }) => JSON.stringify(result))).size).toBeLessThanOrEqual(1);
          const refused = () =>
            observer.answers('kept-1').filter(({ reason }) => reason === 'retained').length;
          if (traits.retainHandling) expect(refused()).toBeLessThanOrEqual(1);
          else await until(() => refused() >= 1, 'the refusal');
        });

        it('the broker is away: records wait, and come after as historical, in order, none lost', async () => {
          const { observer } = stage;
          await stage.observer.command('ping', Buffer.alloc(0), { retain: true });
          await goesOn(['south']);
          const from = observer.seen.length;
          await outside().down();
          const downAtMs = Date.now();
          const mark = stage.agent.lines.length;
          // The second of each camera was taken when the broker was away for sure.
          const taken = (camera: string): number =>
            stage.agent.lines
              .slice(mark)
              .filter((line) => line.msg === 'observation' && line['camera'] === camera).length;
          await until(() => CAMERAS.every((camera) => taken(camera) >= 2), 'records meanwhile', WITHIN_MS);
          await outside().up();
          const upAtMs = Date.now();
          await online(from);
          await goesOn();
          await until(
            () => CAMERAS.every((camera) => observer.stream(camera).missing.length === 0),
            'every number',
            WITHIN_MS,
          );
          await complete();
          for (const camera of CAMERAS) {
            const live = observer.records(camera, 'observation', from);
            const backfill = observer.records(camera, 'backfill', from);
            expect(live.every(({ historical }) => !historical)).toBe(true);
            expect(backfill.every(({ historical }) => historical)).toBe(true);
            expect(backfill.length).toBeGreaterThan(0);
            expect(ascends(firsts(backfill))).toBe(true);
            expect(ascends(firsts(live))).toBe(true);
            const during = backfill.filter(({ captured_at }) => {
              const ms = Date.parse(captured_at);
              return ms > downAtMs && ms < upAtMs;
            });
            expect(during.length).toBeGreaterThan(0);
          }
        }, 240_000);
      });

    if (!apart)
      // Over a stop nothing is lost here either; a kill takes the broker along.
      it('stops in good order and starts again: nothing is lost', async () => {
        const from = stage.observer.seen.length;
        expect(await stage.agent.stop()).toBe(0);
        stage.agent = await startAgent();
        await online(from);
        await goesOn();
        await complete();
      }, 240_000);

    it(`kill -9: ${traits.will ? 'offline of that session by the will' : 'nobody is left to say it'}`, async () => {
      const { observer } = stage;
      const from = observer.seen.length;
      const session = observer.statuses().at(-1)?.session;
      stage.agent.signal('SIGKILL');
      await stage.agent.exited;
      if (traits.will) {
        await until(() => observer.statuses(from).some(({ state }) => state === 'offline'), 'the will');
        expect(observer.statuses(from)).toEqual([expect.objectContaining({ state: 'offline', session })]);
      }
      killed = { from, session };
    }, 240_000);

    it('starts again: a new session, the numbers go on by ones', async () => {
      const { observer } = stage;
      const again = observer.seen.length;
      stage.agent = await startAgent();
      expect(await online(again)).not.toBe(killed.session);
      await goesOn();
      if (apart) await complete();
      if (!traits.will)
        expect(observer.statuses(killed.from).every(({ state }) => state !== 'offline')).toBe(true);
    }, 240_000);

    more?.(() => stage);

    it('stops in good order: stopped, and no offline after it', async () => {
      const { observer } = stage;
      const from = observer.seen.length;
      const session = observer.statuses().at(-1)?.session;
      expect(await stage.agent.stop()).toBe(0);
      if (apart) {
        await until(() => observer.statuses(from).length > 0, 'the last word');
        await delay(QUIET_MS);
        expect(observer.statuses(from)).toEqual([expect.objectContaining({ state: 'stopped', session })]);
      }
    }, 240_000);

    it('has numbered its events by ones too', () => {
      const numbers = new Set(stage.observer.events().map(({ seq }) => seq));
      const highest = Math.max(0, ...numbers);
      if (apart) expect([...numbers].sort((a, b) => a - b)).toEqual(range(highest));
      expect(numbers.size).toBeGreaterThan(0);
    });

    it('kept to the schemas in everything that it said', () => {
      expect(stage.observer.faults()).toEqual([]);
      const counts = CAMERAS.map((camera) => {
        const { unique, records } = stage.observer.stream(camera);
        return `${camera} ${unique} (+${records.length - unique} again)`;
      });
      console.log(`${name}: ${stage.observer.seen.length} messages; records ${counts.join(', ')}; none lost`);
    });
  };
  describe.concurrent(`conformance: ${name}`, () => {
    describe('in this order', { concurrent: false }, inOrder);
  });
}

const range = (highest: number): readonly number[] =>
  Array.from({ length: highest }, (_, index) => index + 1);

/** Numbers in the order in which they first came. */
function firsts(records: readonly Observation[]): readonly number[] {
  return [...new Set(records.map(({ seq }) => seq))];
}

function ascends(numbers: readonly number[]): boolean {
  return numbers.every((seq, index) => index === 0 || seq > (numbers[index - 1] ?? 0));
}
