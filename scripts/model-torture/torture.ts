import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SlotsState } from '../../src/model/types.ts';
import { SeededRandom } from '../torture/random.ts';
import { Agent } from './agent.ts';
import { serveSignedRepository, type OfferedModel, type Repository } from './repository.ts';

export interface ModelTortureOptions {
  readonly seed: number;
  readonly kills: number;
  /** Longest time between a successful start and the kill, ms. */
  readonly lifeMs: number;
}

export interface ModelTortureReport {
  readonly seed: number;
  readonly kills: number;
  /** Number of kills by the phase of the install; `none` is between installs. */
  readonly killsByPhase: Readonly<Record<string, number>>;
  /** Observed ends of installs. */
  readonly ends: Readonly<Record<string, number>>;
  readonly requested: number;
  /** From the start of the program to the first analyzed observation, ms. */
  readonly recoveryMs: { readonly p50: number | null; readonly max: number | null };
  readonly faults: readonly string[];
}

const MAX_RECOVERY_MS = 90_000;
const MAX_INSTALL_MS = 240_000;
const FINAL_PHASES: readonly string[] = ['committed', 'failed', 'rolled_back'];
/** This share of the kills comes during the start of the agent. */
const EARLY_KILL_SHARE01 = 0.25;
const MAX_EARLY_KILL_MS = 2000;

/** Kills the agent during installs and checks the state after each start. */
export class ModelTorture {
  readonly #options: ModelTortureOptions;
  readonly #dice: SeededRandom;
  readonly #print: (line: string) => void;
  readonly #dir = mkdtempSync(join(tmpdir(), 'swellsight-models-'));
  readonly #faults: string[] = [];
  readonly #killsByPhase: Record<string, number> = {};
  readonly #ends = new Map<string, string>();
  readonly #recoveryMs: number[] = [];
  #agent: Agent | null = null;
  #repository: Repository | null = null;
  #requested = 0;

  constructor(options: ModelTortureOptions, deps: { readonly print: (line: string) => void }) {
    this.#options = options;
    this.#dice = new SeededRandom(options.seed, 'models');
    this.#print = deps.print;
  }

