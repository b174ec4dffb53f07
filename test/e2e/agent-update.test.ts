import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentVersions } from '../../src/contract/agent-update.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { Event } from '../../src/contract/states.ts';
import { initTestRepository } from '../fixtures/agent-repository.ts';
import { contractFault } from '../fixtures/contract.ts';
import { InstalledAgent, packAgent } from '../fixtures/installed-agent.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { tempDir } from '../fixtures/store.ts';
import { WebServer } from '../fixtures/web-server.ts';

const PREFIX = 'swellsight/v1/test/dev/';
const SEA = join(import.meta.dirname, '..', 'fixtures', 'sea');
const [FACTORY, NEXT, CRASHING] = ['1.0.0', '1.1.0', '1.2.0'] as const;
const WAIT_MS = 180_000;

interface Answer {
  readonly id: string;
  readonly status: string;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly code: string };
}

describe('updates of the built agent over MQTT', () => {
  const home = tempDir('swellsight-update-');
  let broker: Mosquitto;
  let server: WebServer;
  let client: MqttClient;
  let agent: InstalledAgent;
  let messages: Message[] = [];
  let url = '';

  const on = (topic: string): unknown[] =>
    messages
      .filter((message) => message.topic === PREFIX + topic && message.payload.length > 0)
      .map(({ payload }) => JSON.parse(payload.toString()) as unknown);
  const versions = (): AgentVersions | undefined => on('agent/state').at(-1) as AgentVersions | undefined;
  const answersTo = (name: string, id: string): Answer[] =>
    (on(`cmdres/${name}`) as Answer[]).filter((answer) => answer.id === id);

  /** Adds the last output of the agent to the error of a wait. */
  const explain = (thrown: unknown): never => {
    throw new Error(agent.output.slice(-4000), { cause: thrown });
  };

  /** Sends a command, and resolves with its final answer. */
  async function command(name: string, args: object): Promise<Answer> {
    const id = randomUUID();
    await client.publishAsync(`${PREFIX}cmd/${name}`, JSON.stringify({ id, args }), { qos: 1 });
    return until(
      () => answersTo(name, id).find(({ status }) => !['accepted', 'rejected'].includes(status)),
      `the answer to ${name}`,
      WAIT_MS,
    ).catch(explain);
  }

  beforeAll(async () => {
    broker = await Mosquitto.start({ persistence: true });
    messages = await broker.record('swellsight/v1/#');
    client = await connectAsync(broker.url);
    const repository = await initTestRepository(home.path);
    const [factory, next, crashing] = [
      await packAgent(home.path, FACTORY),
      await packAgent(home.path, NEXT),
      await packAgent(home.path, CRASHING, { crashes: true }),
    ];
    await repository.publish([next.file, crashing.file]);
    server = await WebServer.start(repository.dir);
    const stateDir = join(home.path, 'state');
    mkdirSync(stateDir);
    const port = await freePort();
    url = `http://127.0.0.1:${String(port)}`;
    const config = join(home.path, 'swellsight.json');
    const camera = { kind: 'directory', path: SEA, replay: 'loop', schedule: { everyS: 1 } };
    writeFileSync(
      config,
      JSON.stringify({
        site: 'test',
        device: 'dev',
        stateDir,
        http: { port },
        mqtt: { url: broker.url },
        inference: { providers: ['cpu'], threads: 1 },
        cameras: [{ id: 'north', ...camera, burst: { frames: 1, intervalS: 0 } }],
        update: {
          repository: server.url,
          trustRoot: repository.rootFile,
          probation: { observations: 2, minutes: 0 },
        },
      }),
    );
    const options = { home: home.path, stateDir, config, rootFile: repository.rootFile };
    agent = await InstalledAgent.start(options, factory);
    await until(() => on('camera/north/observation').length > 1, 'observations', WAIT_MS).catch(explain);
  }, 300_000);

  afterAll(async () => {
    await agent.stop();
    await client.endAsync(true);
    await server.stop();
    await broker.stop();
    rmSync(home.path, { recursive: true, force: true });
  });

  it('installs a version: the new one confirms itself and answers the command of the former one', async () => {
    expect(versions()).toMatchObject({ available: true, running: { version: FACTORY }, update: null });
    const answer = await command('agent.install', { version: NEXT, source: { kind: 'repository' } });
    expect(answer).toMatchObject({ status: 'succeeded', result: { version: NEXT } });
    expect(answersTo('agent.install', answer.id).map(({ status }) => status)).toEqual([
      'accepted',
      'succeeded',
    ]);
    expect(agent.started).toEqual([FACTORY, NEXT]);
    await until(() => versions()?.update?.phase === 'committed', 'the state');
    expect(versions()).toMatchObject({ running: { version: NEXT }, last_good: { version: FACTORY } });
    const live = (await (await fetch(`${url}/api/v1/agent`)).json()) as AgentVersions;
    expect(live.running.version).toBe(NEXT);
  }, 240_000);

  it('returns from a version that crashes at each start, bans it, and answers from the former one', async () => {
    const answer = await command('agent.install', { version: CRASHING, source: { kind: 'repository' } });
    expect(answer).toMatchObject({ status: 'failed', error: { code: 'update_crash_loop' } });
    expect(agent.started).toEqual([FACTORY, NEXT, CRASHING, CRASHING, CRASHING, NEXT]);
    await until(() => versions()?.update?.phase === 'returned', 'the state');
    expect(versions()).toMatchObject({ running: { version: NEXT }, banned: [{ version: CRASHING }] });
    const again = await command('agent.install', { version: CRASHING, source: { kind: 'repository' } });
    expect(again.error?.code).toBe('update_banned');
  }, 240_000);

  it('returns to the former version on command', async () => {
    const answer = await command('agent.rollback', {});
    expect(answer).toMatchObject({ status: 'succeeded', result: { version: FACTORY } });
    expect(agent.current).toBe(FACTORY);
    const listed = await command('agent.list', {});
    expect(listed.result).toMatchObject({ running: { version: FACTORY } });
  }, 240_000);

  it('loses no observation over all restarts, reports each end as an event, and keeps the contract', async () => {
    const seqs = (): number[] => {
      const records = [...on('camera/north/observation'), ...on('camera/north/backfill')] as Observation[];
      return [...new Set(records.map(({ seq }) => seq))].sort((a, b) => a - b);
    };
    const hasNoGap = (): boolean => seqs().every((seq, index) => seq === index + 1);
    await until(() => hasNoGap() && seqs().length > 20, 'all observations', 60_000);
    const events = messages
      .filter(({ topic }) => topic.startsWith(`${PREFIX}event/agent_update`))
      .map(({ payload }) => JSON.parse(payload.toString()) as Event);
    const ends = new Map(events.map(({ seq, type }) => [seq, type]));
    expect([...ends.values()]).toEqual([
      'agent_update_started',
      'agent_update_committed',
      'agent_update_started',
      'agent_update_returned',
      'agent_update_started',
      'agent_update_committed',
    ]);
    const faults = messages.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean);
    expect(faults).toEqual([]);
  }, 120_000);
});
