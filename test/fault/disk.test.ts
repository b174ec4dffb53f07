import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { Health } from '../../src/contract/health.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { Event } from '../../src/contract/states.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { canFailDisk, canMountLoop, LoopDisk } from '../fixtures/loop-disk.ts';
import { Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';
import { openCopy, tempDir } from '../fixtures/store.ts';

const noLoop = !canMountLoop();
const noDiskError = noLoop || !canFailDisk();
const noStrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status !== 0;

const IDS = ['a', 'b', 'c'];
/** Deadline for steps that normally take seconds. */
const WITHIN_MS = 60_000;

/** Each test has its own disk, broker and agent and mostly waits, so the tests run concurrently. */
describe.concurrent('disk faults under a running agent', { timeout: 240_000 }, () => {
  /** Registers a clean-up step of the test; they run in reverse order. */
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
    // On a timeout, the error includes the log of the agent.
    await agent.waitFor('start', ({ msg }) => msg === 'agent started', WITHIN_MS);
    return agent;
  };
  const makeDisk = (onEnd: CleanUp): LoopDisk => {
    const disk = new LoopDisk(16);
    onEnd(() => disk.remove());
    return disk;
  };

  /** Parsed payloads: the tests poll the same messages many times. */
  const values = new WeakMap<Message, unknown>();
  const valueOf = (message: Message): unknown => {
    if (!values.has(message)) values.set(message, JSON.parse(message.payload.toString()));
    return values.get(message);
  };
  const parsed = <T>(messages: readonly Message[], topic: RegExp): T[] =>
    messages.filter((one) => topic.test(one.topic)).map((one) => valueOf(one) as T);
  const recordsIn = (messages: readonly Message[]): Observation[] =>
    parsed<Observation>(messages, /\/camera\/[^/]+\/(observation|backfill)$/);
  const eventsIn = (messages: readonly Message[], type: string): Event[] =>
    parsed<Event>(messages, new RegExp(`/event/${type}$`));
  const heartbeats = (messages: readonly Message[]): Health[] => parsed<Health>(messages, /\/health$/);
  const degradedCodes = (messages: readonly Message[]): readonly string[] =>
    heartbeats(messages).at(-1)?.degraded ?? [];
  /** Expects the numbers of each camera to be complete from 1, with one id for each. Returns the number of records. */
  const expectNoGaps = (messages: readonly Message[]): number => {
    const found = recordsIn(messages);
    for (const id of IDS) {
      const own = found.filter(({ camera }) => camera === id);
      const numbers = [...new Set(own.map(({ seq }) => seq))].toSorted((x, y) => x - y);
      expect(numbers, `numbers of camera ${id}`).toEqual(numbers.map((_, index) => index + 1));
      expect(new Set(own.map((one) => one.id)).size, `ids of camera ${id}`).toBe(numbers.length);
    }
    return new Set(found.map(({ id }) => id)).size;
  };
  /** Waits until messages in flight have arrived. */
  const waitForNoGaps = (messages: readonly Message[]): Promise<unknown> =>
    until(
      () =>
        IDS.every((id) => {
          const numbers = new Set(
            recordsIn(messages).flatMap(({ camera, seq }) => (camera === id ? [seq] : [])),
          );
          return numbers.size === Math.max(0, ...numbers);
        }),
      'records without a gap',
      WITHIN_MS,
    );
  const integrity = (stateDir: string): unknown => {
    const db = openCopy(stateDir);
    const verdict: unknown = db.pragma('integrity_check', { simple: true });
    db.close();
    return verdict;
  };

  it.skipIf(noLoop)(
    '(root and loop devices) loses no record while a disk of 16 MB is full, with and without a broker, and continues with all stored records after the disk is unmounted in use',
    async ({ onTestFinished }) => {
      const disk = makeDisk(onTestFinished);
      const stateDir = join(disk.mount, 'state');
      const { broker, messages } = await startBroker(onTestFinished);
      const agent = await startAgent(stateDir, broker.url, onTestFinished);
      await until(() => recordsIn(messages).length >= 3, 'the first records', WITHIN_MS);
      disk.fill();
      expect(disk.freeBytes).toBeLessThan(65_536);
      const full = recordsIn(messages).length;
      // With one observation a minute, this is half an hour with the broker and half an hour without.
      await until(() => recordsIn(messages).length >= full + 30, 'records on a full disk', WITHIN_MS);
      await until(() => degradedCodes(messages).includes('disk_low'), 'the degraded heartbeat', WITHIN_MS);
      await broker.down('SIGKILL');
      const mark = agent.lines.length;
      await until(
        () => agent.lines.slice(mark).filter(({ msg }) => msg === 'observation').length >= 30,
        'records without a broker',
        WITHIN_MS,
      );
      await broker.up();
      await until(() => recordsIn(messages).some(({ historical }) => historical), 'the backlog', WITHIN_MS);
      disk.free();
      const freed = heartbeats(messages).length;
      await until(() => heartbeats(messages).length >= freed + 3, 'heartbeats', WITHIN_MS);
      await waitForNoGaps(messages);
      expect(expectNoGaps(messages)).toBeGreaterThanOrEqual(full + 60);
      expect(agent.lines.filter(({ msg }) => msg === 'observation lost')).toEqual([]);
      expect(heartbeats(messages).at(-1)?.outbox.dropped_total).toBe(0);
      expect(integrity(stateDir)).toBe('ok');

      disk.detach();
      await agent.waitFor('new start', (line) => line.msg === 'restarting', WITHIN_MS);
      await until(() => eventsIn(messages, 'store_recovered').length > 0, 'the event', WITHIN_MS);
      const after = recordsIn(messages).length;
      await until(() => recordsIn(messages).length >= after + 6, 'new records', WITHIN_MS);
      await waitForNoGaps(messages);
      expectNoGaps(messages);
      expect(await agent.stop()).toBe(0);
      expect(integrity(stateDir)).toBe('ok');
    },
  );

  it.skipIf(noDiskError)(
    '(root, loop devices, ext4 faults) publishes nothing that is not stored while a disk error makes the disk read-only, and continues without a gap after the repair',
    async ({ onTestFinished }) => {
      const disk = makeDisk(onTestFinished);
      const stateDir = join(disk.mount, 'state');
      const { broker, messages } = await startBroker(onTestFinished);
      const first = await startAgent(stateDir, broker.url, onTestFinished);
      await until(() => recordsIn(messages).length >= 3, 'the first records', WITHIN_MS);
      disk.failReadOnly();
      await until(
        () => degradedCodes(messages).includes('store_failed'),
        'the degraded heartbeat',
        WITHIN_MS,
      );
      // Messages in flight still arrive. Then only heartbeats do.
      const before = { records: recordsIn(messages).length, beats: heartbeats(messages).length };
      await until(() => heartbeats(messages).length >= before.beats + 5, 'heartbeats', WITHIN_MS);
      expect(recordsIn(messages).length).toBe(before.records);
      expect((await first.json('/ready'))['missing']).toContain('store');
      expect((await first.json('/api/v1/observations'))['observations']).not.toEqual([]);
      expect(await first.stop()).toBe(0);
      disk.detach();
      disk.repair();
      disk.mountAgain();
      await startAgent(stateDir, broker.url, onTestFinished);
      await until(() => recordsIn(messages).length >= before.records + 3, 'new records', WITHIN_MS);
      await until(() => !degradedCodes(messages).includes('store_failed'), 'a healthy heartbeat', WITHIN_MS);
      await waitForNoGaps(messages);
      expectNoGaps(messages);
    },
  );

  it.skipIf(noStrace)(
    '(strace) publishes nothing that is not on the disk while fsync fails, and continues without a gap after it works again',
    async ({ onTestFinished }) => {
      const dir = tempDir();
      onTestFinished(() => dir.remove());
      const { broker, messages } = await startBroker(onTestFinished);
      const agent = await startAgent(join(dir.path, 'state'), broker.url, onTestFinished);
      await until(() => recordsIn(messages).length >= 3, 'the first records', WITHIN_MS);
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
      await until(
        () => degradedCodes(messages).includes('store_failed'),
        'the degraded heartbeat',
        WITHIN_MS,
      );
      strace.kill('SIGTERM');
      await ended;
      const before = recordsIn(messages).length;
      await until(() => recordsIn(messages).length >= before + 6, 'new records', WITHIN_MS);
      await until(
        () => eventsIn(messages, 'records_unstored').length > 0,
        'the event `records_unstored`',
        WITHIN_MS,
      );
      await until(() => !degradedCodes(messages).includes('store_failed'), 'a healthy heartbeat', WITHIN_MS);
      await waitForNoGaps(messages);
      expectNoGaps(messages);
      expect(await agent.stop()).toBe(0);
      expect(integrity(join(dir.path, 'state'))).toBe('ok');
    },
  );

  it('loses no stored record when another file replaces the database, and after garbage overwrites it, continues with the readable rows above every assigned number', async ({
    onTestFinished,
  }) => {
    const dir = tempDir();
    onTestFinished(() => dir.remove());
    const stateDir = join(dir.path, 'state');
    const { broker, messages } = await startBroker(onTestFinished);
    const agent = await startAgent(stateDir, broker.url, onTestFinished);
    await until(() => recordsIn(messages).length >= 3, 'the first records', WITHIN_MS);
    const path = join(stateDir, 'swellsight.db');
    // As an operator does to restore a backup.
    copyFileSync(path, `${path}.backup`);
    renameSync(`${path}.backup`, path);
    const [replaced] = await until(
      () => {
        const found = eventsIn(messages, 'store_recovered');
        return found.length > 0 && found;
      },
      'the event',
      WITHIN_MS,
    );
    expect(replaced?.context['reason']).toBe('replaced while in use');
    const after = recordsIn(messages).length;
    await until(() => recordsIn(messages).length >= after + 6, 'new records', WITHIN_MS);
    await waitForNoGaps(messages);
    expectNoGaps(messages);
    expect(integrity(stateDir)).toBe('ok');
    const quarantined = readdirSync(stateDir).filter((name) => /\.broken-[0-9-]+$/.test(name));
    expect(quarantined).toEqual([replaced?.context['quarantined']]);

    writeFileSync(path, Buffer.alloc(2_000_000, 0xa5), { flag: 'r+' });
    // A running read may detect it; the next start must.
    await delay(3_000);
    agent.signal('SIGKILL');
    await agent.exited;
    const before = new Map(IDS.map((id) => [id, recordsIn(messages).filter((one) => one.camera === id)]));
    await startAgent(stateDir, broker.url, onTestFinished);
    const [, recovered] = await until(
      () => {
        const found = eventsIn(messages, 'store_recovered');
        return found.length > 1 && found;
      },
      'the second event',
      WITHIN_MS,
    );
    const newestOf = (found: readonly Observation[], camera: string): number =>
      Math.max(...found.filter((one) => one.camera === camera).map(({ seq }) => seq));
    await until(
      () =>
        [...before].every(([camera, old]) => newestOf(recordsIn(messages), camera) > newestOf(old, camera)),
      'new records',
      WITHIN_MS,
    );
    for (const camera of before.keys()) {
      const own = recordsIn(messages).filter((one) => one.camera === camera);
      // Each number has one id, before and after.
      expect(new Set(own.map(({ id }) => id)).size).toBe(new Set(own.map(({ seq }) => seq)).size);
    }
    const gaps = IDS.map((id) => {
      const numbers = new Set(recordsIn(messages).flatMap(({ camera, seq }) => (camera === id ? [seq] : [])));
      return Math.max(...numbers) - numbers.size;
    }).reduce((sum, gap) => sum + gap, 0);
    const dropped = (): number => heartbeats(messages).at(-1)?.outbox.dropped_total ?? 0;
    await until(() => dropped() >= gaps, 'a heartbeat that counts the gaps', WITHIN_MS);
    expect(existsSync(join(stateDir, String(recovered?.context['quarantined'])))).toBe(true);
  });
});
