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
export async function checkContainer(
  container: Container,
  { healthyS, observationsS }: CheckDeadlines,
): Promise<readonly CheckResult[]> {
  const results: CheckResult[] = [];
  const add = (name: string, isPassed: boolean, detail: string): void => {
    results.push({ name, isPassed, detail: detail.trim() });
  };
  const seconds = await container.untilHealthy(healthyS);
  add(
    'turns healthy',
    seconds !== null,
    seconds === null ? endOf(container.log()) : `after ${seconds.toFixed(0)} s`,
  );
  if (seconds === null) return results;

  const user = container.exec('cat', '/proc/1/status').stdout;
  add('is not root', /^Uid:\t10001\t10001\t10001\t10001$/m.test(user), /^Uid:.*$/m.exec(user)?.[0] ?? user);
  const commandLine = container.exec('cat', '/proc/1/cmdline').stdout.replaceAll('\0', ' ');
  add(
    'tini starts Node with a small heap',
    /^tini -- node --max-semi-space-size=1 /.test(commandLine),
    commandLine,
  );
  const writing = container.exec('touch', '/opt/swellsight/file');
  add('has a read-only root', writing.exitCode !== 0 && /Read-only/.test(writing.stderr), writing.stderr);
  const tools = BUILD_TOOLS.filter((tool) => container.exec('sh', '-c', `command -v ${tool}`).exitCode === 0);
  add('has no build tools', tools.length === 0, tools.join(' '));

  const measured = await countMeasured(container, observationsS);
  add('measures', measured >= WANTED_OBSERVATIONS, `${measured} observations`);
  const memory = container.memoryUse();
  add(
    'no process is killed for memory',
    memory?.oomKills === 0,
    memory === null
      ? 'memory controller not found'
      : `peak ${memory.peakMb.toFixed(0)} MiB, page cache included`,
  );
  const exitCode = container.stop();
  add(
    'stops cleanly',
    exitCode === 0 && container.log().includes('"msg":"stopped"'),
    `exit code ${exitCode}`,
  );
  return results;
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

const endOf = (log: string): string => log.trim().split('\n').slice(-5).join('\n');
