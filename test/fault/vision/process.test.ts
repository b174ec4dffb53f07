import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import sharp from 'sharp';
import { describe, expect, it, vi } from 'vitest';
import type { PlanSource } from '../../../src/vision/plan-choice.ts';
import type { VisionEvent } from '../../../src/vision/protocol.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';
import { solid } from '../../fixtures/png.ts';
import { makeVision, startVision } from '../../fixtures/vision-process.ts';

const OPTIONS = { roi: null, privacyMasks: [], ignoreGate: true };
const NEVER = new AbortController().signal;
const red = await solid('#ff0000');
const blue = await solid('#0000ff');

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};
const exits = (events: readonly VisionEvent[]) => events.filter(({ type }) => type === 'exited');

describe('the vision process', () => {
  it('answers, reports statistics, and gets no secrets of the agent', async () => {
    process.env['SWELLSIGHT_MQTT_PASSWORD'] = 'hunter2';
    const { vision, events } = await startVision('heads');
    const pid = vision.pid!;
    const { heads } = await vision.analyze(blue, OPTIONS);
    expect(heads?.waveHeight?.heightM).toBeCloseTo(4 / 3, 2);
    expect(vision.stats()).toMatchObject({ ready: true, failures1h: 0, restarts: 0 });
    expect(vision.stats().rssMb).toBeGreaterThan(40);
    expect(vision.stats().p50Ms).toBeGreaterThan(0);
    expect(events).toEqual([{ type: 'started', report: vision.report }]);
    if (existsSync(`/proc/${pid}/environ`)) {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      expect(environment).toContain('ORT_DISABLE_TELEMETRY=1');
      expect(environment).not.toContain('hunter2');
      expect(environment).not.toContain('SWELLSIGHT');
    }
    await vision.close();
    expect(alive(pid)).toBe(false);
    await expect(vision.analyze(blue, OPTIONS)).rejects.toMatchObject({ code: 'vision_closed' });
  });

  it('survives every hostile image', async () => {
    const { vision, events } = await startVision('heads');
    const { pid } = vision;
    const jpeg = await jpegOf(5, { width: 640, height: 480 });
    const hostile: [string, Uint8Array, string][] = [
      ['no bytes', Buffer.alloc(0), 'image_empty'],
      ['10 MB of zeros', Buffer.alloc(10_000_000), 'image_unsupported'],
      ['truncated', jpeg.subarray(0, jpeg.length / 2), 'image_corrupt'],
      ['200 megapixels, for real', await solid('#336699', 20_000, 10_000), 'image_too_large'],
      ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'image_unsupported'],
    ];
    for (const [name, bytes, code] of hostile) {
      const startedMs = performance.now();
      await expect(vision.analyze(bytes, OPTIONS), name).rejects.toMatchObject({ code });
      expect(performance.now() - startedMs, name).toBeLessThan(20_000);
    }
    const damaged = Buffer.from(jpeg);
    damaged.fill(0xfe, 20_000, 22_048);
    damaged.set([0xff, 0x03], 20_500);
    expect((await vision.analyze(damaged, OPTIONS)).quality.reasons).toContain('damaged');
    expect((await vision.analyze(blue, OPTIONS)).heads).not.toBeNull();
    expect(vision.pid).toBe(pid);
    expect(exits(events)).toEqual([]);
    expect(vision.stats().failures1h).toBe(0);
  });

  it('kills a model that never returns: one frame fails, waiting frames are answered', async () => {
    const { vision, events } = await startVision('loop-when-red', { timeoutS: 1 });
    const first = vision.pid!;
    const [lost, ...served] = await Promise.allSettled(
      [red, blue, blue].map((frame) => vision.analyze(frame, OPTIONS)),
    );
    expect(lost).toMatchObject({ status: 'rejected', reason: { code: 'vision_timeout', retryable: true } });
    expect(served.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    expect(exits(events)).toMatchObject([{ type: 'exited', code: 'vision_timeout' }]);
    expect(vision.stats()).toMatchObject({ restarts: 1, failures1h: 1, ready: true });
    expect(vision.pid).not.toBe(first);
    expect(alive(first)).toBe(false);
  });

  it('gives up a start that never returns, and leaves no process behind', async () => {
    const { vision } = await makeVision('loop', { openTimeoutS: 1.5 });
    await expect(vision.start(NEVER)).rejects.toMatchObject({ code: 'vision_timeout' });
    expect(vision.pid).toBeNull();
    await expect(vision.analyze(blue, OPTIONS)).rejects.toMatchObject({ code: 'vision_closed' });
  });

  it('refuses a model that does not reproduce its golden outputs', async () => {
    const { vision } = await makeVision('wrong-golden');
    await expect(vision.start(NEVER)).rejects.toMatchObject({ code: 'model_golden_mismatch' });
  });

  it('loses only the frame at work to kill -9', async () => {
    const { vision, events } = await startVision('loop-when-red');
    const pid = vision.pid!;
    const lost = vision.analyze(red, OPTIONS);
    const next = vision.analyze(blue, OPTIONS);
    setTimeout(() => process.kill(pid, 'SIGKILL'), 300);
    await expect(lost).rejects.toMatchObject({ code: 'vision_crashed' });
    expect((await next).heads).not.toBeNull();
    expect(exits(events)).toMatchObject([
      { code: 'vision_crashed', detail: expect.stringContaining('SIGKILL') },
    ]);
  });

  it('delivers a large reply that is under way when the next frame hangs and the agent is busy', async () => {
    const { vision, events } = await startVision('loop-when-red', { timeoutS: 3 });
    const noise = { type: 'gaussian', mean: 128, sigma: 60 } as const;
    const large = await sharp({
      create: { width: 2400, height: 1350, channels: 3, background: '#888888', noise },
    })
      .jpeg({ quality: 90 })
      .toBuffer();
    const view = { roi: null, privacyMasks: [], maxWidthPx: 2400, lines: [] };
    const rendered = vision.render(large, view);
    const lost = vision.analyze(red, OPTIONS);
    await delay(60);
    for (const startMs = performance.now(); performance.now() - startMs < 700;);
    // More than a socket buffers.
    expect((await rendered).length).toBeGreaterThan(1_000_000);
    await expect(lost).rejects.toMatchObject({ code: 'vision_timeout' });
    expect(exits(events)).toHaveLength(1);
  });

  it('loses no frame to kill -9 between frames', async () => {
    const { vision, events } = await startVision('heads');
    process.kill(vision.pid!, 'SIGKILL');
    await vi.waitFor(() => expect(exits(events)).toHaveLength(1), { timeout: 60_000 });
    expect((await vision.analyze(blue, OPTIONS)).heads).not.toBeNull();
    expect(vision.stats().restarts).toBe(1);
  });

  it('ends a model that exhausts memory in the middle of a frame', async () => {
    const { vision } = await startVision('big-alloc-when-red', { maxRssMb: 200 });
    await expect(vision.analyze(red, OPTIONS)).rejects.toMatchObject({
      code: 'vision_crashed',
      message: expect.stringContaining('over the ceiling'),
    });
    expect((await vision.analyze(blue, OPTIONS)).heads).not.toBeNull();
  });

  it('survives NaN output, and asks the ladder for another plan after three in a row', async () => {
    const demote = vi.fn(() => null);
    const plan = { provider: 'cpu', threads: 1 };
    const ladder: PlanSource = {
      first: () => Promise.resolve(plan),
      explore: () => Promise.resolve(null),
      demote,
      report: () => null,
    };
    const { vision } = await startVision('nan-when-red', { plan: null }, ladder);
    const { pid } = vision;
    for (let i = 0; i < 3; i++) {
      await expect(vision.analyze(red, OPTIONS)).rejects.toMatchObject({ code: 'vision_output_invalid' });
    }
    expect(demote).toHaveBeenCalledExactlyOnceWith(plan, expect.stringContaining('NaN'));
    expect((await vision.analyze(blue, OPTIONS)).heads).not.toBeNull();
    expect(vision.pid).toBe(pid);
  });

  it('replaces a process above its memory ceiling without losing a frame', { timeout: 60_000 }, async () => {
    const { vision, events } = await startVision('heads', { maxRssMb: 64 * 4, timeoutS: 30 });
    const { pid } = vision;
    // A tiny region of a big image needs a big decode: 36 MB of pixels, several times.
    const big = await solid('#3366aa', 7000, 7000);
    const roi: [number, number][] = [
      [0.5, 0.5],
      [0.505, 0.5],
      [0.505, 0.505],
    ];
    const answers: number[] = [];
    for (let i = 0; i < 30 && !events.some(({ type }) => type === 'recycled'); i++) {
      answers.push((await vision.analyze(big, { ...OPTIONS, roi })).widthPx);
    }
    await vi.waitFor(() => expect(vision.pid).not.toBe(pid), { timeout: 60_000 });
    expect(events.find(({ type }) => type === 'recycled')).toMatchObject({ limitMb: 256 });
    expect((await vision.analyze(blue, OPTIONS)).heads).not.toBeNull();
    expect(answers.every((width) => width === 7000)).toBe(true);
    expect(exits(events)).toEqual([]);
    await vi.waitFor(() => expect(alive(pid!)).toBe(false), { timeout: 60_000 });
  });

  it('bounds its queue, puts the schedule first, and drops aborted frames', async () => {
    const { vision } = await startVision('loop-when-red', { timeoutS: 1, queueMax: 2 });
    const done: string[] = [];
    const note = (name: string, work: Promise<unknown>): Promise<unknown> => work.then(() => done.push(name));
    const looping = vision.analyze(red, OPTIONS);
    const aborting = new AbortController();
    // Already sent to the process; its abort must reject at once, as in the queue.
    const ahead = vision.analyze(blue, OPTIONS, aborting.signal);
    const aborted = vision.analyze(blue, OPTIONS, aborting.signal);
    const request = note('request', vision.analyze(blue, OPTIONS));
    await expect(vision.analyze(blue, OPTIONS)).rejects.toMatchObject({ code: 'vision_busy' });
    aborting.abort();
    for (const one of [ahead, aborted]) await expect(one).rejects.toMatchObject({ name: 'AbortError' });
    const scheduled = note('schedule', vision.analyze(blue, { ...OPTIONS, priority: 'schedule' }));
    await expect(looping).rejects.toMatchObject({ code: 'vision_timeout' });
    await Promise.all([request, scheduled]);
    expect(done).toEqual(['schedule', 'request']);
  });

  it('rejects an aborted frame in flight at once, and closes in bounded time', async () => {
    const { vision } = await startVision('loop-when-red');
    const pid = vision.pid!;
    const startedMs = performance.now();
    await expect(vision.analyze(red, OPTIONS, AbortSignal.timeout(200))).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    const waiting = vision.analyze(blue, OPTIONS);
    const refused = expect(waiting).rejects.toMatchObject({ code: 'vision_closed' });
    await vision.close();
    await refused;
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(alive(pid)).toBe(false);
  });

  it('drains: finishes waiting frames and refuses new ones', async () => {
    const { vision } = await startVision('heads');
    const frames = [blue, blue, blue].map((frame) => vision.analyze(frame, OPTIONS));
    const drained = vision.drain();
    await expect(vision.analyze(blue, OPTIONS)).rejects.toMatchObject({ code: 'vision_closed' });
    expect((await Promise.all(frames)).every(({ heads }) => heads !== null)).toBe(true);
    await drained;
    expect(vision.pid).toBeNull();
  });

  it('ends when the agent is killed, even during a frame that never ends', async () => {
    const parent = spawn(process.execPath, ['--no-warnings', join(import.meta.dirname, 'orphan-parent.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    expect(alive(pid)).toBe(true);
    parent.kill('SIGKILL');
    await vi.waitFor(() => expect(alive(pid)).toBe(false), { timeout: 60_000, interval: 100 });
  });
});
