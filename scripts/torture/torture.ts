import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Audit } from './audit.ts';
import { Broker } from './broker.ts';
import { brokerChaos, networkChaos, type Counts } from './chaos.ts';
import { UNIMPAIRED, LoopbackNetwork, openNetwork } from './network.ts';
import { makeImageDirectories } from './images.ts';
import { SeededRandom } from './random.ts';
import { Subscriber } from './subscriber.ts';
import type { TortureOptions, TortureReport, TargetReport } from './types.ts';
import { faultsOf, judge } from './verdict.ts';
import { Target } from './target.ts';
import { isOver, pause } from './wait.ts';
import { RecordingProxy } from './recording-proxy.ts';

/** After this time without progress, the drain ends. */
const STUCK_MS = 90_000;
const SCRATCH_BYTES = 2 ** 30;
const PROGRESS_INTERVAL_MS = 10_000;
const CAMERAS_PER_DEVICE = 6;

interface AuditedTarget {
  readonly target: Target;
  readonly audit: Audit;
}

/** One run, from an empty directory to the report. Removes everything that it created at its end and on a signal. */
export class Torture {
  readonly counts: Counts = { partitions: 0, longPartitions: 0, impairments: 0 };
  readonly #options: TortureOptions;
  readonly #printProgress: (line: string) => void;
  readonly #dir = mkdtempSync(join(tmpdir(), 'swellsight-torture-'));
  readonly #cleanUps: (() => void)[] = [];
  readonly #startedMs = performance.now();

  constructor(options: TortureOptions, deps: { readonly printProgress: (line: string) => void }) {
    this.#options = options;
    this.#printProgress = deps.printProgress;
    this.#cleanUps.push(() => rmSync(this.#dir, { recursive: true, force: true, maxRetries: 10 }));
  }

