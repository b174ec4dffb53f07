import type { Broker } from './broker.ts';
import { UNIMPAIRED, type Network, type LinkConditions } from './network.ts';
import type { SeededRandom } from './random.ts';
import { isOver, pause } from './wait.ts';

export interface Counts {
  partitions: number;
  /** Partitions longer than 1.5 keepalive intervals of the agent. */
  longPartitions: number;
  impairments: number;
}

/** A little more than 1.5 keepalive intervals of the agent (30 s). */
const LONG_PARTITION_MS = 47_000;
/** One of this many partitions is long. */
const LONG_PARTITION_EVERY = 30;

export interface NetworkChaosDeps {
  readonly network: Network;
  readonly random: SeededRandom;
  readonly counts: Counts;
  /** Shorter impairments and partitions, and no long partitions. */
  readonly brief: boolean;
}

/**
 * Repeats an impairment, a partition and a pause until the signal fires. During a long partition, `hold.agents` keeps the
 * agent alive, so that its own timeouts detect the partition.
 */
export async function networkChaos(
  { network, random, counts, brief }: NetworkChaosDeps,
  hold: { agents: boolean },
  signal: AbortSignal,
): Promise<void> {
  const scale = brief ? 0.35 : 1;
  while (!isOver(signal)) {
    await pause(random.between(1000, 4000) * scale, signal);
    const impairment = randomImpairment(random);
    network.set(impairment);
    counts.impairments += 1;
    await pause(random.between(2000, 7000) * scale, signal);
    if (isOver(signal)) break;
    const long = !brief && counts.partitions % LONG_PARTITION_EVERY === LONG_PARTITION_EVERY / 2;
    hold.agents = long;
    network.set({ ...(random.chance(0.5) ? impairment : UNIMPAIRED), partitioned: true });
    counts.partitions += 1;
    if (long) counts.longPartitions += 1;
    const lengthMs = random.chance(0.85) ? random.between(200, 3000) : random.between(3000, 10_000);
    await pause(long ? LONG_PARTITION_MS + random.between(0, 8000) : lengthMs * scale, signal);
    network.set(UNIMPAIRED);
    if (long) await pause(5000, signal);
    hold.agents = false;
  }
  network.set(UNIMPAIRED);
  hold.agents = false;
}

function randomImpairment(random: SeededRandom): LinkConditions {
  const loss = { loss01: random.between(0.1, 0.3) };
  const slow = { rateKbit: Math.round(random.between(96, 1024)) };
  const delay = { delayMs: random.between(30, 400) };
  return {
    ...UNIMPAIRED,
    ...random.pick([loss, loss, slow, delay, { ...loss, ...delay }, { ...slow, ...delay }]),
  };
}

/** Kills or stops the broker from time to time and starts it again. */
export async function brokerChaos(
  broker: Broker,
  random: SeededRandom,
  brief: boolean,
  signal: AbortSignal,
): Promise<void> {
  while (!isOver(signal)) {
    await pause(brief ? random.between(2500, 6000) : random.between(4000, 20_000), signal);
    if (isOver(signal)) return;
    await broker.down(random.chance(0.6) ? 'SIGKILL' : 'SIGTERM');
    await pause(
      brief || random.chance(0.9) ? random.between(50, 1500) : random.between(3000, 10_000),
      signal,
    );
    await broker.up();
  }
}
