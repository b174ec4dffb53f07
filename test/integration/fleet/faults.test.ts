import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { Mosquitto } from '../../fixtures/mosquitto.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');
/** SHA-256 of `{}`. */
const NO_ARGS = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
const AT = '2026-12-01T00:00:00.000Z';

interface Command {
  readonly id: string;
  readonly name: string;
  /** `site/device`. */
  readonly device: string;
  readonly expiresAt?: string | undefined;
  /** The time for which the broker may still keep it. */
  readonly expiryS?: number | undefined;
}

/** What a device answers, and when. */
type Answer = (command: Command) => readonly { readonly afterMs: number; readonly answer: object }[];

const succeeded = { status: 'succeeded', reason: null, result: { ok: true } };
const failed = { status: 'failed', reason: null, error: { code: 'model_space', message: 'full' } };
const succeedAtOnce: Answer = () => [{ afterMs: 0, answer: succeeded }];

describe('Fleet commands with faults', () => {
  const dir = mkdtempSync(join(tmpdir(), 'swellsight-faults-'));
  let broker: Mosquitto;

  beforeAll(async () => {
    broker = await Mosquitto.start({ acl: ['topic readwrite #', 'topic deny refused/home/b/cmd/#'] });
  });

  afterAll(async () => {
    await broker.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** Devices with retained states under a base topic of their own. Returns the commands that they receive. */
  async function startDevices(
    base: string,
    names: readonly string[],
    answer: Answer,
    { on = broker, versions = {} }: { on?: Mosquitto; versions?: Readonly<Record<string, string>> } = {},
  ): Promise<Command[]> {
    const received: Command[] = [];
    const client = await on.client();
    const publishAnswer = (topic: string, command: Command, body: object): void =>
      void client.publish(topic.replace('/cmd/', '/cmdres/'), JSON.stringify({ id: command.id, ...body }), {
        qos: 1,
      });
    client.on('message', (topic, payload, { properties }) => {
      const [, site = '', device = '', , name = ''] = topic.split('/');
      const { id, expires_at } = JSON.parse(payload.toString()) as { id: string; expires_at?: string };
      const expiryS = properties?.messageExpiryInterval;
      const command = { id, name, device: `${site}/${device}`, expiresAt: expires_at, expiryS };
      // As a device does: a repeated command is not run again.
      const repeated = received.some((other) => other.id === id) ? { duplicate: true } : {};
      received.push(command);
      for (const { afterMs, answer: body } of answer(command))
        setTimeout(() => publishAnswer(topic, command, { ...body, ...repeated }), afterMs);
    });
    await client.subscribeAsync(`${base}/+/+/cmd/+`, { qos: 1 });
    for (const name of names) {
      const status = { schema: 'swellsight.status/1', state: 'online', session: 'one', at: AT };
      await client.publishAsync(`${base}/${name}/status`, JSON.stringify(status), { qos: 1, retain: true });
      const version = versions[name];
      if (version === undefined) continue;
      const active = { name: 'gauge', version, digest: `sha256:${'a'.repeat(64)}` };
      const slots = { factory: null, previous: null, active, candidate: null };
      const state = {
        schema: 'swellsight.model_state/1',
        active,
        candidate: null,
        previous: null,
        phase: 'idle',
        slots,
      };
      await client.publishAsync(`${base}/${name}/model/state`, JSON.stringify(state), {
        qos: 1,
        retain: true,
      });
    }
    return received;
  }

  const fleet = (base: string, ...args: string[]): Promise<CliResult> =>
    runCli(['fleet', ...args, '--broker', broker.url, '--base', base, '--json'], { cwd: dir });
  const lines = ({ stdout }: CliResult): Record<string, unknown>[] =>
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const summary = (result: CliResult): unknown => lines(result).at(-1)?.['summary'];

  it.concurrent(
    'reports only commands as sent that were sent, and waits for their answers after a halt',
    async () => {
      const names = Array.from({ length: 30 }, (_, index) => `home/d${String(index + 10)}`);
      const received = await startDevices('halt', names, ({ device }) => [
        device === 'home/d10' ? { afterMs: 0, answer: failed } : { afterMs: 1500, answer: succeeded },
      ]);
      const result = await fleet(
        'halt',
        'command',
        'ping',
        '--canary',
        '0',
        '--batch',
        '100',
        '--halt-on',
        '0',
      );
      const sent = lines(result).filter(({ phase }) => phase === 'sent');
      expect(sent.length).toBe(received.length);
      expect([result.code, summary(result)]).toMatchObject([
        1,
        { halted: true, failed: 1, under_way: 0, done: received.length - 1, waiting: 30 - received.length },
      ]);
    },
  );

  it.concurrent('continues with other devices where the broker refuses the command of one', async () => {
    const received = await startDevices('refused', ['home/a', 'home/b', 'home/c'], succeedAtOnce);
    const args = ['command', 'ping', '--canary', '0', '--batch', '100', '--halt-on', '100'];
    const result = await fleet('refused', ...args);
    expect([result.code, summary(result)]).toMatchObject([1, { done: 2, failed: 1 }]);
    expect(lines(result).find(({ phase }) => phase === 'failed')).toMatchObject({
      device: 'home/b',
      detail: 'mqtt_publish_refused',
    });
    expect(received).toHaveLength(2);
  });

  it.concurrent('approves no stage in which no device started, and names the devices that wait', async () => {
    await startDevices('approve', ['home/a', 'home/b'], succeedAtOnce);
    const args = ['command', 'ping', '--approve', '--file', 'approve.json', '--batch', '50'];
    expect((await fleet('approve', ...args)).code).toBe(0);
    const client = await broker.client();
    const status = { schema: 'swellsight.status/1', state: 'offline', session: 'one', at: AT };
    await client.publishAsync('approve/home/b/status', JSON.stringify(status), { qos: 1, retain: true });
    const result = await fleet('approve', ...args);
    expect([result.code, summary(result)]).toMatchObject([1, { done: 1, waiting: 1 }]);
    expect(lines(result)).toContainEqual(
      expect.objectContaining({ device: 'home/b', phase: 'waiting', detail: 'offline' }),
    );
  });

  it.concurrent('rolls back only where the named version is active, also when run again', async () => {
    const versions = { 'home/a': '2.0.0', 'home/b': '1.0.0' };
    const received = await startDevices('back', ['home/a', 'home/b'], succeedAtOnce, { versions });
    const first = await fleet('back', 'rollback', 'gauge', '2.0.0');
    expect([first.code, summary(first), received.map(({ device }) => device)]).toMatchObject([
      0,
      { done: 1 },
      ['home/a'],
    ]);
    await startDevices('back', ['home/a'], () => [], { versions: { 'home/a': '1.0.0' } });
    const again = await fleet('back', 'rollback', 'gauge', '2.0.0');
    expect([again.code, summary(again), received.length]).toMatchObject([0, { done: 0 }, 1]);
    expect((await fleet('back', 'rollback', 'gauge')).code).toBe(2);
  });

  it.concurrent('tests an online device first when the canary of the plan went offline', async () => {
    const unplanned = await fleet('canary', 'restart', '--approve');
    expect([unplanned.code, unplanned.stderr]).toEqual([2, expect.stringContaining('--file')]);
    const received = await startDevices('canary', ['home/b', 'home/c'], ({ device }) =>
      device === 'home/b' ? [{ afterMs: 0, answer: failed }] : [],
    );
    const args = ['command', 'ping', '--file', 'canary.json', '--batch', '100', '--except', 'home/typo'];
    const action = { kind: 'command', command: 'ping', argsDigest: NO_ARGS };
    const plan = { format: 2, id: 'canary', action, devices: ['home/a', 'home/b', 'home/c'], attempts: {} };
    writeFileSync(join(dir, 'canary.json'), JSON.stringify(plan));
    const result = await fleet('canary', ...args);
    expect([result.code, received.map(({ device }) => device)]).toEqual([1, ['home/b']]);
    expect(result.stderr).toContain('home/typo matches no device');
  });

  it.concurrent('lets neither the device nor the broker run a command after the window', async () => {
    const received = await startDevices('window', ['home/a'], succeedAtOnce);
    const hour = (offset: number): string =>
      new Date(Date.now() + offset * 3_600_000).toISOString().slice(11, 16);
    expect((await fleet('window', 'command', 'ping')).code).toBe(0);
    const window = ['--window', `${hour(-1)}-${hour(2)}`];
    expect((await fleet('window', 'command', 'ping', ...window)).code).toBe(0);
    const [free, limited] = received;
    expect([free?.expiresAt, free?.expiryS]).toEqual([undefined, undefined]);
    expect(limited?.expiresAt).toContain(`T${window[1]?.slice(6)}:00.000Z`);
    const lastsS = (Date.parse(limited?.expiresAt ?? '') - Date.now()) / 1000;
    expect(lastsS).toBeLessThanOrEqual(7200);
    expect(Math.abs((limited?.expiryS ?? 0) - lastsS)).toBeLessThan(120);
  });

  it.concurrent('pushes nothing while a device runs the version with other bytes', async () => {
    const versions = { 'home/a': '1.0.0', 'home/b': '2.0.0' };
    const received = await startDevices('bytes', ['home/a', 'home/b'], succeedAtOnce, { versions });
    const args = ['push', 'gauge', '2.0.0', '--file', 'bytes.json', '--digest'];
    const result = await fleet('bytes', ...args, `sha256:${'b'.repeat(64)}`);
    expect([result.code, result.stderr]).toEqual([
      2,
      expect.stringContaining('home/b runs gauge 2.0.0 with another digest: sha256:aaaa'),
    ]);
    expect([received, existsSync(join(dir, 'bytes.json'))]).toEqual([[], false]);
    const same = await fleet('bytes', ...args, `sha256:${'a'.repeat(64)}`, '--to', 'home/b');
    expect([same.code, summary(same)]).toMatchObject([0, { committed: 1 }]);
  });

  it.concurrent('says why devices wait, what failed, and what is on trial', async () => {
    const message = 'the change has 1 fault\ncameras[0]: wanted a number';
    const fault = { status: 'failed', reason: null, error: { code: 'config_invalid', message } };
    const rejected = { status: 'rejected', reason: 'bad_args: /patch must be object' };
    await startDevices('why', ['home/a', 'home/b', 'home/c'], ({ device }) => [
      { afterMs: 0, answer: device === 'home/a' ? fault : rejected },
    ]);
    const set = (...more: string[]): Promise<CliResult> =>
      runCli(['fleet', 'config', 'set', '{}', '--broker', broker.url, '--base', 'why', ...more], {
        cwd: dir,
      });
    const halted = await set();
    expect(halted.stdout).toContain(
      'config_invalid: the change has 1 fault cameras[0]: wanted a number. Remedy',
    );
    expect(halted.stdout).toMatch(/^home\/b +waiting +halted/m);
    expect([halted.code, halted.stderr]).toEqual([1, expect.stringContaining('too many devices failed')]);
    expect(halted.stderr).not.toContain('on trial');
    const refused = await set('--to', 'home/b');
    expect(refused.stdout).toContain('bad_args: /patch must be object. Remedy: correct the arguments');
    await startDevices('trial', ['home/a'], succeedAtOnce);
    const done = await runCli(['fleet', 'config', 'set', '{}', '--broker', broker.url, '--base', 'trial'], {
      cwd: dir,
    });
    expect([done.code, done.stderr]).toEqual([0, expect.stringContaining('on trial')]);
    const level = await fleet('trial', 'command', 'log.level', '{level: "loud"}');
    expect([level.code, level.stderr]).toEqual([2, expect.stringContaining('debug, info')]);
  });

  it.concurrent('stores no arguments, which may be secret, in the plan', async () => {
    await startDevices('secret', ['home/a'], () => [{ afterMs: 0, answer: failed }]);
    const patch = '{cameras: [{id: "north", source: {password: "top-secret"}}]}';
    const result = await fleet('secret', 'config', 'set', patch, '--file', 'secret.json');
    expect([result.code, summary(result)]).toMatchObject([1, { failed: 1 }]);
    const plan = readFileSync(join(dir, 'secret.json'), 'utf8');
    expect(`${plan}${result.stdout}${result.stderr}`).not.toContain('top-secret');
  });

  it.concurrent('writes the results of similar names into different files', async () => {
    await startDevices('names', ['a_b/c', 'a/b_c'], succeedAtOnce);
    const result = await fleet('names', 'diagnostics', '--out', 'names');
    expect([result.code, readdirSync(join(dir, 'names')).length]).toEqual([0, 2]);
  });

  it.concurrent('ends with a sentence when a result cannot be stored', async () => {
    await startDevices('lost', ['home/a'], () => {
      rmSync(join(dir, 'lost'), { recursive: true });
      return [{ afterMs: 0, answer: succeeded }];
    });
    const result = await fleet('lost', 'diagnostics', '--out', 'lost');
    expect([result.code, result.stderr]).toEqual([1, expect.stringContaining('home/a')]);
    expect(result.stderr).not.toMatch(/\n +at /);
  });

  it.concurrent('ends with a sentence when the plan cannot be stored', async () => {
    const received = await startDevices('unwritable', ['home/a'], succeedAtOnce);
    const result = await fleet('unwritable', 'command', 'ping', '--file', 'missing/plan.json');
    expect([result.code, result.stderr]).toEqual([2, expect.stringContaining('missing/plan.json')]);
    expect(received).toEqual([]);
  });

  it.concurrent('ends on Ctrl-C also while a command waits for the broker', async () => {
    const own = await Mosquitto.start();
    await startDevices('away', ['home/a'], () => [], { on: own });
    const mark = join(dir, 'away.json.paused');
    writeFileSync(mark, '');
    const args = ['fleet', 'command', 'ping', '--broker', own.url, '--base', 'away', '--file', 'away.json'];
    const child = spawn(process.execPath, [MAIN, ...args], { cwd: dir });
    await once(child.stderr, 'data');
    await own.stop();
    rmSync(mark);
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([1, null]);
  });
});
