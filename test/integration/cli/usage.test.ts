import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../fixtures/cli.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'swellsight-cli-'));
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

const ESCAPE = '\u001b[';

describe('usage', () => {
  it('prints all commands with --help', async () => {
    const { code, stdout } = await runCli(['--help']);
    expect(code).toBe(0);
    for (const name of [
      'run',
      'check-config',
      'doctor',
      'analyze',
      'capture',
      'label',
      'calibrate',
      'status',
      'health',
      'observations',
    ])
      expect(stdout).toContain(name);
  });

  it.each([
    [[], /Usage/],
    [['nonsense'], /unknown command/],
    [['statsu'], /Did you mean status/],
    [['status', '--nonsense'], /unknown option/],
    [['capture'], /missing required argument/],
    [['observations', '--status', 'great'], /Allowed choices/],
    [['analyze', '/nowhere/at/all.jpg'], /does not exist/],
    [['analyze', '.', '--json', '--csv'], /--json or --csv/],
    [['calibrate', '.'], /--labels/],
    [['status', '--url', 'ftp://x'], /not an http/],
    [['status', '--token-file', '/nowhere'], /cannot be read/],
  ] as const)('exits with 2 and a reason on standard error for %j', async (args, reason) => {
    const { code, stdout, stderr } = await runCli(args, { cwd: dir });
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(reason);
    expect(stderr).not.toContain(ESCAPE);
  });

  it('exits with 69 when no agent answers, with text or JSON', async () => {
    const plain = await runCli(['status', '--url', 'http://127.0.0.1:1']);
    expect(plain.code).toBe(69);
    expect(plain.stderr).toMatch(
      /no answer from http:\/\/127\.0\.0\.1:1 \(.+\)\n {2}check that the agent runs/,
    );
    const json = await runCli(['health', '--url', 'http://127.0.0.1:1', '--json']);
    expect(json.code).toBe(69);
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'agent_unreachable' } });
  });
});

describe('check-config', () => {
  it('prints a summary of a valid configuration', async () => {
    const { code, stdout } = await runCli(['check-config'], { cwd: dir });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^the configuration is valid\n/);
    expect(stdout).toMatch(/camera sim: simulated, every 4 s, next \d{4}-/);
  });

  it('hides secrets', async () => {
    const env = { SWELLSIGHT_HTTP_TOKEN: 'hunter2', SWELLSIGHT_MQTT_URL: 'mqtt://u:hunter2@h' };
    for (const args of [['check-config'], ['check-config', '--json']]) {
      const { code, stdout } = await runCli(args, { cwd: dir, env });
      expect(code).toBe(0);
      expect(stdout).toContain('mqtt://***@h');
      expect(stdout).not.toContain('hunter2');
    }
  });

  it.each([
    ['http', 'https://h/snap.jpg'],
    ['hls', 'https://h/live.m3u8'],
    ['rtsp', 'rtsps://h/1'],
  ])('warns about a %s camera that accepts any certificate, and shows no header', async (kind, url) => {
    const file = join(dir, 'insecure.json');
    const headers = kind === 'rtsp' ? {} : { headers: { 'X-API-Key': 'hunter2' } };
    const camera = { id: 'gate', kind, url, tls: { insecure: true }, ...headers };
    writeFileSync(file, JSON.stringify({ cameras: [camera] }));
    const plain = await runCli(['check-config', '--config', file]);
    expect(plain.code).toBe(0);
    expect(plain.stderr).toMatch(/^warning: camera gate accepts any certificate \(tls\.insecure\)/);
    const json = await runCli(['check-config', '--config', file, '--json']);
    expect(json.json()).toMatchObject({ ok: true, warnings: [expect.stringContaining('tls.insecure')] });
    expect(plain.stdout + plain.stderr + json.stdout).not.toContain('hunter2');
  });

  it('prints one line for each fault, and exits with 78', async () => {
    const file = join(dir, 'bad.yaml');
    writeFileSync(
      file,
      'sit: x\nhttp:\n  port: many\ncameras:\n  - id: a\n    kind: rtsp\n  - id: a\n    kind: telescope\n',
    );
    const expected = ['cameras[0].url', 'cameras[1].id', 'cameras[1].kind', 'http.port', 'sit'];
    const plain = await runCli(['check-config', '--config', file]);
    expect(plain.code).toBe(78);
    expect(plain.stdout).toBe('');
    const lines = plain.stderr.trim().split('\n');
    expect(lines.map((line) => line.split(':', 1)[0] ?? '').sort()).toEqual(expected);
    for (const line of lines) expect(line).toMatch(/: given .+, wanted .+/);
    const json = await runCli(['check-config', '--json'], { env: { SWELLSIGHT_CONFIG: file } });
    expect(json.code).toBe(78);
    const { ok, faults } = json.json() as { ok: boolean; faults: { key: string; origin: string }[] };
    expect(ok).toBe(false);
    expect(faults.map(({ key }) => key).sort()).toEqual(expected);
    expect(new Set(faults.map(({ origin }) => origin))).toEqual(new Set([file]));
  });

  it('exits with 78 for an unreadable file in any command with settings', async () => {
    const { code, stderr } = await runCli(['run', '--config', join(dir, 'missing.json5')], { cwd: dir });
    expect(code).toBe(78);
    expect(stderr).toContain('ENOENT');
  });
});

