import type { Clock } from '../base/clock.ts';
import { AgentError, asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/schema.ts';
import type { Bundle } from '../model/manifest.ts';
import type { Candidate } from '../model/types.ts';
import type { KeyValue } from '../store/types.ts';
import { VisionProcess } from '../vision/vision-process.ts';
import type { PlanSource } from '../vision/plan-choice.ts';
import type { Hardware } from '../vision/hardware/hardware.ts';
import type { FrameOptions, FrameResult, ProviderReport } from '../vision/protocol.ts';
import { createProviderTrials } from '../vision/providers/provider-trials.ts';
import { ProviderLadder } from '../vision/providers/select-provider.ts';
import { cpuStartTimeS, memoryForCandidate } from './candidate-limits.ts';

export interface CandidateDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly memory: KeyValue;
  readonly hardware: Promise<Hardware>;
  /** Returns the available memory, MiB. By default it asks the operating system. */
  readonly freeMemoryMb?: () => Promise<number>;
}

/** The execution provider that is being tried. */
export interface ProofStep {
  readonly provider: string;
  readonly threads: number;
}

/**
 * When both need the CPU, the candidate gets a third of the CPU time of the serving process: live frames are hardly
 * delayed, and the trials of the candidate still finish.
 */
const NICENESS = 5;
/** The candidate may take this many times as long for a frame as the serving model, because it waits for the CPU. */
const TIMEOUT_FACTOR = 2;
const OPEN_TIMEOUT_S = 300;
const MAX_QUEUED_FRAMES = 8;

/** A model that has reproduced its golden outputs in a process of low priority, while another model serves. */
export class ProvedCandidate implements Candidate {
  readonly bundle: Bundle;
  /** Has tested its plans with this candidate, so that the serving process need not search for one again. */
  readonly plans: PlanSource;
  readonly #process: VisionProcess;

  constructor(bundle: Bundle, plans: PlanSource, process: VisionProcess) {
    this.bundle = bundle;
    this.plans = plans;
    this.#process = process;
  }

  get report(): ProviderReport | null {
    return this.#process.report;
  }

  get pid(): number | null {
    return this.#process.pid;
  }

  analyze(bytes: Uint8Array, options: FrameOptions, signal?: AbortSignal): Promise<FrameResult> {
    return this.#process.analyze(bytes, options, signal);
  }

  close(): Promise<void> {
    return this.#process.close();
  }
}

/**
 * Tries every execution provider of the machine, each in its own process, and opens the model on the best one. The
 * processes run with low priority and may use only the memory that is free at the start. Rejects with
 * `model_out_of_memory`, `model_golden_mismatch`, `model_requires`, `model_manifest_invalid`, `provider_unavailable`,
 * with `model_candidate_failed` and the cause, or with the reason of the signal.
 */
export async function proveCandidate(
  bundle: Bundle,
  inference: Settings['inference'],
  deps: CandidateDeps,
  signal: AbortSignal,
  onStep: (step: ProofStep) => void = () => undefined,
): Promise<ProvedCandidate> {
  const { clock, log, memory } = deps;
  const { timeoutS, maxRssMb } = inference;
  const spareMb = await memoryForCandidate(bundle, deps.freeMemoryMb);
  const processLimits = { niceness: NICENESS, hardRssMb: spareMb };
  const runTrial = createProviderTrials({
    maxRssMb,
    processLimits,
    cpuStartTimeS: cpuStartTimeS(timeoutS),
  });
  const ladder = new ProviderLadder(
    { bundle, inference, hardware: await deps.hardware },
    {
      memory,
      clock,
      log,
      trial: (request, aborted) => {
        onStep({ provider: request.provider, threads: request.threads });
        return runTrial(request, aborted);
      },
    },
  );
  try {
    const first = await ladder.first(signal);
    const plan = (await ladder.explore(signal)) ?? first;
    const process = new VisionProcess(
      {
        bundle,
        plan,
        timeoutS: TIMEOUT_FACTOR * timeoutS,
        openTimeoutS: OPEN_TIMEOUT_S,
        maxRssMb,
        queueMax: MAX_QUEUED_FRAMES,
        processLimits,
      },
      {
        clock,
        log,
        ladder,
        onEvent: (event) =>
          log.info({ ...event, digest: bundle.digest }, 'event of the vision process of the candidate model'),
      },
    );
    await process.start(signal);
    return new ProvedCandidate(bundle, ladder, process);
  } catch (thrown) {
    signal.throwIfAborted();
    throw asCandidateError(asAgentError(thrown));
  }
}

/** Converts a failure of the vision process to an error that says what is wrong with the model. */
function asCandidateError(failure: AgentError): AgentError {
  const { code, message, context } = failure;
  const attempts = (context['attempts'] ?? []) as readonly { readonly outcome?: string }[];
  if (context['hasExceededMemory'] === true || attempts.some(({ outcome }) => outcome === 'too_big'))
    return new AgentError('model_out_of_memory', message, { context, cause: failure });
  if (code.startsWith('model_') || code === 'provider_unavailable') return failure;
  return new AgentError('model_candidate_failed', message, { context: { ...context, code }, cause: failure });
}
