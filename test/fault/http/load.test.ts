import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { drawSeaImages } from '../../../scripts/bench/sea-images.ts';
import { runClients } from '../../../scripts/load/clients.ts';
import { auditSchedule } from '../../../scripts/load/schedule-audit.ts';
import { RunningAgent } from '../../fixtures/agent.ts';
import { freePort } from '../../fixtures/mosquitto.ts';

const EVERY_S = 2;

describe('200 clients alongside the schedule (short form of npm run load)', () => {
  it('loses no observation, gives no error but 503 with Retry-After, and stops cleanly', async () => {
    const port = await freePort();
    await using agent = await RunningAgent.start({
      http: { port, rateLimit: 1_000_000 },
      mqtt: { embedded: { port: await freePort() } },
      cameras: [
        {
          id: 'cam',
          kind: 'directory',
          path: join(import.meta.dirname, '../../fixtures/sea'),
          replay: 'loop',
          schedule: { everyS: EVERY_S },
          burst: { frames: 1, intervalS: 0 },
        },
      ],
    });
    await agent.observation();
    const sinceMs = Date.now();
    const tally = await runClients(
      {
        port,
        clients: 200,
        durationMs: 5000,
        thinkMs: 1000,
        camera: 'cam',
        images: drawSeaImages(2, 640, 360),
        maxRetryAfterMs: 3000,
      },
      new AbortController().signal,
    );
    expect(tally.faults).toEqual([]);
    expect(tally.answers.get('200')).toBeGreaterThan(200);
    await delay(EVERY_S * 1000);
    const audit = await auditSchedule(port, 'cam', sinceMs);
    expect(audit.lost).toEqual([]);
    expect(audit.observations).toBeGreaterThanOrEqual(2);
    expect(await agent.stop()).toBe(0);
  });
});
