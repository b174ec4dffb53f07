// One camera of four sends the worst pictures that are allowed, another one pictures that take seconds to decode.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { RunningAgent, reasonsOf, type LogLine } from '../fixtures/agent.ts';
import { jpegOf } from '../fixtures/jpeg.ts';
import { scanBomb } from '../fixtures/scan-bomb.ts';
import { tempDir } from '../fixtures/store.ts';

const PERIOD_S = 5;
const RUN_MS = 60_000;

it('a camera with pictures that take long costs the others no slots', { timeout: 240_000 }, async () => {
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
    await new Promise((resolve) => setTimeout(resolve, RUN_MS));
    const served = of('worst', from).filter((line) => reasonsOf(line) !== 'overlap').length;
    for (const camera of ['north', 'south']) {
      const slots = of(camera, from);
      const lost = slots.filter((line) => /overlap|late/.test(reasonsOf(line)));
      expect(slots.length).toBeGreaterThanOrEqual(RUN_MS / 1000 / PERIOD_S - 2);
      // On a busy machine a picture takes longer than the period: it may cost one slot, and its camera rests after it.
      expect(lost.length).toBeLessThanOrEqual(Math.max(served, slots.length / 10));
      expect(served).toBeLessThanOrEqual(slots.length / 2);
    }
    expect(served).toBeGreaterThan(0);
    expect(of('worst').map(reasonsOf).join()).not.toContain('image_');
    expect(of('bomb').map(reasonsOf).join()).toContain('image_too_large');
  } finally {
    await agent[Symbol.asyncDispose]();
    dir.remove();
  }
});
