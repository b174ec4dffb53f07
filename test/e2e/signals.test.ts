import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const WRAPPERS = {
  'npm start': ['npm', 'start'],
  'npx swellsight run': ['npx', 'swellsight', 'run'],
  './swellsight run': ['./swellsight', 'run'],
} as const;
type Wrapper = keyof typeof WRAPPERS;

describe('signals to a running agent', () => {
  let broker: Mosquitto;
  let dir: string;
  let config: string;
  const started: ChildProcess[] = [];

  beforeAll(async () => {
    broker = await Mosquitto.start();
    dir = mkdtempSync(join(tmpdir(), 'swellsight-signals-'));
    config = join(dir, 'config.json');
    const settings = {
      site: 'test',
      device: 'dev',
      stateDir: join(dir, 'var'),
      mqtt: { url: broker.url },
      http: { port: await freePort() },
      inference: { providers: ['cpu'], threads: 1 },
    };
    writeFileSync(config, JSON.stringify(settings));
  });
  afterAll(async () => {
    for (const { pid } of started) killGroup(pid);
    await broker.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** Starts the agent in a process group of its own, with the messages of its status topic. */
  async function start(
    wrapper: Wrapper,
  ): Promise<{ child: ChildProcess; output: () => string; states: () => string[] }> {
    const messages: Message[] = await broker.record('swellsight/v1/test/dev/status');
    const [program, ...args] = WRAPPERS[wrapper];
    const child = spawn(program, args, {
      cwd: ROOT,
      detached: true,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SWELLSIGHT_CONFIG: config },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.push(child);
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const states = (): string[] =>
      messages
        .filter(({ retain }) => !retain)
        .map(({ payload }) => (JSON.parse(payload.toString()) as { state: string }).state);
    return { child, output: () => text, states };
  }

  const isLocked = (): boolean => {
    const path = join(dir, 'var', 'swellsight.lock');
    return existsSync(path) && lockHolders(path).length > 0;
  };

  it.each<[Wrapper, NodeJS.Signals, 'group' | 'process']>([
    ['npm start', 'SIGTERM', 'group'],
    ['npm start', 'SIGINT', 'group'],
    ['npm start', 'SIGTERM', 'process'],
    ['npx swellsight run', 'SIGTERM', 'group'],
    ['npx swellsight run', 'SIGINT', 'group'],
    ['npx swellsight run', 'SIGTERM', 'process'],
    ['./swellsight run', 'SIGTERM', 'group'],
    ['./swellsight run', 'SIGINT', 'process'],
  ])(
    'publish stopped and end every process: %s, %s to the %s',
    async (wrapper, signal, receiver) => {
      const { child, states, output } = await start(wrapper);
      await until(() => states().at(-1) === 'online', `the agent to be online; output:\n${output()}`, 90_000);
      const pid = child.pid ?? 0;
      process.kill(receiver === 'group' ? -pid : pid, signal);
      await until(() => states().at(-1) === 'stopped', `stopped; output:\n${output()}`);
      await until(() => !isGroupAlive(pid), 'every process to end');
      expect(isLocked()).toBe(false);
    },
    150_000,
  );

  it('are obeyed once during the start, and the agent still publishes stopped', async () => {
    const { child, states, output } = await start('./swellsight run');
    await until(() => isLocked(), `the agent to take the lock; output:\n${output()}`, 60_000);
    for (let count = 0; count < 3; count += 1) process.kill(-(child.pid ?? 0), 'SIGTERM');
    await until(() => child.exitCode !== null || child.signalCode !== null, 'the end', 60_000);
    expect([child.exitCode, child.signalCode], output()).toEqual([0, null]);
    expect(states().at(-1) ?? 'stopped').toBe('stopped');
  }, 150_000);

  it('end the set-up', async () => {
    const child = spawn(process.execPath, ['scripts/task.mjs', 'start'], {
      cwd: ROOT,
      detached: true,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SWELLSIGHT_CONFIG: config },
      stdio: 'ignore',
    });
    started.push(child);
    process.kill(-(child.pid ?? 0), 'SIGTERM');
    await once(child, 'exit');
    await until(() => !isGroupAlive(child.pid ?? 0), 'every process to end');
  }, 60_000);

  it('reload the configuration with SIGHUP, without a terminal', async () => {
    const { child, states, output } = await start('./swellsight run');
    await until(() => states().at(-1) === 'online', `the agent to be online; output:\n${output()}`, 90_000);
    const before = states().length;
    child.kill('SIGHUP');
    await until(
      () => states().slice(before).includes('online'),
      `online again; output:\n${output()}`,
      60_000,
    );
    expect(states().slice(before)).toContain('stopped');
    expect(output()).toContain('reloading the configuration');
    child.kill('SIGTERM');
    await until(() => states().at(-1) === 'stopped', 'stopped');
    await until(() => child.exitCode !== null, 'the end');
    expect(child.exitCode).toBe(0);
  }, 150_000);

  it('name the process and the directory when a second agent finds the state directory locked', async () => {
    const { child, states, output } = await start('./swellsight run');
    await until(() => states().at(-1) === 'online', `the agent to be online; output:\n${output()}`, 90_000);
    const second = await start('./swellsight run');
    await until(() => second.child.exitCode !== null, 'the end of the second agent', 60_000);
    expect(second.child.exitCode).toBe(69);
    expect(second.output()).toContain(
      `process ${String(child.pid)} uses the state directory ${join(dir, 'var')}`,
    );
    child.kill('SIGTERM');
    await until(() => child.exitCode !== null, 'the end');
  }, 150_000);
});

function isGroupAlive(pid: number): boolean {
  try {
    process.kill(-pid, 0);
    return true;
  } catch {
    return false;
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group has ended.
  }
}

/** Processes that hold a lock on the file. Source: proc_locks(5). */
function lockHolders(path: string): readonly string[] {
  const { ino } = statSync(path);
  return readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`:${String(ino)} `));
}