  /** Kills all processes and removes all files. Synchronous and idempotent, for use in an exit handler. */
  cleanUp(): void {
    for (const cleanUp of this.#cleanUps.splice(0).reverse())
      try {
        cleanUp();
      } catch (error) {
        this.#printProgress(`clean-up failed: ${String(error)}`);
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
    const proxy = await RecordingProxy.open({ host: network.host, brokerPort: broker.port, save });
    this.#cleanUps.push(() => proxy.close());
    network.proxy = proxy;
    const audited = this.#makeTargets(proxy, network.prefix);
    this.#printProgress(
      `seed ${seed}; ${network.kind}; ${kind} broker; ${audited.map(({ target }) => target.name).join(', ')}`,
    );

    const over = new AbortController();
    const hold = { agents: false };
    const deps = { network, random: new SeededRandom(seed, 'network'), counts: this.counts, brief };
    const chaos = [
      networkChaos(deps, hold, over.signal),
      brokerChaos(broker, new SeededRandom(seed, 'broker'), brief, over.signal),
      ...audited.map((one) => this.#killRepeatedly(one, hold, over.signal)),
    ];
    // An error in one part ends the run.
    const failed = Promise.race(chaos.map((part) => part.then(() => new Promise<never>(() => undefined))));
    const missed = await Promise.race([failed, this.#watch(audited, subscriber, broker)]);
    over.abort();
    await Promise.all(chaos);
    const seconds = this.#seconds();

    network.set(UNIMPAIRED);
    if (!broker.running) await broker.up();
    await this.#drain(audited, subscriber);
    const targets: TargetReport[] = [];
    for (const one of audited) targets.push(await this.#report(one, subscriber.file, proxy));
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
      deviceConnections: proxy.connections,
      targets,
      missed,
    };
  }

  #makeTargets(proxy: RecordingProxy, prefix: readonly string[]): readonly AuditedTarget[] {
    const { agentCameras, plants, brief } = this.#options;
    const dir = this.#dir;
    const url = `mqtt://${proxy.address}`;
    const scratch = hasRoomInMemory() ? mkdtempSync('/dev/shm/swellsight-torture-') : join(dir, 'scratch');
    mkdirSync(scratch, { recursive: true });
    this.#cleanUps.push(() => rmSync(scratch, { recursive: true, force: true }));
    const targets = [
      ...(agentCameras > 0
        ? [
            Target.agent(
              { name: 'agent', dir, url, prefix },
              { cameras: agentCameras, imageDirs: makeImageDirectories(dir) },
            ),
          ]
        : []),
      Target.device({ name: 'device', dir, url, prefix }, { cameras: CAMERAS_PER_DEVICE, everyMs: 300 }),
      ...plants.map((plant) =>
        Target.device(
          { name: plant, dir, url, prefix },
          { cameras: CAMERAS_PER_DEVICE, everyMs: 150, plant },
        ),
      ),
    ];
    return targets.map((target) => {
      this.#cleanUps.push(() => target.killNow());
      const { database } = target;
      const check = brief ? 'quick_check' : 'integrity_check';
      return { target, audit: new Audit({ database, scratch, check, acked: proxy.ledger.acked }) };
    });
  }

  /** Starts the target, kills it and audits its database, until the signal fires. */
  async #killRepeatedly(
    { target, audit }: AuditedTarget,
    hold: { agents: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const random = new SeededRandom(this.#options.seed, target.name);
    const startMs = target.kind === 'agent' ? 1500 : 300;
    // To detect a planted fault, a device needs working time rather than kills.
    const scale = target.plant === null ? 1 : 3;
    while (!isOver(signal)) {
      target.start();
      // Some kills interrupt the start, most hit a working process, some a process that ran for longer.
      const early = random.chance(0.15);
      const lifeMs = early
        ? random.between(0, 2 * startMs)
        : scale * (random.chance(0.93) ? random.between(0, 4000) : random.between(4000, 15_000));
      if (!early) await target.waitForRecord(signal);
      await pause(lifeMs, signal);
      while (target.kind === 'agent' && hold.agents && !isOver(signal)) await pause(200, signal);
      await target.kill();
      audit.run();
      if (random.chance(0.05)) await pause(random.between(0, 3000), signal);
    }
  }

  /** Prints progress. Resolves when the goals are reached or the time is over; returns the goals that were missed. */
  async #watch(
    audited: readonly AuditedTarget[],
    subscriber: Subscriber,
    broker: Broker,
  ): Promise<readonly string[]> {
    const { kills, partitions, observations, minutes } = this.#options;
    const sound = audited.filter(({ target }) => target.plant === null);
    const [first] = audited;
    const sum = (of: (one: AuditedTarget) => number): number =>
      sound.reduce((total, one) => total + of(one), 0);
    let nextProgressMs = PROGRESS_INTERVAL_MS;
    for (;;) {
      const now = {
        kills: first?.target.kills ?? 0,
        partitions: this.counts.partitions,
        observations: first?.audit.observations ?? 0,
      };
      const wanted = { kills, partitions, observations };
      const missed = Object.entries(now).filter(([goal, have]) => have < wanted[goal as keyof typeof wanted]);
      if (missed.length === 0) return [];
      const elapsedMs = performance.now() - this.#startedMs;
      if (elapsedMs > minutes * 60_000)
        return missed.map(([goal, have]) => `${goal}: ${have} of ${wanted[goal as keyof typeof wanted]}`);
      if (elapsedMs > nextProgressMs) {
        nextProgressMs += PROGRESS_INTERVAL_MS;
        this.#printProgress(
          `${this.#seconds()} s: ${sum(({ target }) => target.kills)} kills, ${now.partitions} partitions, broker ended ${broker.kills + broker.stops} times, ` +
            `${sum(({ audit }) => audit.observations)} observations, ${sum(({ audit }) => audit.queued)} waiting, ` +
            `${Math.round(subscriber.bytes / 1e6)} MB received, ${sum(({ audit }) => audit.faults.size + audit.losses.length)} faults`,
        );
      }
      await pause(200);
    }
  }

  /** Without network faults, everything that is stored must arrive. */
  async #drain(audited: readonly AuditedTarget[], subscriber: Subscriber): Promise<void> {
    for (const { target } of audited) target.start(true);
    const queued = (): number => audited.reduce((sum, { audit }) => sum + audit.depth(), 0);
    let best = { waiting: queued(), sinceMs: performance.now() };
    let printedMs = performance.now();
    while (best.waiting > 0 && performance.now() - best.sinceMs < STUCK_MS) {
      await pause(300);
      const waiting = queued();
      if (waiting < best.waiting) best = { waiting, sinceMs: performance.now() };
      if (performance.now() - printedMs < PROGRESS_INTERVAL_MS) continue;
      printedMs = performance.now();
      this.#printProgress(`${this.#seconds()} s: draining, ${waiting} waiting`);
    }
    await subscriber.waitForQuiet(2000, 60_000);
    for (const { target } of audited) await target.stop();
    await subscriber.waitForQuiet(2000, 60_000);
  }

  async #report(
    { target, audit }: AuditedTarget,
    received: string,
    proxy: RecordingProxy,
  ): Promise<TargetReport> {
    audit.run();
    const verdict = await judge(target.name, target.database, received, proxy.ledger.acked);
    const losses = audit.losses.length;
    const reordered = proxy.ledger.reordered.filter(({ device }) => device === target.name);
    const sentOutOfOrder = reordered.map(({ key }) => key);
    // Without delayed acknowledgements, mosquitto may lose messages. The report shows that, but not as a device fault.
    const excused = this.#options.broker === 'plain' ? { ...verdict, lostByBroker: [] } : verdict;
    return {
      name: target.name,
      kind: target.kind,
      plant: target.plant,
      kills: target.kills,
      checks: audit.checks,
      verdict,
      deletedUnacknowledged: losses,
      sentOutOfOrder,
      faults: [
        ...(losses > 0 ? [`${losses} deleted from the outbox without an acknowledgement`] : []),
        ...(sentOutOfOrder.length > 0
          ? [`${sentOutOfOrder.length} sent out of order: ${sentOutOfOrder.slice(0, 5).join(', ')}`]
          : []),
        ...faultsOf(excused),
        ...audit.faults,
        ...target.crashes,
      ],
    };
  }

  #seconds(): number {
    return Math.round((performance.now() - this.#startedMs) / 1000);
  }
}

/** Whether /dev/shm can hold the copies of the databases. */
function hasRoomInMemory(): boolean {
  if (!existsSync('/dev/shm')) return false;
  const { bavail, bsize } = statfsSync('/dev/shm');
  return bavail * bsize > SCRATCH_BYTES;
}
