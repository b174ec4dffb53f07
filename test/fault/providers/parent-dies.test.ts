import { spawn } from 'node:child_process';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { bundleDir } from '../../fixtures/bundles.ts';
import { childPids, isGone } from '../../fixtures/children.ts';

const source = new URL('../../../src/', import.meta.url).href;

/** Acts as the agent: makes one trial of a model with an endless loop. */
const PARENT = `
  import { createTrialRunner } from '${source}vision/providers/run-trial.ts';
  import { openBundle } from '${source}model/bundle/bundle.ts';
  const bundle = await openBundle(${JSON.stringify(bundleDir('loop'))});
  const run = createTrialRunner({ timeoutMs: 120_000, maxRssMb: 2048 });
  await run({ bundle, provider: 'cpu', threads: 1, runs: 5 }, new AbortController().signal);
`;

let pids: number[] = [];
afterEach(() => {
  for (const pid of pids.filter((one) => !isGone(one))) process.kill(pid, 'SIGKILL');
  pids = [];
});

describe('when the agent is killed during a trial', () => {
  it('the trial process ends too, even in an endless loop of native code', async () => {
    const parent = spawn(process.execPath, ['--input-type=module', '-e', PARENT], { stdio: 'ignore' });
    const parentPid = parent.pid ?? 0;
    pids.push(parentPid);
    let trialPid = 0;
    await vi.waitUntil(() => (trialPid = childPids('providers/trial', parentPid)[0] ?? 0) > 0, {
      timeout: 60_000,
      interval: 50,
    });
    pids.push(trialPid);
    // Wait for the loop: the process takes about a second to load.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(isGone(trialPid)).toBe(false);
    process.kill(parentPid, 'SIGKILL');
    await vi.waitUntil(() => isGone(trialPid), { timeout: 60_000, interval: 100 });
  });
});
