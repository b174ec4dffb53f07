import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { hasBrowser, TestBrowser } from '../../test/fixtures/browser.ts';
import { freePort } from '../ports.ts';
import { childrenOf, cpuS, rssMb, writtenBytes } from './process-figures.ts';
import { budgetRow, type Row } from './table.ts';

const root = join(import.meta.dirname, '..', '..');
const LOAD_S = 30;
const IDLE_S = 120;
const COLD_STARTS = 5;
const SECONDS_PER_DAY = 86_400;

/** The built program, started for a measurement. */
export interface MeasuredAgent {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly dir: string;
  /** Milliseconds from spawn to the first observation. */
  readonly firstObservationMs: number;
  readonly lagFile: string;
  readonly httpPort: number;
  readonly observationCount: () => number;
}

/** Resolves after the first observation. The camera loops over the frames. */
export async function startAgent(
  frames: readonly Uint8Array[],
  camera: Record<string, unknown>,
  httpSettings: Record<string, unknown> = {},
  dir = mkdtempSync(join(tmpdir(), 'swellsight-bench-')),
  settings: Record<string, unknown> = {},
): Promise<MeasuredAgent> {
  const frameDir = join(dir, 'frames');
  mkdirSync(frameDir, { recursive: true });
  frames.forEach((bytes, index) => writeFileSync(join(frameDir, `${index}.jpg`), bytes));
  const config = join(dir, 'config.json');
  const lagFile = join(dir, 'lag.json');
  const httpPort = await freePort();
  writeFileSync(
    config,
    JSON.stringify({
      ...settings,
      stateDir: join(dir, 'var'),
      http: { ...httpSettings, port: httpPort },
      mqtt: { embedded: { port: await freePort() } },
      inference: { providers: ['cpu'], threads: 1 },
      cameras: [{ id: 'bench', kind: 'directory', path: frameDir, replay: 'loop', ...camera }],
    }),
  );
  const startedMs = performance.now();
  const child = spawn(process.execPath, [join(root, 'bin/swellsight.mjs'), 'run', '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      NODE_OPTIONS: `--import ${pathToFileURL(join(root, 'scripts/bench/event-loop-preload.mjs')).href}`,
      EVENT_LOOP_LAG_FILE: lagFile,
    },
  });
  let observationCount = 0;
  // Do not leave an agent running when the benchmark fails.
  process.once('exit', () => child.kill('SIGKILL'));
  const firstObservationMs = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the agent exited with ${String(code)}`)));
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const found = text.split('"msg":"observation"').length - 1;
      if (observationCount === 0 && found > 0) resolve(performance.now() - startedMs);
      observationCount += found;
    });
  });
  return {
    child,
    pid: child.pid ?? 0,
    dir,
    firstObservationMs,
    lagFile,
    httpPort,
    observationCount: () => observationCount,
  };
}

export async function stopAgent({ child, dir }: MeasuredAgent): Promise<void> {
  child.removeAllListeners('exit');
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
  rmSync(dir, { recursive: true, force: true });
}

/** Event-loop lag and resident memory while frames are analysed without a pause. */
export async function measureLoad(frames: readonly Uint8Array[]): Promise<readonly Row[]> {
  const agent = await startAgent(frames, { schedule: { everyS: 1 }, burst: { frames: 20, intervalS: 0 } });
  // Look up the process each time: a better execution plan starts a new one.
  const visionRssMb = (): number[] =>
    childrenOf(agent.pid)
      .filter(({ command }) => command.includes('vision/child/process'))
      .slice(-1)
      .map(({ pid }) => rssMb(pid));
  const mainMb: number[] = [];
  const visionMb: number[] = [];
  agent.child.kill('SIGUSR2');
  for (let second = 0; second < LOAD_S; second++) {
    await delay(1000);
    mainMb.push(rssMb(agent.pid));
    visionMb.push(...visionRssMb());
  }
  agent.child.kill('SIGUSR2');
  await delay(500);
  const lag = JSON.parse(readFileSync(agent.lagFile, 'utf8')) as { p99: number };
  const rows = [
    budgetRow('event-loop lag p99 under continuous analysis', 'ms', [lag.p99], 20),
    budgetRow('resident memory, main, under load', 'MB', mainMb.slice(-10), 110),
    budgetRow('resident memory, vision, under load', 'MB', visionMb.slice(-10), 170),
  ];
  await stopAgent(agent);
  return rows;
}

/** CPU, disk and memory use of an agent that observes once a minute; also with the device page open in a browser. */
export async function measureIdle(frames: readonly Uint8Array[]): Promise<readonly Row[]> {
  const agent = await startAgent(frames, { schedule: { everyS: 60 }, burst: { frames: 3, intervalS: 2 } });
  // Start-up and the background trials of other thread counts end within a minute.
  await delay(60_000);
  const alone = await measureRest(agent);
  const rows = [
    budgetRow('CPU at one observation a minute, share of a core', '%', [alone.cpuPercent], 1),
    budgetRow('written to disk a day at one observation a minute', 'MB', [alone.writtenMbDay], null),
  ];
  if (hasBrowser) {
    await using browser = await TestBrowser.start();
    await using _opened = await browser.open(`http://127.0.0.1:${String(agent.httpPort)}/`);
    const watched = await measureRest(agent);
    rows.push(
      budgetRow('the same with the device page open, share of a core', '%', [watched.cpuPercent], 1),
      budgetRow('resident memory, main, with the device page open', 'MB', [watched.mainMb], 110),
    );
  }
  await stopAgent(agent);
  return rows;
}

/** What an agent uses within two minutes. */
async function measureRest(
  agent: MeasuredAgent,
): Promise<{ readonly cpuPercent: number; readonly writtenMbDay: number; readonly mainMb: number }> {
  const pids = [agent.pid, ...childrenOf(agent.pid).map(({ pid }) => pid)];
  const cpuUsedS = (): number => pids.reduce((sum, pid) => sum + cpuS(pid), 0);
  const bytesWritten = (): number => pids.reduce((sum, pid) => sum + writtenBytes(pid), 0);
  const [cpuBeforeS, bytesBefore, countBefore] = [cpuUsedS(), bytesWritten(), agent.observationCount()];
  await delay(IDLE_S * 1000);
  const bytesPerObservation =
    (bytesWritten() - bytesBefore) / Math.max(1, agent.observationCount() - countBefore);
  return {
    cpuPercent: (100 * (cpuUsedS() - cpuBeforeS)) / IDLE_S,
    writtenMbDay: (bytesPerObservation * SECONDS_PER_DAY) / 60 / 2 ** 20,
    mainMb: rssMb(agent.pid),
  };
}

/** Time from the start of the program with an empty state directory to the first record. */
export async function measureColdStart(frames: readonly Uint8Array[]): Promise<readonly Row[]> {
  const durationsS: number[] = [];
  for (let round = 0; round < COLD_STARTS; round++) {
    const agent = await startAgent(frames, { schedule: { everyS: 60 }, burst: { frames: 1, intervalS: 0 } });
    durationsS.push(agent.firstObservationMs / 1000);
    await stopAgent(agent);
  }
  return [budgetRow('cold start to the first observation, empty state', 's', durationsS, 3)];
}
