import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const WRAPPERS = {
  'npm start': ['npm', 'start'],
  'npx swellsight run': ['npx', 'swellsight', 'run'],
  './swellsight run': ['./swellsight', 'run'],
} as const;
/** Stops of `npm start` at random moments; SWELLSIGHT_GROUP_STOPS sets another number. */
const GROUP_STOPS = Number(process.env['SWELLSIGHT_GROUP_STOPS'] ?? 4);
/** The last of these moments, after the agent is online. */
const AFTER_ONLINE_MS = 4000;
type Wrapper = keyof typeof WRAPPERS;

describe('signals to a running agent', () => {
  let broker: Mosquitto;
  let dir: string;
  let config: string;
  let brokerLog: string;
  const started: ChildProcess[] = [];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'swellsight-signals-'));
    brokerLog = join(dir, 'broker.log');
    broker = await Mosquitto.start({ lines: [`log_dest file ${brokerLog}`, 'log_type all'] });
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
    env: Record<string, string> = {},
  ): Promise<{ child: ChildProcess; output: () => string; states: () => string[] }> {
    const messages: Message[] = await broker.record('swellsight/v1/test/dev/status');
    const [program, ...args] = WRAPPERS[wrapper];
    const child = spawn(program, args, {
      cwd: ROOT,
      detached: true,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SWELLSIGHT_CONFIG: config, ...env },
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

  it(
    'leave the retained status stopped at any moment, from the set-up to some seconds after the connection',
    async () => {
      let onlineMs = 0;
      const outcomes: string[] = [];
      for (let stop = 0; stop < GROUP_STOPS; stop += 1) {
        // A device of its own, so that the status of another stop is not taken for its own.
        const device = `stop${String(stop)}`;
        const seen = await broker.record(`swellsight/v1/test/${device}/status`);
        const startedMs = performance.now();
        const { child, output } = await start('npm start', { SWELLSIGHT_DEVICE: device });
        if (stop === 0) {
          await until(() => stateOf(seen.at(-1)) === 'online', `online; output:\n${output()}`, 90_000);
          onlineMs = performance.now() - startedMs;
        }
        // One moment in each part of the time, and at a random place of it.
        const momentMs = ((stop - 1 + Math.random()) / (GROUP_STOPS - 1)) * (onlineMs + AFTER_ONLINE_MS);
        if (stop > 0) await delay(momentMs);
        process.kill(-(child.pid ?? 0), 'SIGTERM');
        await until(() => !isGroupAlive(child.pid ?? 0), `the end; output:\n${output()}`, 60_000);
        const hasConnected = readFileSync(brokerLog, 'utf8').includes(` as swellsight-test-${device} `);
        const retained = await retainedStatus(device);
        const before = seen.map((message) => stateOf(message));
        const moment = stop === 0 ? 'online' : `${momentMs.toFixed(0)} ms`;
        const details = `${moment}, connected ${String(hasConnected)}: ${before.join()}; retained ${String(retained)}`;
        outcomes.push(details);
        expect(retained, `${details}\n${output()}`).toBe(hasConnected ? 'stopped' : null);
      }
      if (process.env['SWELLSIGHT_GROUP_STOPS'] !== undefined) console.log(outcomes.join('\n'));
    },
    60_000 * GROUP_STOPS,
  );

  /** The state in the retained status; null without one. */
  async function retainedStatus(device: string): Promise<string | null> {
    const topic = `swellsight/v1/test/${device}/status`;
    const end = `test/end/${device}`;
    const client = await broker.client();
    await client.publishAsync(end, 'end', { qos: 1, retain: true });
    const received: Message[] = [];
    client.on('message', (of, payload, packet) =>
      received.push({ topic: of, payload, retain: packet.retain, packet }),
    );
    // One client gets its messages in order: the status, if there is one, before the end.
    await client.subscribeAsync(topic, { qos: 1 });
    await client.subscribeAsync(end, { qos: 1 });
    await until(() => received.at(-1)?.topic === end, 'the end of the retained messages');
    return stateOf(received.find((message) => message.topic === topic));
  }

  it('are obeyed once during the start, and the agent still publishes stopped', async () => {
    const { child, states, output } = await start('./swellsight run');
    await until(() => isLocked(), `the agent to take the lock; output:\n${output()}`, 60_000);
    for (let count = 0; count < 3; count += 1) process.kill(-(child.pid ?? 0), 'SIGTERM');
    await until(() => child.exitCode !== null || child.signalCode !== null, 'the end', 60_000);
    expect([child.exitCode, child.signalCode], output()).toEqual([0, null]);
    expect(states().at(-1) ?? 'stopped').toBe('stopped');
  }, 150_000);

  it('end a capture on request with an answer before stopped', async () => {
    const slow = join(dir, 'slow.json');
    const camera = { id: 'slow', kind: 'command', command: ['sleep', '60'], timeoutS: 90 };
    const settings = JSON.parse(readFileSync(config, 'utf8')) as object;
    writeFileSync(
      slow,
      JSON.stringify({ ...settings, cameras: [{ ...camera, schedule: { everyS: 86_400 } }] }),
    );
    const messages = await broker.record('swellsight/v1/test/dev/#');
    const operator = await broker.client();
    const { child, states, output } = await start('./swellsight run', { SWELLSIGHT_CONFIG: slow });
    await until(() => states().at(-1) === 'online', `the agent to be online; output:\n${output()}`, 90_000);
    const told = (): string[] =>
      messages
        .filter(({ topic, retain }) => !retain && /\/(cmdres\/capture|status)$/.test(topic))
        .map(
          ({ payload }) => JSON.parse(payload.toString()) as { id?: string; status?: string; state?: string },
        )
        .map(({ id, status, state }) => (state === undefined ? `${String(id)} ${String(status)}` : state));
    // One capture runs, one waits behind it.
    for (const id of ['one', 'two'])
      await operator.publishAsync(
        'swellsight/v1/test/dev/cmd/capture',
        JSON.stringify({ id, args: { camera: 'slow' } }),
        { qos: 1 },
      );
    await until(() => told().includes('two accepted'), `the receipts; output:\n${output()}`);
    child.kill('SIGTERM');
    await until(() => child.exitCode !== null, 'the end');
    await until(() => told().at(-1) === 'stopped', 'stopped');
    expect(told().slice(-3).toSorted()).toEqual(['one failed', 'stopped', 'two failed']);
    const answers = messages.filter(({ topic }) => topic.endsWith('/cmdres/capture')).slice(-2);
    for (const { payload } of answers)
      expect(JSON.parse(payload.toString())).toMatchObject({ error: { code: 'command_interrupted' } });
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
    const file = join(dir, 'reload.json');
    const settings = JSON.parse(readFileSync(config, 'utf8')) as object;
    const write = (more: object): void => writeFileSync(file, JSON.stringify({ ...settings, ...more }));
    write({});
    const events = await broker.record('swellsight/v1/test/dev/event/#');
    const { child, states, output } = await start('./swellsight run', { SWELLSIGHT_CONFIG: file });
    await until(() => states().at(-1) === 'online', `the agent to be online; output:\n${output()}`, 90_000);
    const before = states().length;
    const reload = async (text: string): Promise<void> => {
      const from = output().length;
      child.kill('SIGHUP');
      await until(() => output().slice(from).includes(text), `${text}; output:\n${output()}`, 60_000);
    };
    const codes = (): string[] =>
      events.map(({ payload }) => (JSON.parse(payload.toString()) as { code: string }).code);

    write({ heartbeat: { intervalS: 7 } });
    await reload('configuration reloaded');
    write({ heartbeat: { intervalS: 'often' } });
    await reload('configuration not reloaded: the former one stays in force');
    await until(() => codes().includes('config_refused'), `the events; output:\n${output()}`);
    expect(codes().filter((code) => code.startsWith('config_'))).toEqual([
      'config_reloaded',
      'config_refused',
    ]);
    expect(states()).toHaveLength(before);

    write({ heartbeat: { intervalS: 7 }, http: { port: await freePort() } });
    await reload('the change needs a restart of all parts');
    expect(output()).toContain('"keys":["http.port"]');
    await until(
      () => states().slice(before).includes('online'),
      `online again; output:\n${output()}`,
      60_000,
    );
    expect(states().slice(before)).toContain('stopped');
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

const stateOf = (message: Message | undefined): string | null =>
  message ? (JSON.parse(message.payload.toString()) as { state: string }).state : null;

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
