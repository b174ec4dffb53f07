import { setTimeout as delay } from 'node:timers/promises';
import type { Container } from './container.ts';

export interface CheckResult {
  readonly name: string;
  readonly isPassed: boolean;
  readonly detail: string;
}

export interface CheckDeadlines {
  readonly healthyS: number;
  readonly observationsS: number;
}

/** Programs that build or install software. The image has only Debian's essential ones: apt, dpkg and perl. */
const BUILD_TOOLS = ['npm', 'npx', 'corepack', 'yarn', 'gcc', 'cc', 'make', 'python3', 'git', 'curl'];
const WANTED_OBSERVATIONS = 3;

/** Checks a started container: it turns healthy, is not privileged, measures, and stops cleanly. */
export async function* checkContainer(
  container: Container,
  { healthyS, observationsS }: CheckDeadlines,
): AsyncGenerator<CheckResult, void, undefined> {
  const seconds = await container.untilHealthy(healthyS);
  yield result(
    'turns healthy',
    seconds !== null,
    seconds === null ? endOf(container.log()) : `after ${seconds.toFixed(0)} s`,
  );
  if (seconds === null) return;

  const user = container.exec('cat', '/proc/1/status').stdout;
  yield result(
    'is not root',
    /^Uid:\t10001\t10001\t10001\t10001$/m.test(user),
    /^Uid:.*$/m.exec(user)?.[0] ?? user,
  );
  const commandLine = container.exec('cat', '/proc/1/cmdline').stdout.replaceAll('\0', ' ');
  yield result(
    'tini starts Node with a small heap',
    /(^| )tini -- node --max-semi-space-size=1 /.test(commandLine),
    commandLine,
  );
  const writing = container.exec('touch', '/opt/swellsight/file');
  yield result(
    'has a read-only root',
    writing.exitCode !== 0 && /Read-only/.test(writing.stderr),
    writing.stderr,
  );
  const tools = BUILD_TOOLS.filter((tool) => container.exec('sh', '-c', `command -v ${tool}`).exitCode === 0);
  yield result('has no build tools', tools.length === 0, tools.join(' '));

  const measured = await countMeasured(container, observationsS);
  yield result('measures', measured >= WANTED_OBSERVATIONS, `${measured} observations`);
  const memory = container.memoryUse();
  yield result(
    'no process is killed for memory',
    memory?.oomKills === 0,
    memory === null
      ? 'memory controller not found'
      : `peak ${memory.peakMb.toFixed(0)} MiB, page cache included`,
  );
  const exitCode = container.stop();
  yield result(
    'stops cleanly',
    exitCode === 0 && container.log().includes('"msg":"stopped"'),
    `exit code ${exitCode}`,
  );
}

/** Number of measured observations, by the log of the agent; waits for WANTED_OBSERVATIONS. */
export async function countMeasured(container: Container, deadlineS: number): Promise<number> {
  const untilMs = performance.now() + deadlineS * 1000;
  for (;;) {
    const lines = container.log().split('\n');
    const measured = lines.filter((line) => /"status":"measured".*"msg":"observation"/.test(line)).length;
    if (measured >= WANTED_OBSERVATIONS || performance.now() > untilMs || !container.isRunning())
      return measured;
    await delay(1000);
  }
}

const result = (name: string, isPassed: boolean, detail: string): CheckResult => ({
  name,
  isPassed,
  detail: detail.trim(),
});

const endOf = (log: string): string => log.trim().split('\n').slice(-5).join('\n');