  async run(): Promise<ModelTortureReport> {
    const { seed, kills, lifeMs } = this.#options;
    const repository = await serveSignedRepository(this.#dir);
    this.#repository = repository;
    const agent = await Agent.prepare(this.#dir, repository);
    this.#agent = agent;
    for (let kill = 0; kill < kills; kill += 1) {
      agent.start();
      // The first run must be long enough to begin an install.
      if (kill > 0 && this.#dice.chance(EARLY_KILL_SHARE01))
        await delay(this.#dice.between(0, MAX_EARLY_KILL_MS));
      else {
        await this.#waitForRecovery(agent, repository, `start ${String(kill + 1)}`);
        await this.#keepInstalling(agent, repository);
        await delay(this.#dice.between(0, lifeMs));
      }
      await this.#killOnce(agent, repository, kill);
    }
    agent.start();
    await this.#waitForRecovery(agent, repository, 'the last start');
    await this.#completeInstalls(agent, repository);
    this.#recoveryMs.sort((a, b) => a - b);
    return {
      seed,
      kills,
      killsByPhase: this.#killsByPhase,
      ends: countValues([...this.#ends.values()]),
      requested: this.#requested,
      recoveryMs: {
        p50: this.#recoveryMs[Math.floor(this.#recoveryMs.length / 2)] ?? null,
        max: this.#recoveryMs.at(-1) ?? null,
      },
      faults: this.#faults,
    };
  }

  /** Call it after `run`, also when `run` has failed. */
  async cleanUp(): Promise<void> {
    await this.#agent?.kill();
    await this.#repository?.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #killOnce(agent: Agent, repository: Repository, kill: number): Promise<void> {
    if (!(await agent.kill())) this.#fault(`the agent ended before the kill:\n${agent.tail()}`);
    const slots = this.#slotsOf(agent);
    const install = slots?.install ?? null;
    const phase = install === null || FINAL_PHASES.includes(install.phase) ? 'none' : install.phase;
    this.#killsByPhase[phase] = (this.#killsByPhase[phase] ?? 0) + 1;
    if (slots !== null) this.#checkSlots(slots, repository, `after kill ${String(kill + 1)}`);
    if ((kill + 1) % 20 === 0)
      this.#print(`${String(kill + 1)} kills: ${JSON.stringify(this.#killsByPhase)}`);
  }

  /** The stored slots must name only good models. */
  #checkSlots(slots: SlotsState, { models }: Repository, when: string): void {
    for (const slot of ['active', 'previous'] as const) {
      const model = models.find(({ digest }) => digest === slots[slot]?.digest);
      if (model?.isGood === false) this.#fault(`${when}: ${model.name} is ${slot}`);
    }
    const { install } = slots;
    if (install === null) return;
    if (install.phase === 'probation' && slots.active?.digest !== install.candidate?.digest)
      this.#fault(`${when}: the model on probation is not the active one`);
    if (FINAL_PHASES.includes(install.phase)) this.#ends.set(install.updateId, describeEnd(install));
  }

  #slotsOf(agent: Agent): SlotsState | null {
    try {
      return agent.slots();
    } catch (error) {
      this.#fault(`the slots cannot be read: ${String(error)}`);
      return null;
    }
  }

  /** Waits for the first analyzed observation and checks that its model is good. */
  async #waitForRecovery(agent: Agent, { models }: Repository, when: string): Promise<void> {
    const startedMs = Date.now();
    for (;;) {
      const observation = await agent.observationSince(startedMs);
      if (observation?.model) {
        this.#recoveryMs.push(Date.now() - startedMs);
        const { name, digest } = observation.model;
        const model = models.find((one) => one.digest === digest);
        const isFactory = model === undefined && name === 'swellsight-factory';
        if (!isFactory && model?.isGood !== true) this.#fault(`${when}: ${name} ${digest} serves`);
        return;
      }
      if (Date.now() - startedMs > MAX_RECOVERY_MS) {
        this.#fault(
          `${when}: no analyzed observation within ${String(MAX_RECOVERY_MS / 1000)} s\n${agent.tail()}`,
        );
        return;
      }
      await delay(100);
    }
  }

  /** Requests another model when no install is running. */
  async #keepInstalling(agent: Agent, { models }: Repository): Promise<void> {
    const state = await agent.modelState();
    const install = state?.install ?? null;
    if (install !== null && !FINAL_PHASES.includes(install.phase)) return;
    const others = models.filter(({ digest }) => digest !== state?.active?.digest);
    const [first, ...rest] = others;
    if (first !== undefined)
      await this.#requestInstall(agent, this.#dice.pick<OfferedModel>([first, ...rest]));
  }

  async #requestInstall(agent: Agent, model: OfferedModel): Promise<void> {
    const status = await agent.install(model);
    if (status === 202) this.#requested += 1;
    else if (status !== 409)
      this.#fault(`${model.name} ${model.version} was refused with status ${String(status)}`);
  }

  /** Without kills the current install must end, and another install must succeed. */
  async #completeInstalls(agent: Agent, repository: Repository): Promise<void> {
    await this.#waitForEnd(agent, repository);
    const active = agent.slots()?.active?.digest;
    const next = repository.models.find(({ isGood, digest }) => isGood && digest !== active);
    if (next === undefined) return;
    await this.#requestInstall(agent, next);
    const slots = await this.#waitForEnd(agent, repository);
    if (slots?.active?.digest !== next.digest || slots.install?.phase !== 'committed')
      this.#fault(
        `the last install ended ${String(slots?.install?.phase)} (${String(slots?.install?.reason?.code)})`,
      );
  }

  async #waitForEnd(agent: Agent, repository: Repository): Promise<SlotsState | null> {
    const endMs = Date.now() + MAX_INSTALL_MS;
    for (;;) {
      const slots = this.#slotsOf(agent);
      if (
        slots?.install === null ||
        slots?.install === undefined ||
        FINAL_PHASES.includes(slots.install.phase)
      ) {
        if (slots !== null) this.#checkSlots(slots, repository, 'after the last install');
        return slots;
      }
      if (Date.now() > endMs) {
        this.#fault(`the install is still ${slots.install.phase}\n${agent.tail()}`);
        return slots;
      }
      await delay(200);
    }
  }

  #fault(fault: string): void {
    this.#faults.push(fault);
    this.#print(`FAULT ${fault}`);
  }
}

const describeEnd = ({ phase, reason }: NonNullable<SlotsState['install']>): string =>
  phase === 'committed' ? phase : `${phase} ${reason?.code ?? ''}`;

function countValues(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
