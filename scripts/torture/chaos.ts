import type { Broker } from './broker.ts';
import { CALM, type Network, type Weather } from './network.ts';
import type { Dice } from './random.ts';
import { isOver, pause } from './wait.ts';

export interface Counts {
  partitions: number;
  /** Those that outlast the keepalive of the agent one and a half times. */
  longPartitions: number;
  storms: number;
}

/** One and a half keepalives of the agent (30 s), and a little. */
const LONG_MS = 47_000;
/** One partition in so many is a long one. */
const LONG_EVERY = 30;

export interface NetworkChaosDeps {
  readonly network: Network;
  readonly dice: Dice;
  readonly counts: Counts;
  /** Shorter storms and partitions, and no long ones. */
  readonly brief: boolean;
}

/** Storm, partition, a little calm, for ever. A long partition leaves the agent alive, so that it meets its own deadlines. */
export async function networkChaos(
  { network, dice, counts, brief }: NetworkChaosDeps,
  hold: { agents: boolean },
  signal: AbortSignal,
): Promise<void> {
  const scale = brief ? 0.35 : 1;
  while (!isOver(signal)) {
    await pause(dice.between(1000, 4000) * scale, signal);
    const storm = stormOf(dice);
    network.set(storm);
    counts.storms += 1;
    await pause(dice.between(2000, 7000) * scale, signal);
    if (isOver(signal)) break;
    const long = !brief && counts.partitions % LONG_EVERY === LONG_EVERY / 2;
    hold.agents = long;
    network.set({ ...(dice.chance(0.5) ? storm : CALM), partitioned: true });
    counts.partitions += 1;
    if (long) counts.longPartitions += 1;
    const lengthMs = dice.chance(0.85) ? dice.between(200, 3000) : dice.between(3000, 10_000);
    await pause(long ? LONG_MS + dice.between(0, 8000) : lengthMs * scale, signal);
    network.set(CALM);
    if (long) await pause(5000, signal);
    hold.agents = false;
  }
  network.set(CALM);
  hold.agents = false;
}

function stormOf(dice: Dice): Weather {
  const loss = { loss01: dice.between(0.1, 0.3) };
  const slow = { rateKbit: Math.round(dice.between(96, 1024)) };
  const late = { delayMs: dice.between(30, 400) };
  return { ...CALM, ...dice.pick([loss, loss, slow, late, { ...loss, ...late }, { ...slow, ...late }]) };
}

/** Ends the broker now and then, in good order or not, and brings it back. */
export async function brokerChaos(
  broker: Broker,
  dice: Dice,
  brief: boolean,
  signal: AbortSignal,
): Promise<void> {
  while (!isOver(signal)) {
    await pause(brief ? dice.between(2500, 6000) : dice.between(4000, 20_000), signal);
    if (isOver(signal)) return;
    await broker.down(dice.chance(0.6) ? 'SIGKILL' : 'SIGTERM');
    await pause(brief || dice.chance(0.9) ? dice.between(50, 1500) : dice.between(3000, 10_000), signal);
    await broker.up();
  }
}
