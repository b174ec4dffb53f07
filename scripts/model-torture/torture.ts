import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SlotsState } from '../../src/model/types.ts';
import { Dice } from '../torture/random.ts';
import { Agent } from './agent.ts';
import { offer, type Offer, type Offered } from './offer.ts';

export interface ModelTortureOptions {
  readonly seed: number;
  readonly kills: number;
  /** Longest life of an agent that is back, ms. */
  readonly lifeMs: number;
}

export interface ModelTortureReport {
  readonly seed: number;
  readonly kills: number;
  /** In which phase of an install the kills came; `none` between installs. */
  readonly killsByPhase: Readonly<Record<string, number>>;
  /** How the installs ended that were seen to end. */
  readonly ends: Readonly<Record<string, number>>;
  readonly requested: number;
  /** From the start of the program to the first answer of a model, ms. */
  readonly backMs: { readonly p50: number | null; readonly max: number | null };
  readonly faults: readonly string[];
}

const BACK_WITHIN_MS = 90_000;
const END_WITHIN_MS = 240_000;
const ENDS: readonly string[] = ['committed', 'failed', 'rolled_back'];
/** So many lives end before the agent is back. */
const EARLY_SHARE = 0.25;
const EARLY_MS = 2000;

/** Installs under kills of everything, and what is found after each start. */
export class ModelTorture {
  readonly #options: ModelTortureOptions;
  readonly #dice: Dice;
  readonly #tell: (line: string) => void;
  readonly #dir = mkdtempSync(join(tmpdir(), 'swellsight-models-'));
  readonly #faults: string[] = [];
  readonly #killsByPhase: Record<string, number> = {};
  readonly #ends = new Map<string, string>();
  readonly #backMs: number[] = [];
  #agent: Agent | null = null;
  #offer: Offer | null = null;
  #requested = 0;

  constructor(options: ModelTortureOptions, deps: { readonly tell: (line: string) => void }) {
    this.#options = options;
    this.#dice = new Dice(options.seed, 'models');
    this.#tell = deps.tell;
  }

