// One camera of four sends the worst pictures that are allowed, another one pictures that take seconds to decode, and
// clients upload the worst pictures as often as the agent answers.
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { residentMb } from '../../src/base/process-facts.ts';
import { RunningAgent, reasonsOf, type LogLine } from '../fixtures/agent.ts';
import { jpegOf } from '../fixtures/jpeg.ts';
import { scanBomb } from '../fixtures/scan-bomb.ts';
import { tempDir } from '../fixtures/store.ts';

const PERIOD_S = 5;
const RUN_MS = 60_000;
const CLIENTS = 4;
const MAX_CONTROL_MB = 200;

/** Uploads the picture again and again until the signal fires. Returns the number of answers by status. */
async function upload(url: string, bytes: Buffer, signal: AbortSignal): Promise<Map<number, number>> {
  const answers = new Map<number, number>();
  while (!signal.aborted) {
    // What follows the image makes it another one for the cache of results.
    const body = new FormData();
    body.append('file', new Blob([Uint8Array.from(bytes), randomBytes(16)]), 'worst.jpg');
    const request = { method: 'POST', body, signal };
    const status = await fetch(`${url}/api/v1/analyze`, request).then(
      (response) => response.arrayBuffer().then(() => response.status),
      () => 0,
    );
    answers.set(status, (answers.get(status) ?? 0) + 1);
  }
  return answers;
}

it(
  'a camera and clients with pictures that take long cost the others no slots, and little memory',
  { timeout: 240_000 },
  async () => {
    const dir = tempDir();
    const pictures = {
      north: await jpegOf(1, { width: 640, height: 360 }),
      south: await jpegOf(2, { width: 640, height: 360 }),
      // 1.3 s of processor time on a fast board.
      worst: scanBomb({ width: 5100, height: 5100, scans: 31 }),
      bomb: scanBomb({ width: 5100, height: 5100, scans: 1200 }),
    };
    const cameras = Object.entries(pictures).map(([id, bytes]) => {
      const file = join(dir.path, id);
      writeFileSync(file, bytes);
      // One frame: its observations end although it rests.
      const burst = { frames: id === 'worst' ? 1 : 3, intervalS: 0.1 };
      return { id, kind: 'command', command: ['cat', file], schedule: { everyS: PERIOD_S }, burst };
    });
    const agent = await RunningAgent.start({ cameras, inference: { providers: ['cpu'], threads: 1 } });
    try {
      const of = (camera: string, from = 0): LogLine[] =>
        agent.lines.slice(from).filter((line) => line.msg === 'observation' && line['camera'] === camera);
      for (const camera of ['north', 'south']) await agent.observation((line) => line['camera'] === camera);
      const from = agent.lines.length;
      const done = AbortSignal.timeout(RUN_MS);
      const clients = Array.from({ length: CLIENTS }, () => upload(agent.url, pictures.worst, done));
      let controlMb = 0;
      while (!done.aborted) {
        controlMb = Math.max(controlMb, residentMb(agent.pid) ?? 0);
        await delay(100);
      }
      const answers = await Promise.all(clients);
      console.log(`control process: ${controlMb.toFixed(0)} MB; answers to uploads:`, ...answers);
      expect(controlMb).toBeLessThan(MAX_CONTROL_MB);
      const served = of('worst', from).filter((line) => reasonsOf(line) !== 'overlap').length;
      for (const camera of ['north', 'south']) {
        const slots = of(camera, from);
        const lost = slots.filter((line) => /overlap|late/.test(reasonsOf(line)));
        console.log(`${camera}: ${lost.length} of ${slots.length} slots lost`);
        expect(slots.length).toBeGreaterThanOrEqual(RUN_MS / 1000 / PERIOD_S - 2);
        // A picture that takes longer than the period may cost one slot, and its camera rests after it. On a fast
        // machine the camera does not rest: then its pictures must cost the others nothing.
        const isResting = served <= slots.length / 2;
        expect(lost.length).toBeLessThanOrEqual(Math.max(isResting ? served : 0, slots.length / 10));
      }
      expect(served).toBeGreaterThan(0);
      expect(of('worst').map(reasonsOf).join()).not.toContain('image_');
      expect(of('bomb').map(reasonsOf).join()).toContain('image_too_large');
    } finally {
      await agent[Symbol.asyncDispose]();
      dir.remove();
    }
  },
);