describe('settings of remote commands', () => {
  const overlayFile = (): string => join(dir, 'var', 'config-overlay.json');
  const write = (overlay: object): string => {
    mkdirSync(join(dir, 'var'), { recursive: true });
    writeFileSync(overlayFile(), JSON.stringify({ format: 1, trial: 'id', overlay }));
    const file = join(dir, 'remote.json');
    const cameras = [{ id: 'north', kind: 'http', url: 'http://u:hunter2@cam/1' }];
    writeFileSync(file, JSON.stringify({ heartbeat: { intervalS: 30 }, cameras }));
    return file;
  };
  const OVERLAY = {
    heartbeat: { intervalS: 10 },
    cameras: [{ id: 'north', schedule: { everyS: 20 }, timeoutS: 3 }],
  };

  it('are shown with the other sources by config show and check-config', async () => {
    const file = write(OVERLAY);
    const env = { SWELLSIGHT_LOG_LEVEL: 'warn' };
    const run = (...args: string[]) => runCli([...args, '--config', file], { cwd: dir, env });
    const { code, stdout } = await run('config', 'show');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^heartbeat\.intervalS +10 +remote \(file: 30\)$/m);
    expect(stdout).toMatch(/^logLevel +warn +environment$/m);
    expect(stdout).toMatch(/^cameras\.north\.schedule\.everyS +20 +remote \(default: 60\)$/m);
    expect(stdout).toMatch(/^cameras\.north\.url +http:\/\/\S*@cam\S* +file$/m);
    expect(stdout).toMatch(/^http\.port +8080 +default$/m);
    expect(stdout).not.toContain('hunter2');
    const one = await run('config', 'show', 'heartbeat', '--json');
    const local = { value: 30, source: 'file' };
    expect(one.json()).toMatchObject({
      settings: [{ key: 'heartbeat.intervalS', value: 10, source: 'remote', local }],
    });
    expect(await run('config', 'show', 'hartbeat')).toMatchObject({ code: 2 });

    const sources = [
      `from ${file}: cameras, heartbeat.intervalS`,
      'from the environment: logLevel',
      'by remote command: heartbeat.intervalS, cameras.north.schedule.everyS, cameras.north.timeoutS',
    ];
    const checked = await run('check-config');
    expect(checked.stdout.trim().split('\n').slice(-3)).toEqual(sources);
    expect((await run('check-config', '--json')).json()).toMatchObject({
      sources: { file: ['cameras', 'heartbeat.intervalS'], environment: ['logLevel'] },
    });
  });

  it('are removed by config drop while no agent runs', async () => {
    const file = write(OVERLAY);
    const drop = (...args: string[]) => runCli(['config', 'drop', ...args, '--config', file], { cwd: dir });
    expect(await drop('cameras.north')).toMatchObject({
      code: 0,
      stdout: 'removed cameras.north.schedule.everyS, cameras.north.timeoutS; no agent runs\n',
    });
    expect(JSON.parse(readFileSync(overlayFile(), 'utf8'))).toEqual({
      format: 1,
      trial: 'id',
      overlay: { heartbeat: { intervalS: 10 } },
    });
    const unknown = await drop('logLevel');
    expect([unknown.code, unknown.stderr]).toEqual([
      2,
      expect.stringContaining('have not set logLevel; they have set heartbeat.intervalS'),
    ]);
    // The lines of the page, with the file of this test.
    const page = readFileSync(new URL('../../../docs/remote-configuration.md', import.meta.url), 'utf8');
    const [, lines = ''] = /## On the device\n[^#]*?```sh\n([^`]*)```/.exec(page) ?? [];
    const commands = lines.trim().split('\n');
    expect(commands).toHaveLength(2);
    for (const command of commands) {
      const [, ...args] = command.split(' ').map((word) => (word.startsWith('/etc/') ? file : word));
      expect(await runCli(args, { cwd: dir })).toMatchObject({ code: 0, stderr: '' });
    }
    write({ logLevel: 'debug' });
    expect((await drop('--json')).json()).toEqual({ dropped: ['logLevel'] });
    expect(await drop()).toMatchObject({ code: 2 });
  });
});
