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
import { makeDrainRecord, MONTH_RECORDS, NO_FEATURES, storeOptions } from './drain-records.ts';
import { budgetRow, pairedRow, type Row } from './table.ts';

const ROUNDS = 9;
const PROCESS = join(import.meta.dirname, 'drain-process.ts');

interface Drained extends DrainRun {
  /** From storing the first live record to its arrival at a subscriber, ms. */
  readonly liveMs: number;
}

/** Sends a month's backlog with the agent's outbox, forwarder and link, and with a plain publisher, in turn. */
export async function measureDrain(): Promise<readonly Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'swellsight-drain-'));
  const broker = await Mosquitto.start();
  try {
    const flags = agentFlags();
    const backlog = join(directory, 'backlog');
    storeBacklog(backlog);
    const pairs: [Drained, DrainRun][] = [];
    // The first pair warms up the disk and the broker.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const agent = (): Promise<Drained> => drainAgent(broker, backlog, join(directory, 'run'), flags);
      const plain = (): Promise<DrainRun> => runProcess(['plain', broker.url, backlog], []);
      // Each is first in every other round: other load on the machine affects both equally.
      const pair: [Drained, DrainRun] =
        round % 2 === 0 ? [await agent(), await plain()] : swapped([await plain(), await agent()]);
      if (round > 0) pairs.push(pair);
    }
    const perS = ({ messages, elapsedMs }: DrainRun): number => (messages / elapsedMs) * 1000;
    const cpuUs = ({ messages, cpuMs }: DrainRun): number => (cpuMs / messages) * 1000;
    return [
      pairedRow(
        'outbox drain, 43,200 records',
        'records/s',
        pairs.map(([agent, plain]) => [perS(agent), perS(plain)]),
        'mqtt.js QoS 1, window 20',
        0.8,
        'at_least',
      ),
      pairedRow(
        'drain: processor time',
        'us/record',
        pairs.map(([agent, plain]) => [cpuUs(agent), cpuUs(plain)]),
        'mqtt.js QoS 1, window 20',
        null,
      ),
      budgetRow(
        'drain: memory growth',
        'MB',
        pairs.map(([agent]) => agent.grownMb),
        30,
      ),
      budgetRow(
        'drain: event-loop lag p99',
        'ms',
        pairs.map(([agent]) => agent.lagP99Ms),
        20,
      ),
      budgetRow(
        'drain: first live record arrives after',
        'ms',
        pairs.map(([agent]) => agent.liveMs),
        2000,
      ),
    ];
  } finally {
    await broker.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

const swapped = <A, B>([a, b]: [A, B]): [B, A] => [b, a];

/** Stores the records of a month without a broker. In memory first, because each append waits for the disk. */
function storeBacklog(target: string): void {
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'swellsight-drain-'));
  try {
    const store = Store.open(storeOptions(directory), { clock: systemClock, log: pino({ level: 'silent' }) });
    for (let minute = 0; minute < MONTH_RECORDS; minute += 1)
      store.append(makeDrainRecord(minute), NO_FEATURES);
    store.close();
    cpSync(directory, target, { recursive: true });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function drainAgent(
  broker: Mosquitto,
  backlog: string,
  stateDir: string,
  flags: readonly string[],
): Promise<Drained> {
  cpSync(backlog, stateDir, { recursive: true });
  const arrivals: { readonly atMs: number; readonly seq: unknown }[] = [];
  const subscriber = await broker.client();
  subscriber.on('message', (_topic, payload) => {
    const { seq } = JSON.parse(payload.toString()) as { seq: unknown };
    arrivals.push({ atMs: Date.now(), seq });
  });
  await subscriber.subscribeAsync('swellsight/v1/bench/ours/camera/+/observation', { qos: 1 });
  const run = await runProcess(['agent', broker.url, stateDir], flags);
  subscriber.end(true);
  rmSync(stateDir, { recursive: true, force: true });
  const live = arrivals.find(({ seq }) => seq === MONTH_RECORDS + 1);
  if (!live || run.liveAtMs === null) throw new Error('the live record did not arrive');
  return { ...run, liveMs: live.atMs - run.liveAtMs };
}

/** The heap flags of bin/swellsight.mjs; the plain publisher runs with Node's defaults. */
function agentFlags(): readonly string[] {
  const start = readFileSync(join(import.meta.dirname, '..', '..', 'bin', 'swellsight.mjs'), 'utf8');
  const found = /LEAN_FLAGS = \[(.*)\]/.exec(start)?.[1] ?? '';
  return [...found.matchAll(/'([^']+)'/g)].flatMap(([, flag]) => flag ?? []);
}

async function runProcess(args: readonly string[], flags: readonly string[]): Promise<DrainRun> {
  const child = spawn(process.execPath, [...flags, PROCESS, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(await text(child.stdout)) as DrainRun;
}