  async run(): Promise<ModelTortureReport> {
    const { seed, kills, lifeMs } = this.#options;
    const offered = await offer(this.#dir);
    this.#offer = offered;
    const agent = await Agent.prepare(this.#dir, offered);
    this.#agent = agent;
    for (let kill = 0; kill < kills; kill += 1) {
      agent.start();
      // The first life must be long enough for something to be in hand.
      if (kill > 0 && this.#dice.chance(EARLY_SHARE)) await delay(this.#dice.between(0, EARLY_MS));
      else {
        await this.#isBack(agent, offered, `start ${String(kill + 1)}`);
        await this.#keepBusy(agent, offered);
        await delay(this.#dice.between(0, lifeMs));
      }
      await this.#killOnce(agent, offered, kill);
    }
    agent.start();
    await this.#isBack(agent, offered, 'the last start');
    await this.#endsWell(agent, offered);
    this.#backMs.sort((a, b) => a - b);
    return {
      seed,
      kills,
      killsByPhase: this.#killsByPhase,
      ends: count([...this.#ends.values()]),
      requested: this.#requested,
      backMs: {
        p50: this.#backMs[Math.floor(this.#backMs.length / 2)] ?? null,
        max: this.#backMs.at(-1) ?? null,
      },
      faults: this.#faults,
    };
  }

  /** Must be called in the end, whatever became of the run. */
  async cleanUp(): Promise<void> {
    await this.#agent?.kill();
    await this.#offer?.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #killOnce(agent: Agent, offered: Offer, kill: number): Promise<void> {
    if (!(await agent.kill())) this.#fault(`the agent ended by itself:\n${agent.tail()}`);
    const slots = this.#slotsOf(agent);
    const install = slots?.install ?? null;
    const phase = install === null || ENDS.includes(install.phase) ? 'none' : install.phase;
    this.#killsByPhase[phase] = (this.#killsByPhase[phase] ?? 0) + 1;
    if (slots !== null) this.#judge(slots, offered, `after kill ${String(kill + 1)}`);
    if ((kill + 1) % 20 === 0) this.#tell(`${String(kill + 1)} kills: ${JSON.stringify(this.#killsByPhase)}`);
  }

  /** What is on the disk names models that may serve. */
  #judge(slots: SlotsState, { models }: Offer, when: string): void {
    for (const slot of ['active', 'previous'] as const) {
      const model = models.find(({ digest }) => digest === slots[slot]?.digest);
      if (model?.good === false) this.#fault(`${when}: ${model.name} is ${slot}`);
    }
    const { install } = slots;
    if (install === null) return;
    if (install.phase === 'probation' && slots.active?.digest !== install.candidate?.digest)
      this.#fault(`${when}: the model on probation is not the active one`);
    if (ENDS.includes(install.phase)) this.#ends.set(install.updateId, endOf(install));
  }

  #slotsOf(agent: Agent): SlotsState | null {
    try {
      return agent.slots();
    } catch (error) {
      this.#fault(`the slots cannot be read: ${String(error)}`);
      return null;
    }
  }

  /** A model serves that may, answers, and is the one that the slots name. */
  async #isBack(agent: Agent, { models }: Offer, when: string): Promise<void> {
    const startedMs = Date.now();
    for (;;) {
      const observation = await agent.answered(startedMs);
      if (observation?.model) {
        this.#backMs.push(Date.now() - startedMs);
        const { name, digest } = observation.model;
        const model = models.find((one) => one.digest === digest);
        const isFactory = model === undefined && name === 'swellsight-factory';
        if (!isFactory && model?.good !== true) this.#fault(`${when}: ${name} ${digest} answers`);
        return;
      }
      if (Date.now() - startedMs > BACK_WITHIN_MS) {
        this.#fault(`${when}: no answer within ${String(BACK_WITHIN_MS / 1000)} s\n${agent.tail()}`);
        return;
      }
      await delay(100);
    }
  }

  /** Asks for another model when none is being installed. */
  async #keepBusy(agent: Agent, { models }: Offer): Promise<void> {
    const state = await agent.models();
    const install = state?.install ?? null;
    if (install !== null && !ENDS.includes(install.phase)) return;
    const others = models.filter(({ digest }) => digest !== state?.active?.digest);
    const [first, ...rest] = others;
    if (first !== undefined) await this.#ask(agent, this.#dice.pick<Offered>([first, ...rest]));
  }

  async #ask(agent: Agent, model: Offered): Promise<void> {
    const status = await agent.install(model);
    if (status === 202) this.#requested += 1;
    else if (status !== 409)
      this.#fault(`${model.name} ${model.version} was answered with ${String(status)}`);
  }

  /** Left alone, what is in hand comes to its end, and another install succeeds. */
  async #endsWell(agent: Agent, offered: Offer): Promise<void> {
    await this.#end(agent, offered);
    const active = agent.slots()?.active?.digest;
    const next = offered.models.find(({ good, digest }) => good && digest !== active);
    if (next === undefined) return;
    await this.#ask(agent, next);
    const slots = await this.#end(agent, offered);
    if (slots?.active?.digest !== next.digest || slots.install?.phase !== 'committed')
      this.#fault(
        `the last install ended ${String(slots?.install?.phase)} (${String(slots?.install?.reason?.code)})`,
      );
  }

  async #end(agent: Agent, offered: Offer): Promise<SlotsState | null> {
    const endMs = Date.now() + END_WITHIN_MS;
    for (;;) {
      const slots = this.#slotsOf(agent);
      if (slots?.install === null || slots?.install === undefined || ENDS.includes(slots.install.phase)) {
        if (slots !== null) this.#judge(slots, offered, 'in the end');
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
    this.#tell(`FAULT ${fault}`);
  }
}

const endOf = ({ phase, reason }: NonNullable<SlotsState['install']>): string =>
  phase === 'committed' ? phase : `${phase} ${reason?.code ?? ''}`;

function count(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
