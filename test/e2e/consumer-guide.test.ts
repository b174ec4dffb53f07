import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { IClientPublishOptions, MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Health } from '../../src/contract/health.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { SeaStateRecord } from '../../src/contract/sea-state.ts';
import { seaState } from '../fixtures/agent-api.ts';
import { RunningAgent, type LogLine } from '../fixtures/agent.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { readDocument } from '../fixtures/documents.ts';
import { Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';
import { tempDir } from '../fixtures/store.ts';

const CLIENTS = join(import.meta.dirname, '../../docs/consumer');
const NORTH = 'swellsight/v1/home/pi/camera/north';
const OLD = 'swellsight/v1/home/old';
const HOUR_MS = 3_600_000;
const isNorth = (line: LogLine): boolean => line['camera'] === 'north';

interface StoredRecord {
  readonly id: string;
  readonly camera: string;
  readonly seq: number;
  readonly at: string;
  readonly received_at: string;
  readonly height_m: number | null;
  readonly body: string;
}

/** One of the reference clients, as its own process with its own file. */
class Consumer {
  readonly #program: readonly string[];
  readonly #file: string;
  #child: ChildProcess | null = null;
  output = '';

  constructor(program: readonly string[], file: string) {
    this.#program = program;
    this.#file = file;
  }

  start(): void {
    const [command = '', ...args] = this.#program;
    const child = spawn(command, [...args, this.#file], {
      env: { PATH: process.env.PATH, PRINT_S: '0.2' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.#child = child;
  }

  /** A sudden end: what was not stored must come again. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    this.#child = null;
  }

  /** The rows of a query; none before the first start. */
  query(sql: string): readonly unknown[] {
    if (!existsSync(this.#file)) return [];
    const db = new Database(this.#file);
    try {
      const isReady = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'gaps'`).get() !== undefined;
      return isReady ? db.prepare(sql).all() : [];
    } finally {
      db.close();
    }
  }

  records(camera = 'north'): readonly StoredRecord[] {
    return this.query(`SELECT * FROM records WHERE camera = '${camera}' ORDER BY seq`) as StoredRecord[];
  }

  async prints(text: string): Promise<void> {
    await until(() => this.output.includes(text), `"${text}" in ${this.output.slice(-500)}`);
  }
}

describe('docs/consumer-guide.md', () => {
  const dir = tempDir();
  let broker: Mosquitto;
  let sea: TestServer;
  let agent: RunningAgent;
  let consumers: readonly (readonly [name: string, consumer: Consumer])[];
  let publisher: MqttClient;
  let seen: Message[];

  const each = async (work: (consumer: Consumer) => unknown): Promise<void> => {
    for (const [, consumer] of consumers) await work(consumer);
  };
  const newest = (topic: string): Buffer => {
    const message = seen.findLast((one) => one.topic === topic && one.payload.length > 0);
    if (!message) throw new Error(`no message on ${topic}`);
    return message.payload;
  };
  const newestRecord = (): Observation =>
    JSON.parse(newest(`${NORTH}/observation`).toString()) as Observation;
  const publish = (topic: string, message: object, options: IClientPublishOptions = {}): Promise<unknown> =>
    publisher.publishAsync(topic, JSON.stringify(message), { qos: 1, ...options });

  beforeAll(async () => {
    broker = await Mosquitto.start({ persistence: true });
    sea = await seaCamera();
    publisher = await broker.client();
    seen = await broker.record('swellsight/v1/#');
    const programs = {
      node: [process.execPath, join(CLIENTS, 'consumer.mjs'), broker.url],
      python: ['/usr/bin/python3', '-B', join(CLIENTS, 'consumer.py'), '127.0.0.1', String(broker.port)],
    };
    consumers = Object.entries(programs).map(([name, program]) => [
      name,
      new Consumer(program, join(dir.path, `${name}.db`)),
    ]);
    await each((consumer) => consumer.start());
    agent = await RunningAgent.start({
      site: 'home',
      device: 'pi',
      mqtt: { url: broker.url },
      heartbeat: { intervalS: 1 },
      cameras: [
        snapshotsOf('north', sea),
        snapshotsOf('rare', sea, 7200),
        { id: 'gone', kind: 'directory', path: '/none', schedule: { everyS: 1 }, burst: { frames: 1 } },
      ],
    });
  }, 120_000);

  afterAll(async () => {
    await each((consumer) => consumer.kill());
    await agent[Symbol.asyncDispose]();
    await sea.stop();
    await broker.stop();
    dir.remove();
  });

  it('shows the tested clients', () => {
    const guide = readDocument('docs/consumer-guide.md');
    const files = { sql: 'records.sql', js: 'consumer.mjs', python: 'consumer.py' };
    for (const [language, file] of Object.entries(files))
      expect(guide).toContain(`\n\`\`\`${language}\n${readDocument(`docs/consumer/${file}`)}\`\`\`\n`);
  });

  it('a client stores live records, and shows a current, a sleeping and a broken camera', async () => {
    await each(async (consumer) => {
      await until(() => consumer.records().length >= 2, 'records', 90_000);
      await consumer.prints('home/pi north: current');
      await consumer.prints('home/pi rare: asleep until ');
      await consumer.prints('home/pi gone: down (camera_unreachable)');
      const [first] = consumer.records();
      expect(Math.abs(Date.parse(first?.at ?? '') - Date.parse(first?.received_at ?? ''))).toBeLessThan(
        60_000,
      );
    });
  }, 120_000);

  it('stores a duplicate once, and a copy on latest replaces nothing', async () => {
    const message = newestRecord();
    await publish(`${NORTH}/observation`, message);
    await publish(`${NORTH}/latest`, { ...message, provider: 'other' });
    await publish(`${NORTH}/observation`, { ...message, id: 'next', seq: message.seq });
    await each(async (consumer) => {
      await until(() => consumer.records().some(({ id }) => id === 'next'), 'the record after the copies');
      const copies = consumer.records().filter(({ id }) => id === message.id);
      expect(copies.map(({ body }) => (JSON.parse(body) as Observation).provider)).toEqual([
        message.provider,
      ]);
    });
  });

  it('misses nothing while it is away or the broker is down', async () => {
    await each((consumer) => consumer.kill());
    const { seq: before } = newestRecord();
    await until(() => newestRecord().seq >= before + 2, 'two records');
    await each((consumer) => consumer.start());
    await each((consumer) =>
      until(() => consumer.records().some(({ seq }) => seq >= before + 2), 'the queued records'),
    );
    await broker.down();
    await agent.observation(isNorth, 60_000, agent.lines.length);
    await agent.observation(isNorth, 60_000, agent.lines.length);
    await broker.up();
    await each(async (consumer) => {
      await until(
        () => consumer.records().some(({ body }) => body.includes('"historical":true')),
        'the backfill',
      );
      await until(() => consumer.query('SELECT * FROM gaps').length === 0, 'no gaps');
    });
  }, 240_000);

  it('shows a gap, accepts unknown fields, and corrects a wrong clock by the time of reception', async () => {
    const health = JSON.parse(newest('swellsight/v1/home/pi/health').toString()) as Health;
    const record = newestRecord();
    const wrong = (ms: number): string => new Date(ms - 20 * HOUR_MS).toISOString();
    await publish(`${OLD}/status`, { state: 'online', session: 's', at: wrong(Date.now()) });
    const heartbeat = {
      ...health,
      at: wrong(Date.now()),
      cameras: [{ ...health.cameras[0], id: 'east', next_run_at: wrong(Date.now()) }],
    };
    await publish(`${OLD}/health`, heartbeat, { properties: { messageExpiryInterval: 5 } });
    const capturedAt = wrong(Date.now());
    for (const seq of [3, 7])
      await publish(`${OLD}/camera/east/observation`, {
        ...record,
        store_id: '0195f3a0-0000-7000-8000-00000000000f',
        id: `old-${seq}`,
        device: 'old',
        camera: 'east',
        seq,
        captured_at: capturedAt,
        field_of_a_later_version: { any: 1 },
      });
    await each(async (consumer) => {
      await until(() => consumer.records('east').length === 2, 'both records');
      expect(consumer.query(`SELECT first, last FROM gaps WHERE camera = 'east'`)).toEqual([
        { first: 4, last: 6 },
      ]);
      expect(consumer.query(`SELECT kind FROM gaps`)).toEqual([{ kind: 'swellsight.observation/1' }]);
      for (const { at, received_at } of consumer.records('east'))
        expect(Math.abs(Date.parse(at) - Date.parse(received_at))).toBeLessThan(60_000);
    });
  });

  it('stores sea states with numbers of their own, and a copy on latest replaces nothing', async () => {
    const clip = { ...seaState, device: 'old', camera: 'east', captured_at: new Date().toISOString() };
    const numbered = (seq: number): object => ({ ...clip, id: `clip-${seq}`, seq });
    await publish(`${OLD}/camera/east/sea_state`, numbered(3));
    await publish(
      `${OLD}/camera/east/sea_state/latest`,
      { ...numbered(3), method: 'other' },
      { retain: true },
    );
    await publish(`${OLD}/camera/east/sea_state/backfill`, { ...numbered(1), historical: true });
    await publish(`${OLD}/camera/east/sea_state`, numbered(4));
    await each(async (consumer) => {
      const clips = (): StoredRecord[] => consumer.records('east').filter(({ id }) => id.startsWith('clip-'));
      await until(() => clips().length === 3, 'the sea states');
      expect(clips().map(({ seq, body }) => [seq, (JSON.parse(body) as SeaStateRecord).method])).toEqual(
        [1, 3, 4].map((seq) => [seq, seaState.method]),
      );
      const gaps = consumer.query(`SELECT first, last FROM gaps WHERE kind = '${seaState.schema}'`);
      expect(gaps).toEqual([{ first: 2, last: 2 }]);
    });
    await publisher.publishAsync(`${OLD}/camera/east/sea_state/latest`, '', { qos: 1, retain: true });
  });

  it('shows a camera as stale without heartbeats, and a device as offline after its loss', async () => {
    await publisher.publishAsync(`${OLD}/camera/east/state`, newest(`${NORTH}/state`), { qos: 1 });
    await each((consumer) => consumer.prints('home/old east: stale'));
    await publisher.publishAsync(`${OLD}/camera/east/state`, '', { qos: 1, retain: true });
    agent.signal('SIGKILL');
    await each(async (consumer) => {
      await consumer.prints('home/pi north: offline');
      const from = consumer.output.length;
      await until(() => consumer.output.slice(from).includes('north: offline'), 'a further print');
      expect(consumer.output.slice(from)).not.toContain('home/old');
    });
  }, 120_000);
});
