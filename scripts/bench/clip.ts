import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { SeaStateProcess } from '../../src/sea-state/process/sea-state-process.ts';
import type { ClipSamples } from '../../src/sea-state/resample.ts';
import { randomSea } from '../../test/fixtures/random-sea.ts';
import { RtspServer } from '../../test/fixtures/rtsp.ts';
import { childrenOf, cpuS, privateMb, rssMb } from './process-figures.ts';
import { startAgent, stopAgent } from './running-agent.ts';
import { drawSeaImages } from './sea-images.ts';
import { budgetRow, type Row } from './table.ts';

/** Start-up and the trials of other thread counts end within this time. */
const SETTLE_MS = 40_000;
const MEASURE_S = 40;
const SAMPLE_MS = 10;
/** The grid of a clip. */
const GRID = { columns: 48, rows: 108 } as const;

interface Use {
  /** Percent of a core. */
  readonly cpu: number;
  readonly memoryMb: number;
}

/** What a clip adds to an agent that observes an RTSP stream of 720p every ten seconds, and the cost of its estimate. */
export async function measureClip(): Promise<readonly Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-bench-clip-'));
  const images = join(dir, 'images');
  mkdirSync(images);
  for (const [index, bytes] of drawSeaImages(20, 1280, 720, 0.5).entries())
    writeFileSync(join(images, `${String(index).padStart(2, '0')}.jpg`), bytes);
  const server = await RtspServer.start({ dir: images, fps: 10, size: { width: 1280, height: 720 } });
  try {
    const without = await useOf({ url: server.url });
    const withClip = await useOf({ url: server.url, seaState: { schedule: { everyS: 3600 } } });
    const estimate = await measureEstimate();
    return [
      budgetRow('clip from RTSP 720p, added share of a core', '%', [withClip.cpu - without.cpu], 5),
      budgetRow('clip from RTSP 720p, added memory', 'MB', [withClip.memoryMb - without.memoryMb], 40),
      budgetRow('estimate of a clip of 512 s, CPU', 's', [estimate.cpuMs / 1000], 5),
      budgetRow('estimate of a clip of 512 s, private memory', 'MB', [estimate.privateMb], 40),
    ];
  } finally {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function measureEstimate(): Promise<{ readonly cpuMs: number; readonly privateMb: number }> {
  const seaStates = new SeaStateProcess({ clock: systemClock });
  let mostMb = 0;
  const timer = setInterval(() => {
    for (const { pid, command } of childrenOf(process.pid))
      if (command.includes('sea-state/process/child')) mostMb = Math.max(mostMb, privateMb(pid));
  }, SAMPLE_MS);
  using _timer = { [Symbol.dispose]: () => clearInterval(timer) };
  const { cpuMs } = await seaStates.measure(clipSamples(), null, new AbortController().signal);
  return { cpuMs, privateMb: mostMb };
}

async function useOf(camera: Record<string, unknown>): Promise<Use> {
  const agent = await startAgent([], {
    ...{ kind: 'rtsp', path: undefined, replay: undefined, schedule: { everyS: 10 } },
    ...camera,
  });
  await delay(SETTLE_MS);
  const pids = [agent.pid, ...childrenOf(agent.pid).map(({ pid }) => pid)];
  const usedS = (): number => pids.reduce((sum, pid) => sum + cpuS(pid), 0);
  const beforeS = usedS();
  await delay(MEASURE_S * 1000);
  const cpu = (100 * (usedS() - beforeS)) / MEASURE_S;
  const memoryMb = pids.reduce((sum, pid) => sum + rssMb(pid), 0);
  await stopAgent(agent);
  return { cpu, memoryMb };
}

/** A simulated sea that fills the grid of a clip. */
function clipSamples(): ClipSamples {
  const { samples, columns, rows, rateHz, values, cellAspect } = randomSea({
    trains: [{ periodS: 11, amount: 1 }],
  });
  const filled = new Uint8Array(samples * GRID.columns * GRID.rows);
  for (let at = 0; at < filled.length; at += 1) {
    const cell = at % (GRID.columns * GRID.rows);
    const sample = Math.floor(at / (GRID.columns * GRID.rows));
    const column = (cell % GRID.columns) % columns;
    const row = Math.floor((Math.floor(cell / GRID.columns) * rows) / GRID.rows);
    filled[at] = values[(sample * rows + row) * columns + column] ?? 0;
  }
  const timesS = Float64Array.from({ length: samples }, (_, sample) => sample / rateHz);
  const findings = { faults: [], hasMoved: false, isRegistered: true };
  return { ...GRID, cellAspect, wantedHz: rateHz, timesS, values: filled, findings };
}
