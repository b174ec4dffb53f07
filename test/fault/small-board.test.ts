import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Health } from '../../src/contract/health.ts';
import type { Observation } from '../../src/contract/observation.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { canMountLoop, LoopDisk } from '../fixtures/loop-disk.ts';
import { canLimitMemory, LimitedMemory } from '../fixtures/memory-cgroup.ts';
import { Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { seaCamera, snapshotsOf } from '../fixtures/sea-camera.ts';

const noLoop = !canMountLoop();
const noLimit = !canLimitMemory();
/** Deadline for steps that normally take seconds. */
const WITHIN_MS = 60_000;
/** Enters a mount namespace whose root is read-only, proves it, and starts the program. */
const READ_ONLY_ROOT = [
  ...['unshare', '--mount', '--propagation', 'private', 'sh', '-c'],
  'mount -o remount,bind,ro / && ! touch /swellsight-test 2>&- && exec "$@"',
  'sh',
];

const parsed = <T>(messages: readonly Message[], topic: RegExp): T[] =>
  messages.filter((one) => topic.test(one.topic)).map((one) => JSON.parse(one.payload.toString()) as T);
const heartbeats = (messages: readonly Message[]): Health[] => parsed<Health>(messages, /\/health$/);
const recordsIn = (messages: readonly Message[]): Observation[] =>
  parsed<Observation>(messages, /\/camera\/[^/]+\/(observation|backfill)$/);

describe('a small board', { timeout: 300_000 }, () => {
  let snapshots: TestServer;
  beforeAll(async () => {
    snapshots = await seaCamera();
  });
  afterAll(() => snapshots.stop());

  it.skipIf(noLoop)(
    '(root and loop devices) with a read-only root keeps running while a state partition of 64 MB is full, reports it, and recovers without losing a record',
    async ({ onTestFinished }) => {
      const disk = new LoopDisk(64);
      onTestFinished(() => disk.remove());
      const broker = await Mosquitto.start();
      onTestFinished(() => broker.stop());
      const messages = await broker.record('swellsight/v1/#');
      const agent = await RunningAgent.start(
        {
          mqtt: { url: broker.url },
          stateDir: join(disk.mount, 'state'),
          heartbeat: { intervalS: 1 },
          cameras: ['a', 'b'].map((id) => snapshotsOf(id, snapshots)),
        },
        { prefix: READ_ONLY_ROOT },
      );
      onTestFinished(() => agent[Symbol.asyncDispose]());
      await until(() => recordsIn(messages).length >= 4, 'the first records', WITHIN_MS);
      expect(existsSync('/swellsight-test')).toBe(false);
      const lastCodes = (): readonly string[] => heartbeats(messages).at(-1)?.degraded ?? ['none yet'];
      await until(() => !lastCodes().includes('disk_low'), 'a disk that is not low', WITHIN_MS);

      disk.fill();
      const full = recordsIn(messages).length;
      await until(() => lastCodes().includes('disk_low'), 'the degraded heartbeat', WITHIN_MS);
      await until(() => recordsIn(messages).length >= full + 20, 'records on the full disk', WITHIN_MS);
      disk.free();
      await until(() => !lastCodes().includes('disk_low'), 'the recovery', WITHIN_MS);
      const freed = recordsIn(messages).length;
      await until(() => recordsIn(messages).length >= freed + 6, 'records after it', WITHIN_MS);

      expect(agent.lines.filter(({ msg }) => msg === 'observation lost')).toEqual([]);
      expect(heartbeats(messages).at(-1)?.outbox.dropped_total).toBe(0);
      expect(await agent.stop()).toBe(0);
    },
  );

  it.skipIf(noLimit)(
    '(root) observes four cameras within 512 MB of memory, and the kernel kills no process',
    async ({ onTestFinished }) => {
      const memory = new LimitedMemory(512);
      onTestFinished(() => memory.remove());
      const agent = await RunningAgent.start(
        {
          mqtt: { embedded: { port: 0 } },
          cameras: [
            ...['a', 'b', 'c'].map((id) => snapshotsOf(id, snapshots)),
            { id: 'sim', kind: 'simulated', schedule: { everyS: 1 }, burst: { frames: 2, intervalS: 0.3 } },
          ],
        },
        { prefix: memory.prefix },
      );
      onTestFinished(() => agent[Symbol.asyncDispose]());
      const observed = (): number => agent.lines.filter(({ msg }) => msg === 'observation').length;
      // With an observation a minute, this is half an hour of four cameras.
      await until(() => observed() >= 120, 'half an hour of observations', 240_000);
      const { hardware } = (await agent.json('/api/v1/status'))['info'] as {
        hardware: { memory_mb: number };
      };
      expect(hardware.memory_mb).toBe(512);
      expect(memory.oomKills).toBe(0);
      expect(await agent.stop()).toBe(0);
    },
  );
});
