import { asAgentError } from '../base/errors.ts';
import { VisionChild } from './vision-child.ts';
import type { VisionDeps, VisionOptions } from './client-options.ts';
import type { Plan } from './providers/trial.ts';
import { expectReply } from './messages.ts';
import type { ProviderReport } from './protocol.ts';
import { canRestorePriority } from './process-priority.ts';

/** A process that serves, and what it weighed when it was new. */
export interface Serving {
  readonly child: VisionChild;
  readonly plan: Plan;
  readonly openedRssMb: number;
}

const OPEN_TIMEOUT_S = 60;
/** A third of the CPU time of what serves, where both want it. */
const STARTING_NICENESS = 5;

/**
 * Starts a process and has it open and prove the bundle; it stands in `opening` meanwhile. On failure, or when the
 * signal fires, the process is gone before this rejects: with the signal's reason, or as `openProven`, `vision_timeout`
 * or `vision_crashed`.
 */
export async function openServing(
  plan: Plan,
  options: VisionOptions,
  opening: Set<VisionChild>,
  signal: AbortSignal,
): Promise<Serving> {
  signal.throwIfAborted();
  const stepsBack =
    options.startsBeside === true && options.processLimits === undefined && canRestorePriority();
  const child = new VisionChild(stepsBack ? STARTING_NICENESS : options.processLimits?.niceness);
  opening.add(child);
  const abort = (): void => child.kill(asAgentError(signal.reason));
  signal.addEventListener('abort', abort, { once: true });
  try {
    const { bundle, maxRssMb, openTimeoutS = OPEN_TIMEOUT_S } = options;
    const hardRssMb = Math.min(2 * maxRssMb, options.processLimits?.hardRssMb ?? Infinity);
    const request = { type: 'open', bundle, ...plan, hardRssMb } as const;
    const { rssMb } = expectReply(await child.request(request, openTimeoutS * 1000), 'opened');
    if (stepsBack) child.restorePriority();
    return { child, plan, openedRssMb: rssMb };
  } catch (thrown) {
    child.kill(asAgentError(thrown));
    await child.ended;
    signal.throwIfAborted();
    throw thrown;
  } finally {
    signal.removeEventListener('abort', abort);
    opening.delete(child);
  }
}

/** What is known of a plan that was given and not chosen by the ladder. */
export const reportOf = (plan: Plan): ProviderReport => ({
  ...plan,
  attempts: [{ ...plan, outcome: 'chosen', medianMs: null, reason: null }],
  remembered: false,
});

/**
 * Opens with the plan that the options or the ladder give. A remembered accelerator may be gone since (a driver, a
 * card): then the next best plan serves instead of none. Rejects as `openServing` and the ladder's `first`.
 */
export async function openFirst(
  options: VisionOptions,
  { ladder, onEvent }: Pick<VisionDeps, 'ladder' | 'onEvent'>,
  opening: Set<VisionChild>,
  signal: AbortSignal,
): Promise<Serving> {
  if (options.plan !== null) return openServing(options.plan, options, opening, signal);
  const plan = (await ladder?.first(signal)) ?? { provider: 'cpu', threads: 1 };
  try {
    return await openServing(plan, options, opening, signal);
  } catch (thrown) {
    if (plan.provider === 'cpu' || signal.aborted) throw thrown;
    const reason = asAgentError(thrown).message;
    const next = ladder?.demote(plan, reason) ?? null;
    if (next === null || next.provider === plan.provider) throw thrown;
    onEvent({ type: 'provider_demoted', from: plan.provider, to: next.provider, reason });
    return openServing(next, options, opening, signal);
  }
}
