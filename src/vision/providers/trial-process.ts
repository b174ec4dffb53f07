// Entry of a trial process. It opens one bundle on one provider, checks the golden outputs, measures the time, sends the
// outcome, and is then killed. Faults of native code stay in this process.
import { setTimeout as delay } from 'node:timers/promises';
import { env, listSupportedBackends } from 'onnxruntime-node';
import { AgentError, asAgentError } from '../../base/errors.ts';
import { describeMismatch, findGoldenMismatches, prepareGolden } from '../child/golden.ts';
import { openSession, type Session } from '../child/session.ts';
import { startWatchdog } from '../child/watchdog.ts';
import { toReasonLine } from '../reason-line.ts';
import type { TrialMessage, TrialOrder, TrialOutcome, TrialRequest } from './trial.ts';

/** One run is enough: the golden runs have warmed up the session already. */
const WARM_UP_RUNS = 1;
const MIN_TIMED_RUNS = 3;
/** Pause before each timed run: camera frames also arrive with gaps, and sleeping threads need time to wake. */
const GAP_MS = 10;
/** Timing ends after this time with at least three runs, and after twice this time with at least one. */
const TIMING_BUDGET_MS = 1_500;

process.once('message', (order) => void runTrial(order as TrialOrder));

async function runTrial(order: TrialOrder): Promise<void> {
  startWatchdog(order.hardRssMb);
  const backends = listSupportedBackends().map(({ name }) => name);
  await send({ type: 'runtime', runtime: { version: env.versions.common, backends } });
  const outcome: TrialOutcome = backends.includes(order.provider)
    ? await verifyAndTime(order)
    : { type: 'not_built_in', reason: `the installed onnxruntime has no ${order.provider}` };
  await send({ type: 'outcome', outcome });
}

async function verifyAndTime(request: TrialRequest): Promise<TrialOutcome> {
  try {
    const startedMs = performance.now();
    const session = await openSession(request.bundle, request);
    const openMs = performance.now() - startedMs;
    const [mismatch] = await findGoldenMismatches(session, request.bundle);
    const firstRunMs = performance.now() - startedMs - openMs;
    if (mismatch !== undefined) return { type: 'wrong', reason: describeMismatch(mismatch) };
    return { type: 'right', openMs, firstRunMs, ...(await timeInference(session, request)) };
  } catch (thrown) {
    const error = asAgentError(thrown);
    const reason = toReasonLine(error.message.replaceAll(request.bundle.dir, ''));
    // With a cause, the runtime refused to run: there are no outputs that could be wrong.
    const hasOutputs = error.code === 'vision_output_invalid' && error.cause === undefined;
    if (hasOutputs || error.code === 'model_golden_mismatch') return { type: 'wrong', reason };
    const code = error.code === 'vision_output_invalid' ? 'model_manifest_invalid' : error.code;
    return { type: 'unavailable', reason, code };
  }
}

async function timeInference(
  session: Session,
  { bundle, runs }: TrialRequest,
): Promise<{ medianMs: number; runs: number }> {
  const [golden] = bundle.manifest.golden;
  if (golden === undefined) throw new AgentError('model_manifest_invalid', 'the bundle has no golden image');
  const frame = await prepareGolden(session, bundle, golden);
  const timesMs: number[] = [];
  const startedMs = performance.now();
  for (let run = 0; run < WARM_UP_RUNS + runs; run++) {
    const elapsedMs = performance.now() - startedMs;
    if (timesMs.length >= MIN_TIMED_RUNS && elapsedMs > TIMING_BUDGET_MS) break;
    if (timesMs.length >= 1 && elapsedMs > 2 * TIMING_BUDGET_MS) break;
    const runStartedMs = performance.now();
    await session.infer(frame);
    if (run >= WARM_UP_RUNS) timesMs.push(performance.now() - runStartedMs);
    await delay(GAP_MS);
  }
  timesMs.sort((a, b) => a - b);
  return { medianMs: timesMs[Math.floor(timesMs.length / 2)] ?? 0, runs: timesMs.length };
}

function send(message: TrialMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, () => resolve());
  });
}
