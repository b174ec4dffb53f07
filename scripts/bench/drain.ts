import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { systemClock } from '../../src/base/clock.ts';
import { Store } from '../../src/store/store.ts';
import { Mosquitto } from '../../test/fixtures/mosquitto.ts';
import type { DrainRun } from './drain-process.ts';
import { drainRecord, MONTH, NO_FEATURES, storeOptions } from './drain-records.ts';
import { budgetRow, pairedRow, type Row } from './table.ts';

const ROUNDS = 9;
const PROCESS = join(import.meta.dirname, 'drain-process.ts');

interface Drained extends DrainRun {
  /** From the storing of the first live record to its arrival at a subscriber, ms. */
  readonly liveMs: number;
}

/** A month's backlog through the agent's own outbox, forwarder and link, beside a bare publisher, in turn. */
export async function drain(): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'swellsight-drain-'));
  const broker = await Mosquitto.start();
  try {
    const flags = agentFlags();
    const full = join(folder, 'full');
    fill(full);
    const pairs: [Drained, DrainRun][] = [];
    // The first pair warms the disk and the broker.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const mine = (): Promise<Drained> => ours(broker, full, join(folder, 'run'), flags);
      const bare = (): Promise<DrainRun> => measured(['bare', broker.url, full], []);
      // Each goes first in every other round: what else runs on the machine hits both alike.
      const pair: [Drained, DrainRun] =
        round % 2 === 0 ? [await mine(), await bare()] : swapped([await bare(), await mine()]);
      if (round > 0) pairs.push(pair);
    }
    const perS = ({ messages, elapsedMs }: DrainRun): number => (messages / elapsedMs) * 1000;
    const cpuUs = ({ messages, cpuMs }: DrainRun): number => (cpuMs / messages) * 1000;
    return [
      pairedRow(
        'outbox drain, 43,200 records',
        'records/s',
        pairs.map(([mine, bare]) => [perS(mine), perS(bare)]),
        'mqtt.js QoS 1, window 20',
        0.8,
        'at_least',
      ),
      pairedRow(
        'drain: processor time',
        'us/record',
        pairs.map(([mine, bare]) => [cpuUs(mine), cpuUs(bare)]),
        'mqtt.js QoS 1, window 20',
        null,
      ),
      budgetRow(
        'drain: memory growth',
        'MB',
        pairs.map(([mine]) => mine.grownMb),
        30,
      ),
      budgetRow(
        'drain: event-loop lag p99',
        'ms',
        pairs.map(([mine]) => mine.lagP99Ms),
        20,
      ),
      budgetRow(
        'drain: first live record arrives after',
        'ms',
        pairs.map(([mine]) => mine.liveMs),
        2000,
      ),
    ];
  } finally {
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

const swapped = <A, B>([a, b]: [A, B]): [B, A] => [b, a];

/** Records as if the link had been down for a month. In memory first, for each of them waits for its disk. */
function fill(target: string): void {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'swellsight-drain-'));
  try {
    const store = Store.open(storeOptions(folder), { clock: systemClock, log: pino({ level: 'silent' }) });
    for (let minute = 0; minute < MONTH; minute += 1) store.append(drainRecord(minute), NO_FEATURES);
    store.close();
    cpSync(folder, target, { recursive: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function ours(
  broker: Mosquitto,
  full: string,
  folder: string,
  flags: readonly string[],
): Promise<Drained> {
  cpSync(full, folder, { recursive: true });
  const arrivals: { readonly atMs: number; readonly seq: unknown }[] = [];
  const watcher = await broker.client();
  watcher.on('message', (_topic, payload) => {
    const { seq } = JSON.parse(payload.toString()) as { seq: unknown };
    arrivals.push({ atMs: Date.now(), seq });
  });
  await watcher.subscribeAsync('swellsight/v1/bench/ours/camera/+/observation', { qos: 1 });
  const run = await measured(['ours', broker.url, folder], flags);
  watcher.end(true);
  rmSync(folder, { recursive: true, force: true });
  const live = arrivals.find(({ seq }) => seq === MONTH + 1);
  if (!live || run.liveAtMs === null) throw new Error('the live record did not arrive');
  return { ...run, liveMs: live.atMs - run.liveAtMs };
}

/** The heap as the agent's own start has it; the bare publisher runs on Node's defaults. */
function agentFlags(): readonly string[] {
  const start = readFileSync(join(import.meta.dirname, '..', '..', 'bin', 'swellsight.mjs'), 'utf8');
  const found = /LEAN_FLAGS = \[(.*)\]/.exec(start)?.[1] ?? '';
  return [...found.matchAll(/'([^']+)'/g)].flatMap(([, flag]) => flag ?? []);
}

async function measured(args: readonly string[], flags: readonly string[]): Promise<DrainRun> {
  const child = spawn(process.execPath, [...flags, PROCESS, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(await text(child.stdout)) as DrainRun;
}
