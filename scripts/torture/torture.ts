import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Audit } from './audit.ts';
import { Broker } from './broker.ts';
import { brokerChaos, networkChaos, type Counts } from './chaos.ts';
import { CALM, LoopbackNetwork, openNetwork } from './network.ts';
import { makePictures } from './pictures.ts';
import { Dice } from './random.ts';
import { Subscriber } from './subscriber.ts';
import type { TortureOptions, TortureReport, VictimReport } from './types.ts';
import { faultsOf, judge } from './verdict.ts';
import { Victim } from './victim.ts';
import { isOver, pause } from './wait.ts';
import { Witness } from './witness.ts';

/** Nothing has left any outbox for so long: the rest will not come. */
const STUCK_MS = 90_000;
const SCRATCH_BYTES = 2 ** 30;
const TELL_EVERY_MS = 10_000;
const CAMERAS_PER_DEVICE = 6;

interface Sufferer {
  readonly victim: Victim;
  readonly audit: Audit;
}

/** One run, from an empty folder to the verdict. Everything that it makes is gone at its end, and at a signal. */
export class Torture {
  readonly counts: Counts = { partitions: 0, longPartitions: 0, storms: 0 };
  readonly #options: TortureOptions;
  readonly #tell: (line: string) => void;
  readonly #dir = mkdtempSync(join(tmpdir(), 'swellsight-torture-'));
  readonly #cleanUps: (() => void)[] = [];
  readonly #startedMs = performance.now();

  constructor(options: TortureOptions, deps: { readonly tell: (line: string) => void }) {
    this.#options = options;
    this.#tell = deps.tell;
    this.#cleanUps.push(() => rmSync(this.#dir, { recursive: true, force: true, maxRetries: 10 }));
  }

