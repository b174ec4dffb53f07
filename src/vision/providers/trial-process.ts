// Entry of a trial process: opens one bundle on one provider, proves it on the golden outputs, times it, says so, and
// is killed. Whatever goes wrong in native code goes wrong here.
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { env, listSupportedBackends } from 'onnxruntime-node';
import { asAgentError } from '../../base/errors.ts';
import { decode, readHeader } from '../child/decode.ts';
import { proveGolden } from '../child/golden.ts';
import { reasonLine } from './reason.ts';
import type { TrialMessage, TrialOrder, TrialOutcome, TrialRequest } from './trial.ts';
import { BYTES_PER_MB } from '../messages.ts';
import { openSession, type Session } from '../child/session.ts';
import { startWatchdog } from '../child/watchdog.ts';

/** The golden run has warmed up already. */
const WARM_UP_RUNS = 1;
const FEWEST_RUNS = 3;
/** Frames come with gaps, and threads that went to sleep need time to wake. */
const GAP_MS = 10;
/** A slow provider is known to be slow after this long. */
const TIMED_BUDGET_MS = 1_500;

process.once('message', (order) => void attempt(order as TrialOrder));

try {
  // If memory runs out, the kernel should end the trial and not the agent.
  writeFileSync('/proc/self/oom_score_adj', '1000');
} catch {
  // Not Linux, or not allowed: the parent watches the resident size.
}

async function attempt(request: TrialOrder): Promise<void> {
  startWatchdog(request.hardRssMb * BYTES_PER_MB);
  const backends = listSupportedBackends().map(({ name }) => name);
  await send({ type: 'runtime', runtime: { version: env.versions.common, backends } });
  const outcome = backends.includes(request.provider)
    ? await prove(request)
    : ({
        type: 'not_built_in',
        reason: `the installed onnxruntime has no ${request.provider}`,
      } as const);
  await send({ type: 'outcome', outcome });
}

async function prove(request: TrialRequest): Promise<TrialOutcome> {
  try {
    const started = performance.now();
    const session = await openSession(request.bundle, request);
    const openMs = performance.now() - started;
    const mismatches = await proveGolden(session, request.bundle);
    const firstRunMs = performance.now() - started - openMs;
    const [worst] = mismatches;
    if (worst !== undefined)
      return {
        type: 'wrong',
        reason:
          worst.difference === null
            ? `${worst.output} is missing or too short`
            : `${worst.output} is off by ${worst.difference.toPrecision(3)}, allowed is ${worst.tolerance}`,
      };
    return { type: 'right', openMs, firstRunMs, ...(await time(session, request)) };
  } catch (thrown) {
    const error = asAgentError(thrown);
    // The cause says it in the runtime's own words, without what the attempt names anyway.
    const { message } = error.cause instanceof Error ? error.cause : error;
    const reason = reasonLine(message.replaceAll(request.bundle.dir, ''));
    const isWrong = error.code === 'vision_output_invalid' || error.code === 'model_golden_mismatch';
    return { type: isWrong ? 'wrong' : 'unavailable', reason };
  }
}

async function time(
  session: Session,
  { bundle, runs }: TrialRequest,
): Promise<{ medianMs: number; runs: number }> {
  const image = bundle.manifest.golden[0]?.image ?? '';
  const bytes = await readFile(join(bundle.dir, image));
  const header = await readHeader(bytes);
  const frame = await session.prepare(await decode(bytes, header, session.sizeWanted(header.size)));
  const timedMs: number[] = [];
  const started = performance.now();
  for (let run = 0; run < WARM_UP_RUNS + runs; run++) {
    const spentMs = performance.now() - started;
    if (timedMs.length >= FEWEST_RUNS && spentMs > TIMED_BUDGET_MS) break;
    if (timedMs.length >= 1 && spentMs > 2 * TIMED_BUDGET_MS) break;
    const begun = performance.now();
    await session.infer(frame);
    if (run >= WARM_UP_RUNS) timedMs.push(performance.now() - begun);
    await delay(GAP_MS);
  }
  timedMs.sort((a, b) => a - b);
  return { medianMs: timedMs[Math.floor(timedMs.length / 2)] ?? 0, runs: timedMs.length };
}

function send(message: TrialMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, () => resolve());
  });
}
