import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { observation } from '../../fixtures/agent-api.ts';
import { bundleDir } from '../../fixtures/bundles.ts';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { deviceMessages } from '../../fixtures/device-messages.ts';
import { freePort, Mosquitto, until } from '../../fixtures/mosquitto.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');
/** Writes to the clipboard, forges a line, clears the screen by a C1 character, reverses the text, and breaks a line. */
const HOSTILE = 'evil\u001b]52;c;cm0=\u0007\r\nok forged\u009b2J\u202egnp\u2028end';
const SHOWN = 'evil?]52;c;cm0=???ok forged?2J?gnp?end';
/** File names and MQTT topics cannot have all of these characters. */
const HOSTILE_NAME = 'evil\u202egnp\u2028end';
/** Line breaks are the only unprintable characters in output. */
const UNPRINTABLE = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

function expectHarmless({ stdout, stderr }: Pick<CliResult, 'stdout' | 'stderr'>): void {
  expect(stdout).not.toMatch(UNPRINTABLE);
  expect(stderr).not.toMatch(UNPRINTABLE);
  expect(`${stdout}\n${stderr}`).not.toMatch(/^ok forged/m);
}

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'swellsight-escapes-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe('answers of a hostile agent', () => {
  let server: Server;
  let url = '';
  /** The JSON body of each path. */
  const answers = new Map<string, unknown>([
    ['/health/detailed', { status: HOSTILE, missing: [HOSTILE], health: { degraded: [HOSTILE] } }],
    [
      '/api/v1/observations',
      {
        observations: [{ ...observation, camera: HOSTILE, status: 'rejected', reasons: [HOSTILE] }],
        cursor: HOSTILE,
      },
    ],
    [
      '/api/v1/outbox',
      {
        depth: 1,
        oldest_age_s: 1,
        dropped_total: 0,
        next: [{ queued_at: HOSTILE, topic: HOSTILE, seq: 1 }],
        rejected: { count: 0, newest: [] },
      },
    ],
    [
      '/api/v1/cameras/north/capture',
      { ...observation, status: 'failed', failure: { code: HOSTILE, message: HOSTILE, hint: HOSTILE } },
    ],
  ]);

  beforeAll(async () => {
    server = createServer((request, response) => {
      const body = answers.get(request.url?.split('?')[0] ?? '');
      const problem = { code: 'internal', title: HOSTILE, detail: HOSTILE, hint: HOSTILE };
      response.writeHead(body === undefined ? 500 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body ?? problem));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  });
  afterAll(() => server.close());

  it.each([
    ['health', ['health']],
    ['observations', ['observations']],
    ['outbox', ['outbox']],
    ['capture', ['capture', 'north']],
    ['an error of status', ['status']],
    ['an error of model list', ['model', 'list']],
  ])('%s: no character controls the terminal, and JSON keeps the value', async (_what, args) => {
    const result = await runCli([...args, '--url', url]);
    expectHarmless(result);
    expect(`${result.stdout}${result.stderr}`).toContain('evil?]52;c;cm0=');
    const json = await runCli([...args, '--url', url, '--json']);
    expectHarmless(json);
    expect(JSON.stringify(JSON.parse(json.stdout || json.stderr))).toContain(
      JSON.stringify(HOSTILE).slice(1, -1),
    );
  });
});

describe('the bundle of a stranger', () => {
  it('model inspect and model test replace the control characters of its fields', async () => {
    const dir = join(root, 'heads');
    await cp(bundleDir('heads'), dir, { recursive: true });
    const file = join(dir, 'model.json');
    const manifest = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    await writeFile(file, JSON.stringify({ ...manifest, description: HOSTILE, license: HOSTILE }));
    const inspected = await runCli(['model', 'inspect', dir]);
    expectHarmless(inspected);
    expect(inspected.stdout).toContain(SHOWN);
    expectHarmless(await runCli(['model', 'inspect', dir, '--json']));
    await writeFile(file, JSON.stringify({ ...manifest, name: HOSTILE, heads: { [HOSTILE]: {} } }));
    for (const command of ['inspect', 'test', 'pack']) {
      const refused = await runCli(['model', command, dir], { cwd: root });
      expect(refused.code).not.toBe(0);
      expectHarmless(refused);
    }
  });
});

describe('file names', () => {
  it('analyze replaces the control characters of file names, as text, CSV and JSON', async () => {
    const image = join(root, `${HOSTILE_NAME}\u001b[2J\n.png`);
    await cp(join(bundleDir('heads'), 'golden', 'picture-1.png'), image);
    for (const format of [[], ['--csv'], ['--json']]) {
      const result = await runCli(['analyze', image, '--model', bundleDir('heads'), ...format], {
        cwd: root,
      });
      expect(result.code, result.stderr).toBe(0);
      expectHarmless(result);
      if (format[0] === '--json') expect(result.json()).toMatchObject({ results: [{ file: image }] });
      else expect(result.stdout).toContain('evil?gnp?end?[2J?.png');
    }
  }, 60_000);
});

describe('messages from a broker', () => {
  let broker: Mosquitto;
  beforeAll(async () => {
    broker = await Mosquitto.start();
  });
  afterAll(() => broker.stop());

  it('fleet watch replaces the control characters of device names and fields', async () => {
    const publisher = await broker.client();
    const valid = deviceMessages();
    const topic = `swellsight/v1/home/${HOSTILE_NAME}`;
    await publisher.publishAsync(`${topic}/status`, JSON.stringify(valid['status']), { retain: true });
    await publisher.publishAsync(
      `${topic}/model/state`,
      JSON.stringify({ ...valid['model/state'], phase: HOSTILE }),
      { retain: true },
    );
    for (const format of [[], ['--json']]) {
      const result = await runCli(['fleet', 'watch', '--broker', broker.url, '--once', ...format]);
      expect(result.code).toBe(0);
      expectHarmless(result);
      expect(result.stdout).toContain('evil');
    }
  }, 60_000);

  it.each([
    ['for people', ['--pretty'], SHOWN],
    ['as JSON', [], 'evil\\u001b]52;c;cm0=\\u0007\\r\\nok forged\\u009b2J\\u202egnp\\u2028end'],
  ])(
    'the log %s replaces the control characters of the id of a malformed command',
    async (_what, args, shown) => {
      const config = join(root, 'agent.json');
      await writeFile(
        config,
        JSON.stringify({
          site: 'test',
          device: 'dev',
          stateDir: join(root, `state${String(args.length)}`),
          http: { port: await freePort() },
          mqtt: { url: broker.url },
        }),
      );
      const agent = spawn(process.execPath, [MAIN, 'run', '--config', config, ...args], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let repeat: NodeJS.Timeout | undefined;
      try {
        let stdout = '';
        agent.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
        const publisher = await broker.client();
        const command = JSON.stringify({ id: HOSTILE, args: 1 });
        repeat = setInterval(() => publisher.publish('swellsight/v1/test/dev/cmd/ping', command), 200);
        await until(() => stdout.includes('command rejected'), 'the rejected command', 90_000);
        expect(stdout).toContain(shown);
        expectHarmless({ stdout, stderr: '' });
      } finally {
        clearInterval(repeat);
        agent.kill('SIGKILL');
      }
    },
    120_000,
  );
});
