import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { createLog } from '../../src/base/log.ts';
import type { Bundle } from '../../src/model/manifest.ts';
import { ModelServer } from '../../src/serving/model-server.ts';
import { probeHardware } from '../../src/vision/hardware/probe.ts';
import { rssMb } from './process-figures.ts';
import { budgetRow, median, quantile, type Row } from './table.ts';

const USUAL_FRAMES = 100;
/** Limit for the longest wait in a swap, from the median wait. */
const GAP_RATIO = 1.5;
const GAP_PLUS_MS = 50;
const SETTLE_MS = 200;
const RSS_GROWTH = 1.05;
const FRAME = { roi: null, privacyMasks: [], priority: 'schedule' } as const;

/**
 * Swaps the model while one frame after another is analysed. Each swap first proves the model on every provider.
 * Measures the waiting time of the frames, lost frames, and the memory of the control process.
 */
export async function measureSwaps(
  bundle: Bundle,
  frames: readonly Uint8Array[],
  swaps: number,
): Promise<readonly Row[]> {
  const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-bench-'));
  const stop = new AbortController();
  const noMemory = { get: () => null, set: () => undefined, delete: () => undefined };
  const serving = new ModelServer(
    {
      model: {
        active: null,
        trustRoot: null,
        repository: null,
        allowUnsigned: true,
        maxKbPerS: null,
        probation: { observations: 1, minutes: 1 },
      },
      inference: { providers: ['cpu'], threads: 1, timeoutS: 30, maxRssMb: 600 },
      shippedDir: join(bundle.dir, '..', '..'),
      installedDirs: [stateDir],
    },
    {
      clock: systemClock,
      log: createLog('silent'),
      memory: noMemory,
      raise: () => undefined,
      hardware: probeHardware(stop.signal),
      onBundle: () => undefined,
    },
  );
  await serving.open(stop.signal);
  await serving.start(stop.signal);

  const waits: { readonly endedMs: number; readonly waitMs: number }[] = [];
  let frameCount = 0;
  let lostCount = 0;
  const analysing = (async () => {
    while (!stop.signal.aborted) {
      const startedMs = performance.now();
      frameCount += 1;
      try {
        using lease = serving.lease();
        await lease.analyze(frames[frameCount % frames.length] ?? new Uint8Array(), FRAME);
        waits.push({ endedMs: performance.now(), waitMs: performance.now() - startedMs });
      } catch {
        lostCount += 1;
      }
    }
  })();

  while (waits.length < USUAL_FRAMES) await delay(50);
  const usualMs = waits.slice(-USUAL_FRAMES / 2).map(({ waitMs }) => waitMs);
  const longestMs: number[] = [];
  const longestWithoutMs: number[] = [];
  const longestSince = (sinceMs: number): number =>
    Math.max(...waits.filter(({ endedMs }) => endedMs >= sinceMs).map(({ waitMs }) => waitMs));
  const mainMb: number[] = [];
  for (let count = 0; count < swaps; count += 1) {
    const startedMs = performance.now();
    await serving.adopt(await serving.prove(bundle, stop.signal), 'factory', true);
    longestMs.push(longestSince(startedMs));
    globalThis.gc?.();
    mainMb.push(rssMb(process.pid));
    waits.length = 0;
    const tookMs = performance.now() - startedMs;
    await delay(SETTLE_MS);
    const quietMs = performance.now();
    await delay(tookMs);
    longestWithoutMs.push(longestSince(quietMs));
  }
  stop.abort();
  await analysing;
  await serving.close();
  rmSync(stateDir, { recursive: true, force: true });

  const [firstMb = 0] = mainMb;
  return [
    budgetRow('usual wait for an answer, 2560x1440 JPEG', 'ms', usualMs, null),
    budgetRow(`frames lost in ${swaps} swaps`, 'frames', [lostCount], 0),
    budgetRow(
      `longest wait for an answer in ${swaps} swaps`,
      'ms',
      [quantile(longestMs, 1)],
      GAP_RATIO * median(usualMs) + GAP_PLUS_MS,
    ),
    budgetRow(`longest wait in a swap, over ${swaps} swaps`, 'ms', longestMs, null),
    budgetRow('longest wait in as long a time without one', 'ms', longestWithoutMs, null),
    budgetRow('the longest of those', 'ms', [quantile(longestWithoutMs, 1)], null),
    budgetRow(`resident memory, main, after ${swaps} swaps`, 'MB', mainMb.slice(-1), RSS_GROWTH * firstMb),
  ];
}
