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
/** From the contract: the longest wait in a swap against the usual one. */
const GAP_RATIO = 1.5;
const GAP_PLUS_MS = 50;
const SETTLE_MS = 200;
const RSS_GROWTH = 1.05;
const FRAME = { roi: null, privacyMasks: [], priority: 'schedule' } as const;

/**
 * Swaps, each proved on every provider and then on the chosen one, under analysis without a pause, one frame after
 * another: what the frames in those moments waited, what was lost, and what the control process keeps of it.
 */
export async function swap(
  bundle: Bundle,
  pictures: readonly Uint8Array[],
  swaps: number,
): Promise<readonly Row[]> {
  const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-bench-'));
  const stop = new AbortController();
  const forgotten = { get: () => null, set: () => undefined, delete: () => undefined };
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
      memory: forgotten,
      raise: () => undefined,
      hardware: probeHardware(stop.signal),
      onBundle: () => undefined,
    },
  );
  await serving.open(stop.signal);
  await serving.start(stop.signal);

  const waits: { readonly endedMs: number; readonly waitMs: number }[] = [];
  let asked = 0;
  let lost = 0;
  const analysing = (async () => {
    while (!stop.signal.aborted) {
      const startedMs = performance.now();
      asked += 1;
      try {
        using lease = serving.lease();
        await lease.analyze(pictures[asked % pictures.length] ?? new Uint8Array(), FRAME);
        waits.push({ endedMs: performance.now(), waitMs: performance.now() - startedMs });
      } catch {
        lost += 1;
      }
    }
  })();

  while (waits.length < USUAL_FRAMES) await delay(50);
  const usualMs = waits.slice(-USUAL_FRAMES / 2).map(({ waitMs }) => waitMs);
  const longestMs: number[] = [];
  const longestWithoutMs: number[] = [];
  const longestSince = (beganMs: number): number =>
    Math.max(...waits.filter(({ endedMs }) => endedMs >= beganMs).map(({ waitMs }) => waitMs));
  const mainMb: number[] = [];
  for (let count = 0; count < swaps; count += 1) {
    const beganMs = performance.now();
    await serving.adopt(await serving.prove(bundle, stop.signal), 'factory', true);
    longestMs.push(longestSince(beganMs));
    globalThis.gc?.();
    mainMb.push(rssMb(process.pid));
    waits.length = 0;
    const tookMs = performance.now() - beganMs;
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
    budgetRow(`frames lost in ${swaps} swaps`, 'frames', [lost], 0),
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
