import type { Clock } from '../base/clock.ts';
import type { Settings } from '../config/schema.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Candidate } from '../model/types.ts';
import type { KeyValue } from '../store/types.ts';
import { VisionProcess } from '../vision/client.ts';
import type { PlanSource } from '../vision/client-options.ts';
import type { Hardware } from '../vision/hardware/hardware.ts';
import type { FrameOptions, FrameResult, ProviderReport, VisionStats } from '../vision/protocol.ts';
import { ProviderLadder } from '../vision/providers/select-provider.ts';
import { memoryForCandidate } from './memory-budget.ts';
import { patientTrials } from './patient-trials.ts';

export interface CandidateDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly memory: KeyValue;
  readonly hardware: Promise<Hardware>;
  /** Memory that could still be had, MiB; the system's own word unless told otherwise. */
  readonly freeMemoryMb?: () => Promise<number>;
}

/** Which provider is being tried. */
export interface ProofStep {
  readonly provider: string;
  readonly threads: number;
}

/** A third of the CPU time of what serves, where both want it: live frames hardly wait, and the trial comes to an end. */
const NICENESS = 5;
/** It waits for the CPU more than one that serves. */
const PATIENCE = 2;
const OPEN_TIMEOUT_S = 300;
const MAX_QUEUE = 8;

/** A model that was proved in a process that stands behind the serving one. */
export class ProvedCandidate implements Candidate {
  readonly bundle: Bundle;
  /** With what was found for it: the process that is to serve starts with that. */
  readonly plans: PlanSource;
  readonly #process: VisionProcess;
  readonly #report: ProviderReport;

  constructor(bundle: Bundle, plans: PlanSource, process: VisionProcess, report: ProviderReport) {
    this.bundle = bundle;
    this.plans = plans;
    this.#process = process;
    this.#report = report;
  }

  get report(): ProviderReport {
    return this.#process.report ?? this.#report;
  }

  get pid(): number | null {
    return this.#process.pid;
  }

  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    return this.#process.analyze(bytes, options, signal);
  }

  stats(): VisionStats {
    return this.#process.stats();
  }

  close(): Promise<void> {
    return this.#process.close();
  }
}

/**
 * Tries every provider that the machine has, each in a process of its own, and opens the model on the best one: all with
 * low priority and within the memory that is free now. Rejects with `model_out_of_memory`, `model_golden_mismatch`,
 * `model_requires`, `model_manifest_invalid`, `provider_unavailable`, or `model_candidate_failed` with the cause; and
 * with the signal's reason.
 */
export async function proveCandidate(
  bundle: Bundle,
  inference: Settings['inference'],
  deps: CandidateDeps,
  signal: AbortSignal,
  onStep: (step: ProofStep) => void = () => undefined,
): Promise<ProvedCandidate> {
  const { clock, log, memory } = deps;
  const spareMb = await memoryForCandidate(bundle, deps.freeMemoryMb);
  const processLimits = { niceness: NICENESS, hardRssMb: spareMb };
  const run = patientTrials({
    timeoutS: inference.timeoutS,
    maxRssMb: Math.min(inference.maxRssMb, spareMb),
    processLimits,
  });
  const ladder = new ProviderLadder(
    { bundle, inference, hardware: await deps.hardware },
    {
      memory,
      clock,
      log,
      trial: (request, aborted) => {
        onStep({ provider: request.provider, threads: request.threads });
        return run(request, aborted);
      },
    },
  );
  try {
    const first = await ladder.first(signal);
    const plan = (await ladder.explore(signal)) ?? first;
    const { timeoutS, maxRssMb } = inference;
    const process = new VisionProcess(
      {
        bundle,
        plan,
        timeoutS: PATIENCE * timeoutS,
        openTimeoutS: OPEN_TIMEOUT_S,
        maxRssMb,
        queueMax: MAX_QUEUE,
        processLimits,
      },
      {
        clock,
        log,
        ladder,
        onEvent: (event) => log.info({ ...event, digest: bundle.digest }, 'the candidate'),
      },
    );
    await process.start(signal);
    const report = process.report ?? ladder.report();
    if (report === null) throw new AgentError('internal', 'a model was proved without a provider');
    return new ProvedCandidate(bundle, startingWith(plan, ladder), process, report);
  } catch (thrown) {
    signal.throwIfAborted();
    throw asRefusal(asAgentError(thrown));
  }
}

/** The ladder, with its first rung known. */
const startingWith = (
  plan: Awaited<ReturnType<PlanSource['first']>>,
  ladder: ProviderLadder,
): PlanSource => ({
  first: () => Promise.resolve(plan),
  explore: (signal) => ladder.explore(signal),
  demote: (from, reason) => ladder.demote(from, reason),
  report: () => ladder.report(),
});

/** What is wrong with the model, rather than what the process said of it. */
function asRefusal(failure: AgentError): AgentError {
  const { code, message, context } = failure;
  const attempts = (context['attempts'] ?? []) as readonly { readonly outcome?: string }[];
  if (message.includes('over the ceiling') || attempts.some(({ outcome }) => outcome === 'too_big'))
    return new AgentError('model_out_of_memory', message, { context, cause: failure });
  if (code.startsWith('model_') || code === 'provider_unavailable') return failure;
  return new AgentError('model_candidate_failed', message, { context: { ...context, code }, cause: failure });
}
