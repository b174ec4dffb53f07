import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { Health } from '../../src/contract/health.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { Event } from '../../src/contract/states.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { canFailDisk, canMountLoop, LoopDisk } from '../fixtures/loop-disk.ts';
import { Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';
import { tempDir } from '../fixtures/store.ts';

const noLoop = !canMountLoop();
const noDiskError = noLoop || !canFailDisk();
const noStrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status !== 0;

const IDS = ['a', 'b', 'c'];
/** For anything that should come soon; costs nothing where it does. */
const WITHIN_MS = 60_000;

/** Each case has a disk, a broker and an agent of its own, and waits most of the time: some run at once. */
describe.concurrent('the disk under a running agent', { timeout: 240_000 }, () => {
  /** Undone last first when the case has ended. */
  type CleanUp = TestContext['onTestFinished'];

  const startBroker = async (onEnd: CleanUp): Promise<{ broker: Mosquitto; messages: Message[] }> => {
    const broker = await Mosquitto.start();
    onEnd(() => broker.stop());
    return { broker, messages: await broker.record('swellsight/v1/#') };
  };
  let snapshots: TestServer;
  beforeAll(async () => {
    snapshots = await seaCamera();
  });
  afterAll(() => snapshots.stop());
  const startAgent = async (stateDir: string, url: string, onEnd: CleanUp): Promise<RunningAgent> => {
    const agent = await RunningAgent.start(
      {
        mqtt: { url },
        stateDir,
        heartbeat: { intervalS: 1 },
        cameras: IDS.map((id) => snapshotsOf(id, snapshots)),
      },
      { steered: {} },
    );
    onEnd(() => agent[Symbol.asyncDispose]());
    // Says what it said if it did not come up.
    await agent.waitFor('start', ({ msg }) => msg === 'agent started', WITHIN_MS);
    return agent;
  };
  const makeDisk = (onEnd: CleanUp): LoopDisk => {
    const disk = new LoopDisk(16);
    onEnd(() => disk.remove());
    return disk;
  };

  /** Each is looked at again and again while something is waited for. */
  const values = new WeakMap<Message, unknown>();
  const valueOf = (message: Message): unknown => {
    if (!values.has(message)) values.set(message, JSON.parse(message.payload.toString()));
    return values.get(message);
  };
  const parsed = <T>(messages: readonly Message[], topic: RegExp): T[] =>
    messages.filter((one) => topic.test(one.topic)).map((one) => valueOf(one) as T);
  const records = (messages: readonly Message[]): Observation[] =>
    parsed<Observation>(messages, /\/camera\/[^/]+\/(observation|backfill)$/);
  const events = (messages: readonly Message[], type: string): Event[] =>
    parsed<Event>(messages, new RegExp(`/event/${type}$`));
  const beats = (messages: readonly Message[]): Health[] => parsed<Health>(messages, /\/health$/);
  const degraded = (messages: readonly Message[]): readonly string[] =>
    beats(messages).at(-1)?.degraded ?? [];
  /** Each camera's numbers from 1 to the newest, each under one id. Returns how many. */
  const expectByOnes = (messages: readonly Message[]): number => {
    const found = records(messages);
    for (const id of IDS) {
      const own = found.filter(({ camera }) => camera === id);
      const numbers = [...new Set(own.map(({ seq }) => seq))].toSorted((x, y) => x - y);
      expect(numbers, `numbers of camera ${id}`).toEqual(numbers.map((_, index) => index + 1));
      expect(new Set(own.map((one) => one.id)).size, `ids of camera ${id}`).toBe(numbers.length);
    }
    return new Set(found.map(({ id }) => id)).size;
  };
  /** Waits until what is still on its way has come. */
  const noGaps = (messages: readonly Message[]): Promise<unknown> =>
    until(
      () =>
        IDS.every((id) => {
          const numbers = new Set(
            records(messages).flatMap(({ camera, seq }) => (camera === id ? [seq] : [])),
          );
          return numbers.size === Math.max(0, ...numbers);
        }),
      'records without a gap',
      WITHIN_MS,
    );
  const integrity = (stateDir: string): unknown => {
    const db = new Database(join(stateDir, 'swellsight.db'));
    const verdict: unknown = db.pragma('integrity_check', { simple: true });
    db.close();
    return verdict;
  };

  it.skipIf(noLoop)(
    '(root and loop devices) 16 MB and full for an hour of observations, half of it without a broker: none is lost; unmounted in use: goes on in the folder beneath with all that was stored, and says so',
    async ({ onTestFinished }) => {
      const disk = makeDisk(onTestFinished);
      const stateDir = join(disk.mount, 'state');
      const { broker, messages } = await startBroker(onTestFinished);
      const agent = await startAgent(stateDir, broker.url, onTestFinished);
      await until(() => records(messages).length >= 3, 'the first records', WITHIN_MS);
      disk.fill();
      expect(disk.freeBytes).toBeLessThan(65_536);
      const full = records(messages).length;
      // At one a minute: half an hour of it with the broker, half without.
      await until(() => records(messages).length >= full + 30, 'records on a full disk', WITHIN_MS);
      await until(() => degraded(messages).includes('disk_low'), 'the heartbeat that says so', WITHIN_MS);
      await broker.down('SIGKILL');
      const mark = agent.lines.length;
      await until(
        () => agent.lines.slice(mark).filter(({ msg }) => msg === 'observation').length >= 30,
        'records without a broker',
        WITHIN_MS,
      );
      await broker.up();
      await until(() => records(messages).some(({ historical }) => historical), 'the backlog', WITHIN_MS);
      disk.free();
      const freed = beats(messages).length;
      await until(() => beats(messages).length >= freed + 3, 'heartbeats', WITHIN_MS);
      await noGaps(messages);
      expect(expectByOnes(messages)).toBeGreaterThanOrEqual(full + 60);
      expect(agent.lines.filter(({ msg }) => msg === 'observation lost')).toEqual([]);
      expect(beats(messages).at(-1)?.outbox.dropped_total).toBe(0);
      expect(integrity(stateDir)).toBe('ok');

      disk.detach();
      await agent.waitFor('new start', (line) => line.msg === 'starting anew', WITHIN_MS);
      await until(() => events(messages, 'store_recovered').length > 0, 'the event', WITHIN_MS);
      const after = records(messages).length;
      await until(() => records(messages).length >= after + 6, 'records after it', WITHIN_MS);
      await noGaps(messages);
      expectByOnes(messages);
      expect(await agent.stop()).toBe(0);
      expect(integrity(stateDir)).toBe('ok');
    },
  );

  it.skipIf(noDiskError)(
    '(root, loop devices, ext4 faults) read-only by a disk error: the heartbeat says so, nothing is published that is not stored, and a mended disk goes on by ones',
    async ({ onTestFinished }) => {
      const disk = makeDisk(onTestFinished);
      const stateDir = join(disk.mount, 'state');
      const { broker, messages } = await startBroker(onTestFinished);
      const first = await startAgent(stateDir, broker.url, onTestFinished);
      await until(() => records(messages).length >= 3, 'the first records', WITHIN_MS);
      disk.failReadOnly();
      await until(() => degraded(messages).includes('store_failed'), 'the heartbeat that says so', WITHIN_MS);
      // What was with the broker comes through; then nothing does, while the heartbeat goes on.
      const before = { records: records(messages).length, beats: beats(messages).length };
      await until(() => beats(messages).length >= before.beats + 5, 'heartbeats', WITHIN_MS);
      expect(records(messages).length).toBe(before.records);
      expect((await first.json('/ready'))['missing']).toContain('store');
      expect((await first.json('/api/v1/observations'))['observations']).not.toEqual([]);
      expect(await first.stop()).toBe(0);
      disk.detach();
      disk.mend();
      disk.up();
      await startAgent(stateDir, broker.url, onTestFinished);
      await until(() => records(messages).length >= before.records + 3, 'records after it', WITHIN_MS);
      await until(() => !degraded(messages).includes('store_failed'), 'a heartbeat without it', WITHIN_MS);
      await noGaps(messages);
      expectByOnes(messages);
    },
  );

  it.skipIf(noStrace)(
    '(strace) failing fsync: what is not on the disk is not published, and goes on by ones when it works again',
    async ({ onTestFinished }) => {
      const dir = tempDir();
      onTestFinished(() => dir.remove());
      const { broker, messages } = await startBroker(onTestFinished);
      const agent = await startAgent(join(dir.path, 'state'), broker.url, onTestFinished);
      await until(() => records(messages).length >= 3, 'the first records', WITHIN_MS);
      const strace = spawn(
        'strace',
        [
          '-f',
          '-p',
          String(agent.pid),
          '-o',
          '/dev/null',
          '-e',
          'trace=fsync,fdatasync',
          '-e',
          'inject=fsync,fdatasync:error=EIO',
        ],
        { stdio: 'ignore' },
      );
      const ended = once(strace, 'exit');
      onTestFinished(() => void strace.kill('SIGKILL'));
      await until(() => degraded(messages).includes('store_failed'), 'the heartbeat that says so', WITHIN_MS);
      strace.kill('SIGTERM');
      await ended;
      const before = records(messages).length;
      await until(() => records(messages).length >= before + 6, 'records after it', WITHIN_MS);
      await until(
        () => events(messages, 'records_unstored').length > 0,
        'the event that counts the lost',
        WITHIN_MS,
      );
      await until(() => !degraded(messages).includes('store_failed'), 'a heartbeat without it', WITHIN_MS);
      await noGaps(messages);
      expectByOnes(messages);
      expect(await agent.stop()).toBe(0);
      expect(integrity(join(dir.path, 'state'))).toBe('ok');
    },
  );

  it('the database replaced by another file: set aside, told of, and nothing of what was stored is lost; overwritten with garbage: a fresh start with what could be read, above every number given out', async ({
    onTestFinished,
  }) => {
    const dir = tempDir();
    onTestFinished(() => dir.remove());
    const stateDir = join(dir.path, 'state');
    const { broker, messages } = await startBroker(onTestFinished);
    const agent = await startAgent(stateDir, broker.url, onTestFinished);
    await until(() => records(messages).length >= 3, 'the first records', WITHIN_MS);
    const path = join(stateDir, 'swellsight.db');
    // As an operator would who puts a backup back.
    copyFileSync(path, `${path}.backup`);
    renameSync(`${path}.backup`, path);
    const [told] = await until(
      () => {
        const found = events(messages, 'store_recovered');
        return found.length > 0 && found;
      },
      'the event',
      WITHIN_MS,
    );
    expect(told?.context['reason']).toBe('replaced while in use');
    const after = records(messages).length;
    await until(() => records(messages).length >= after + 6, 'records after it', WITHIN_MS);
    await noGaps(messages);
    expectByOnes(messages);
    expect(integrity(stateDir)).toBe('ok');
    const aside = readdirSync(stateDir).filter((name) => /\.broken-[0-9-]+$/.test(name));
    expect(aside).toEqual([told?.context['quarantined']]);

    writeFileSync(path, Buffer.alloc(2_000_000, 0xa5), { flag: 'r+' });
    // Whatever meets it first; at the latest a new start.
    await delay(3_000);
    agent.signal('SIGKILL');
    await agent.exited;
    const before = new Map(IDS.map((id) => [id, records(messages).filter((one) => one.camera === id)]));
    await startAgent(stateDir, broker.url, onTestFinished);
    const [, recovered] = await until(
      () => {
        const found = events(messages, 'store_recovered');
        return found.length > 1 && found;
      },
      'the second event',
      WITHIN_MS,
    );
    const newestOf = (found: readonly Observation[], camera: string): number =>
      Math.max(...found.filter((one) => one.camera === camera).map(({ seq }) => seq));
    await until(
      () => [...before].every(([camera, old]) => newestOf(records(messages), camera) > newestOf(old, camera)),
      'records after it',
      WITHIN_MS,
    );
    for (const camera of before.keys()) {
      const own = records(messages).filter((one) => one.camera === camera);
      // One id for each number, before and after.
      expect(new Set(own.map(({ id }) => id)).size).toBe(new Set(own.map(({ seq }) => seq)).size);
    }
    const gaps = IDS.map((id) => {
      const numbers = new Set(records(messages).flatMap(({ camera, seq }) => (camera === id ? [seq] : [])));
      return Math.max(...numbers) - numbers.size;
    }).reduce((sum, gap) => sum + gap, 0);
    const dropped = (): number => beats(messages).at(-1)?.outbox.dropped_total ?? 0;
    await until(() => dropped() >= gaps, 'a heartbeat that counts the gaps', WITHIN_MS);
    expect(existsSync(join(stateDir, String(recovered?.context['quarantined'])))).toBe(true);
  });
});
