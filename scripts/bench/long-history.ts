import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { systemClock } from '../../src/base/clock.ts';
import { Store } from '../../src/store/store.ts';
import type { StoreOptions } from '../../src/store/types.ts';
import { fillHistory } from './fill-history.ts';
import { rssMb } from './process-figures.ts';
import { startAgent, type MeasuredAgent } from './running-agent.ts';
import { budgetRow, type Row } from './table.ts';

const ROUNDS = 3;
/** After the start, the memory of the process does not grow any more. */
const SETTLE_MS = 25_000;
const PRUNE_ROUNDS = 300;

/** What a history of two cameras with one record a minute costs: starts, memory, and the deletion of old records. */
export async function measureLongHistory(
  frames: readonly Uint8Array[],
  minutes: number,
): Promise<readonly Row[]> {
  const store = { maxMb: 100_000, retentionDays: 10_000 };
  const camera = { schedule: { everyS: 60 }, burst: { frames: 1, intervalS: 0 } };
  const start = (dir?: string): Promise<MeasuredAgent> => startAgent(frames, camera, {}, dir, { store });
  const first = await start();
  const { dir } = first;
  await delay(SETTLE_MS);
  const emptyMb = rssMb(first.pid);
  await end(first, 'SIGTERM');
  const options: StoreOptions = {
    stateDir: join(dir, 'var'),
    ...store,
    outbox: { maxMessages: 10_000, maxAgeDays: 7 },
  };
  fill(options, minutes);

  const cleanS: number[] = [];
  const killedS: number[] = [];
  const growthMb: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const clean = await start(dir);
    cleanS.push(clean.firstObservationMs / 1000);
    await end(clean, 'SIGKILL');
    const killed = await start(dir);
    killedS.push(killed.firstObservationMs / 1000);
    await delay(SETTLE_MS);
    growthMb.push(rssMb(killed.pid) - emptyMb);
    await end(killed, 'SIGTERM');
  }
  const pruneMs = prune(options, minutes);
  rmSync(dir, { recursive: true, force: true });
  const name = `${(minutes / 525_600).toFixed(1)} years of two cameras`;
  return [
    budgetRow(`${name}: clean start to the first observation`, 's', cleanS, 3),
    budgetRow(`${name}: start after SIGKILL to the first observation`, 's', killedS, 3),
    budgetRow(`${name}: resident memory, main, above an empty store`, 'MB', growthMb, 10),
    budgetRow(`${name}: longest round of retention`, 'ms', [Math.max(...pruneMs)], 20),
  ];
}

function fill(options: StoreOptions, minutes: number): void {
  const store = Store.open(options, { clock: systemClock, log: pino({ level: 'silent' }) });
  const template = JSON.stringify(store.observations.newest('bench'));
  store.close();
  fillHistory(join(options.stateDir, 'swellsight.db'), {
    cameras: ['bench', 'other'],
    minutes,
    endMs: Date.now(),
    template,
  });
}

/** Deletes the oldest records; how long each round took. */
function prune(options: StoreOptions, minutes: number): readonly number[] {
  const retentionDays = minutes / 1440 - 30;
  // Keep the clock trusted: the records end now.
  const store = Store.open(
    { ...options, retentionDays },
    { clock: systemClock, log: pino({ level: 'silent' }) },
  );
  const takenMs: number[] = [];
  for (let round = 0; round < PRUNE_ROUNDS; round += 1) {
    const startedMs = performance.now();
    store.prune();
    takenMs.push(performance.now() - startedMs);
  }
  store.close();
  return takenMs;
}

async function end({ child }: MeasuredAgent, signal: NodeJS.Signals): Promise<void> {
  child.removeAllListeners('exit');
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
