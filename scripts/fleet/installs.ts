import { isoTime, type Clock } from '../../src/base/clock.ts';
import type { ModelInstallArgs } from '../../src/contract/model.ts';
import type { ModelState } from '../../src/contract/states.ts';
import { updateIdOf } from '../../src/contract/model.ts';
import type { CommandPacket, Link } from '../../src/mqtt/types.ts';
import { MODEL_STATE } from './messages.ts';

export interface InstallsOptions {
  /** How long each phase takes, ms. */
  readonly phaseMs: number;
  /** The code with which this device refuses every new model; null for a good one. */
  readonly failsWith: string | null;
}

const PHASES = ['downloading', 'verifying', 'testing', 'shadow', 'probation'] as const;

/** Answers commands, and publishes the states of installs and rollbacks as an agent does, without a model. */
export class SimulatedInstalls {
  readonly #options: InstallsOptions;
  readonly #link: Link;
  readonly #clock: Clock;
  /** The result by command id; null while the install is in progress. */
  readonly #results = new Map<string, object | null>();
  #state: ModelState = MODEL_STATE;

  constructor(options: InstallsOptions, deps: { readonly link: Link; readonly clock: Clock }) {
    this.#options = options;
    this.#link = deps.link;
    this.#clock = deps.clock;
  }

  /** Installs started so far; a repeated command starts none. */
  startedCount = 0;
  /** Other commands that ran, in their order. */
  readonly ran: string[] = [];

  receive(name: string, packet: CommandPacket, signal: AbortSignal): void {
    const { id, args } = JSON.parse(Buffer.from(packet.payload).toString()) as {
      id: string;
      args: ModelInstallArgs;
    };
    const result = this.#results.get(id);
    this.#publishAnswer(name, {
      id,
      status: 'accepted',
      reason: null,
      ...(result === undefined ? {} : { duplicate: true }),
    });
    if (result) this.#publishAnswer(name, { ...result, duplicate: true });
    if (result !== undefined) return;
    this.#results.set(id, null);
    const running = name === 'model.install' ? this.#install(id, args, signal) : this.#run(name, id, signal);
    void running.catch(() => undefined);
  }

  async #run(name: string, id: string, signal: AbortSignal): Promise<void> {
    const { phaseMs, failsWith } = this.#options;
    this.ran.push(name);
    await this.#clock.sleep(phaseMs, signal);
    if (name === 'model.rollback' && failsWith === null) {
      this.#state = { ...this.#state, active: MODEL_STATE.active, phase: 'committed' };
      this.#link.setState('model/state', this.#state);
    }
    const error = { code: failsWith ?? '', message: 'this device is simulated to fail' };
    const outcome = failsWith === null ? { status: 'succeeded', result: {} } : { status: 'failed', error };
    const answer = { id, ...outcome, duration_ms: phaseMs };
    this.#results.set(id, answer);
    this.#publishAnswer(name, answer);
  }

  async #install(id: string, { name, version }: ModelInstallArgs, signal: AbortSignal): Promise<void> {
    const { phaseMs, failsWith } = this.#options;
    this.startedCount += 1;
    const startedMonoMs = this.#clock.monoMs();
    const candidate = { name, version, digest: `sha256:${'1'.repeat(64)}` };
    const previous = this.#state.active;
    const finish = (outcome: object): void => {
      const answer = { id, ...outcome, duration_ms: Math.round(this.#clock.monoMs() - startedMonoMs) };
      this.#results.set(id, answer);
      this.#publishAnswer('model.install', answer);
    };
    const publishPhase = (phase: string, more: Partial<NonNullable<ModelState['install']>> = {}): void => {
      const at = isoTime(this.#clock.nowMs());
      const install = {
        update_id: updateIdOf(id),
        name,
        version,
        source: 'repository' as const,
        phase: phase as NonNullable<ModelState['install']>['phase'],
        in_progress: !['probation', 'committed', 'failed'].includes(phase),
        reason: null,
        bytes: 1,
        total_bytes: 1,
        percent: null,
        started_at: at,
        at,
        candidate,
        trusted: true,
        shadow: null,
        probation: null,
        ...more,
      };
      const isServing = phase === 'probation' || phase === 'committed';
      this.#state = { ...this.#state, active: isServing ? candidate : previous, phase, install };
      this.#link.setState('model/state', this.#state);
    };
    for (const phase of PHASES) {
      publishPhase(phase);
      await this.#clock.sleep(phaseMs, signal);
      if (phase === 'testing' && failsWith !== null) {
        const reason = { code: failsWith, message: 'this device is simulated to fail' };
        publishPhase('failed', { reason });
        finish({ status: 'failed', error: reason });
        return;
      }
    }
    finish({
      status: 'succeeded',
      result: { update_id: updateIdOf(id), phase: 'probation', model: candidate, shadow: null },
    });
    publishPhase('committed');
  }

  #publishAnswer(name: string, message: object): void {
    void this.#link
      .publish(`cmdres/${name}`, JSON.stringify(message), { qos: 1, retain: false })
      .catch(() => undefined);
  }
}