  /** Ends every process and removes every trace. At once and idempotent: also for an exit handler. */
  cleanUp(): void {
    for (const cleanUp of this.#cleanUps.splice(0).reverse())
      try {
        cleanUp();
      } catch (error) {
        this.#tell(`not cleaned up: ${String(error)}`);
      }
  }

  async run(): Promise<TortureReport> {
    const { seed, broker: kind, brief } = this.#options;
    const network = this.#options.namespace === 'auto' ? openNetwork() : new LoopbackNetwork();
    this.#cleanUps.push(() => network.close());
    const broker = await Broker.open({ dir: this.#dir, autosave: kind === 'plain' });
    this.#cleanUps.push(() => void broker.down('SIGKILL'));
    const subscriber = await Subscriber.open(broker.port, join(this.#dir, 'received'));
    this.#cleanUps.push(() => subscriber.killNow());
    await broker.save();
    const save = kind === 'durable' ? () => broker.save() : null;
    const witness = await Witness.open({ host: network.host, brokerPort: broker.port, save });
    this.#cleanUps.push(() => witness.close());
    network.valve = witness;
    const sufferers = this.#sufferers(witness, network.prefix);
    this.#tell(
      `seed ${seed}; ${network.kind}; ${kind} broker; ${sufferers.map(({ victim }) => victim.name).join(', ')}`,
    );

    const over = new AbortController();
    const hold = { agents: false };
    const deps = { network, dice: new Dice(seed, 'network'), counts: this.counts, brief };
    const chaos = [
      networkChaos(deps, hold, over.signal),
      brokerChaos(broker, new Dice(seed, 'broker'), brief, over.signal),
      ...sufferers.map((sufferer) => this.#torment(sufferer, hold, over.signal)),
    ];
    // A part that fails ends the run: the others would go on without it.
    const failed = Promise.race(chaos.map((part) => part.then(() => new Promise<never>(() => undefined))));
    const missed = await Promise.race([failed, this.#watch(sufferers, subscriber, broker)]);
    over.abort();
    await Promise.all(chaos);
    const seconds = this.#seconds();

    network.set(CALM);
    if (!broker.running) await broker.up();
    await this.#drain(sufferers, subscriber);
    const victims: VictimReport[] = [];
    for (const sufferer of sufferers) victims.push(await this.#report(sufferer, subscriber.file, witness));
    return {
      seed,
      network: network.kind,
      broker: kind,
      seconds,
      drainSeconds: this.#seconds() - seconds,
      counts: this.counts,
      brokerKills: broker.kills,
      brokerStops: broker.stops,
      brokerSaves: broker.saves,
      subscriberConnections: subscriber.connections,
      sessionsForgotten: subscriber.sessionsForgotten,
      deviceConnections: witness.connections,
      victims,
      missed,
    };
  }

  #sufferers(witness: Witness, prefix: readonly string[]): readonly Sufferer[] {
    const { agentCameras, plants, brief } = this.#options;
    const dir = this.#dir;
    const url = `mqtt://${witness.address}`;
    const scratch = roomInMemory() ? mkdtempSync('/dev/shm/swellsight-torture-') : join(dir, 'scratch');
    mkdirSync(scratch, { recursive: true });
    this.#cleanUps.push(() => rmSync(scratch, { recursive: true, force: true }));
    const victims = [
      ...(agentCameras > 0
        ? [
            Victim.agent(
              { name: 'agent', dir, url, prefix },
              { cameras: agentCameras, pictures: makePictures(dir) },
            ),
          ]
        : []),
      Victim.device({ name: 'device', dir, url, prefix }, { cameras: CAMERAS_PER_DEVICE, everyMs: 300 }),
      ...plants.map((plant) =>
        Victim.device(
          { name: plant, dir, url, prefix },
          { cameras: CAMERAS_PER_DEVICE, everyMs: 150, plant },
        ),
      ),
    ];
    return victims.map((victim) => {
      this.#cleanUps.push(() => victim.killNow());
      const { database } = victim;
      const check = brief ? 'quick_check' : 'integrity_check';
      return { victim, audit: new Audit({ database, scratch, check, acked: witness.ledger.acked }) };
    });
  }

  /** Starts it, kills it, looks into what it left, for ever. */
  async #torment({ victim, audit }: Sufferer, hold: { agents: boolean }, signal: AbortSignal): Promise<void> {
    const dice = new Dice(this.#options.seed, victim.name);
    const startMs = victim.kind === 'agent' ? 1500 : 300;
    // What is found of a planted fault needs time at work more than kills.
    const scale = victim.plant === null ? 1 : 3;
    while (!isOver(signal)) {
      victim.start();
      // Now and then in the middle of the start, most often at work, sometimes after a longer life.
      const early = dice.chance(0.15);
      const lifeMs = early
        ? dice.between(0, 2 * startMs)
        : scale * (dice.chance(0.93) ? dice.between(0, 4000) : dice.between(4000, 15_000));
      if (!early) await victim.working(signal);
      await pause(lifeMs, signal);
      while (victim.kind === 'agent' && hold.agents && !isOver(signal)) await pause(200, signal);
      await victim.kill();
      audit.run();
      if (dice.chance(0.05)) await pause(dice.between(0, 3000), signal);
    }
  }

  /** Tells how it goes; resolves when the run has what was asked for, or its time is over, with what is missing. */
  async #watch(
    sufferers: readonly Sufferer[],
    subscriber: Subscriber,
    broker: Broker,
  ): Promise<readonly string[]> {
    const { kills, partitions, observations, minutes } = this.#options;
    const sound = sufferers.filter(({ victim }) => victim.plant === null);
    const [first] = sufferers;
    const sum = (of: (sufferer: Sufferer) => number): number =>
      sound.reduce((total, one) => total + of(one), 0);
    let nextTellMs = TELL_EVERY_MS;
    for (;;) {
      const now = {
        kills: first?.victim.kills ?? 0,
        partitions: this.counts.partitions,
        observations: first?.audit.observations ?? 0,
      };
      const wanted = { kills, partitions, observations };
      const missed = Object.entries(now).filter(([what, have]) => have < wanted[what as keyof typeof wanted]);
      if (missed.length === 0) return [];
      const elapsedMs = performance.now() - this.#startedMs;
      if (elapsedMs > minutes * 60_000)
        return missed.map(([what, have]) => `${what}: ${have} of ${wanted[what as keyof typeof wanted]}`);
      if (elapsedMs > nextTellMs) {
        nextTellMs += TELL_EVERY_MS;
        this.#tell(
          `${this.#seconds()} s: ${sum(({ victim }) => victim.kills)} kills, ${now.partitions} partitions, broker ended ${broker.kills + broker.stops} times, ` +
            `${sum(({ audit }) => audit.observations)} observations, ${sum(({ audit }) => audit.queued)} waiting, ` +
            `${Math.round(subscriber.bytes / 1e6)} MB received, ${sum(({ audit }) => audit.faults.size + audit.losses.length)} faults`,
        );
      }
      await pause(200);
    }
  }

  /** Calm weather: everything that is stored must arrive. */
  async #drain(sufferers: readonly Sufferer[], subscriber: Subscriber): Promise<void> {
    for (const { victim } of sufferers) victim.start(true);
    const queued = (): number => sufferers.reduce((sum, { victim }) => sum + depthOf(victim.database), 0);
    let best = { waiting: queued(), sinceMs: performance.now() };
    let toldMs = performance.now();
    while (best.waiting > 0 && performance.now() - best.sinceMs < STUCK_MS) {
      await pause(300);
      const waiting = queued();
      if (waiting < best.waiting) best = { waiting, sinceMs: performance.now() };
      if (performance.now() - toldMs < TELL_EVERY_MS) continue;
      toldMs = performance.now();
      this.#tell(`${this.#seconds()} s: the weather is calm, ${waiting} waiting`);
    }
    await subscriber.quiet(2000, 60_000);
    for (const { victim } of sufferers) await victim.stop();
    await subscriber.quiet(2000, 60_000);
  }

  async #report({ victim, audit }: Sufferer, received: string, witness: Witness): Promise<VictimReport> {
    audit.run();
    const verdict = await judge(victim.name, victim.database, received, witness.ledger.acked);
    const losses = audit.losses.length;
    const overtaken = witness.ledger.overtaken.filter(({ device }) => device === victim.name);
    const sentOutOfOrder = overtaken.map(({ key }) => key);
    // A broker without the witness's help may forget: that is told, and is no fault of the device.
    const excused = this.#options.broker === 'plain' ? { ...verdict, lostByBroker: [] } : verdict;
    return {
      name: victim.name,
      kind: victim.kind,
      plant: victim.plant,
      kills: victim.kills,
      checks: audit.checks,
      verdict,
      deletedUnacknowledged: losses,
      sentOutOfOrder,
      faults: [
        ...(losses > 0 ? [`${losses} taken out of the outbox without an acknowledgement`] : []),
        ...(sentOutOfOrder.length > 0
          ? [`${sentOutOfOrder.length} sent out of order: ${sentOutOfOrder.slice(0, 5).join(', ')}`]
          : []),
        ...faultsOf(excused),
        ...audit.faults,
        ...victim.crashes,
      ],
    };
  }

  #seconds(): number {
    return Math.round((performance.now() - this.#startedMs) / 1000);
  }
}

/** Whether the copies of the databases can lie in memory. */
function roomInMemory(): boolean {
  if (!existsSync('/dev/shm')) return false;
  const { bavail, bsize } = statfsSync('/dev/shm');
  return bavail * bsize > SCRATCH_BYTES;
}

/** Messages that wait in a device's outbox, read beside the running device. */
function depthOf(database: string): number {
  try {
    const db = new Database(database, { readonly: true });
    try {
      return db.prepare<[], { n: number }>('SELECT count(*) AS n FROM outbox').get()?.n ?? 0;
    } finally {
      db.close();
    }
  } catch {
    // Killed before it had made its tables, and not yet up again.
    return 1;
  }
}
