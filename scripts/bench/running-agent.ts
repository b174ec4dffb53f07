import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { freePort } from '../ports.ts';
import { childrenOf, cpuS, rssMb, writtenBytes } from './process-figures.ts';
import { budgetRow, type Row } from './table.ts';

const root = join(import.meta.dirname, '..', '..');
const LOAD_S = 30;
const IDLE_S = 120;
const COLD_STARTS = 5;
const SECONDS_PER_DAY = 86_400;

export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly dir: string;
  /** Milliseconds from spawn to the first observation. */
  readonly firstObservationMs: number;
  readonly lagFile: string;
  readonly httpPort: number;
  readonly observations: () => number;
}

export async function start(
  pictures: readonly Uint8Array[],
  camera: Record<string, unknown>,
  httpSettings: Record<string, unknown> = {},
  dir = mkdtempSync(join(tmpdir(), 'swellsight-bench-')),
): Promise<Running> {
  const folder = join(dir, 'pictures');
  mkdirSync(folder, { recursive: true });
  pictures.forEach((bytes, index) => writeFileSync(join(folder, `${index}.jpg`), bytes));
  const config = join(dir, 'config.json');
  const lagFile = join(dir, 'lag.json');
  const httpPort = await freePort();
  writeFileSync(
    config,
    JSON.stringify({
      stateDir: join(dir, 'var'),
      http: { ...httpSettings, port: httpPort },
      mqtt: { embedded: { port: await freePort() } },
      inference: { providers: ['cpu'], threads: 1 },
      cameras: [{ id: 'bench', kind: 'directory', path: folder, replay: 'loop', ...camera }],
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
  let observations = 0;
  // A bench that fails must not leave an agent behind that spoils the next one.
  process.once('exit', () => child.kill('SIGKILL'));
  const first = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the agent ended with ${String(code)}`)));
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const found = text.split('"msg":"observation"').length - 1;
      if (observations === 0 && found > 0) resolve(performance.now() - startedMs);
      observations += found;
    });
  });
  return {
    child,
    pid: child.pid ?? 0,
    dir,
    firstObservationMs: first,
    lagFile,
    httpPort,
    observations: () => observations,
  };
}

export async function stop({ child, dir }: Running, keep = false): Promise<void> {
  child.removeAllListeners('exit');
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
  if (!keep) rmSync(dir, { recursive: true, force: true });
}

/** Event-loop lag and resident memory while frames are analysed without a pause. */
export async function underLoad(pictures: readonly Uint8Array[]): Promise<readonly Row[]> {
  const agent = await start(pictures, { schedule: { everyS: 1 }, burst: { frames: 20, intervalS: 0 } });
  // Looked up each time: a better plan, found meanwhile, comes with a process of its own.
  const visionMb = (): number[] =>
    childrenOf(agent.pid)
      .filter(({ command }) => command.includes('vision/child/process'))
      .slice(-1)
      .map(({ pid }) => rssMb(pid));
  const main: number[] = [];
  const vision: number[] = [];
  agent.child.kill('SIGUSR2');
  for (let second = 0; second < LOAD_S; second++) {
    await delay(1000);
    main.push(rssMb(agent.pid));
    vision.push(...visionMb());
  }
  agent.child.kill('SIGUSR2');
  await delay(500);
  const lag = JSON.parse(readFileSync(agent.lagFile, 'utf8')) as { p99: number };
  const rows = [
    budgetRow('event-loop lag p99 under continuous analysis', 'ms', [lag.p99], 20),
    budgetRow('resident memory, main, under load', 'MB', main.slice(-10), 110),
    budgetRow('resident memory, vision, under load', 'MB', vision.slice(-10), 170),
  ];
  await stop(agent);
  return rows;
}

/** CPU and disk of an agent that observes once a minute. */
export async function idle(pictures: readonly Uint8Array[]): Promise<readonly Row[]> {
  const agent = await start(pictures, { schedule: { everyS: 60 }, burst: { frames: 3, intervalS: 2 } });
  // Start-up, and the background trials of other thread counts, are over by then.
  await delay(60_000);
  const pids = [agent.pid, ...childrenOf(agent.pid).map(({ pid }) => pid)];
  const used = (): number => pids.reduce((sum, pid) => sum + cpuS(pid), 0);
  const written = (): number => pids.reduce((sum, pid) => sum + writtenBytes(pid), 0);
  const [cpuBefore, bytesBefore, observedBefore] = [used(), written(), agent.observations()];
  await delay(IDLE_S * 1000);
  const perObservation = (written() - bytesBefore) / Math.max(1, agent.observations() - observedBefore);
  const rows = [
    budgetRow(
      'CPU at one observation a minute, share of a core',
      '%',
      [(100 * (used() - cpuBefore)) / IDLE_S],
      1,
    ),
    budgetRow(
      'written to disk a day at one observation a minute',
      'MB',
      [(perObservation * SECONDS_PER_DAY) / 60 / 2 ** 20],
      null,
    ),
  ];
  await stop(agent);
  return rows;
}

/** From the start of the program to the first record: the very first one, and later ones that remember the provider. */
export async function coldStart(pictures: readonly Uint8Array[]): Promise<readonly Row[]> {
  const first: number[] = [];
  for (let round = 0; round < COLD_STARTS; round++) {
    const agent = await start(pictures, { schedule: { everyS: 60 }, burst: { frames: 1, intervalS: 0 } });
    first.push(agent.firstObservationMs / 1000);
    await stop(agent);
  }
  return [budgetRow('cold start to the first observation, empty state', 's', first, 3)];
}
