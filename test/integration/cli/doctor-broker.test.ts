import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { checkBroker } from '../../../src/cli/doctor/broker.ts';
import type { Finding } from '../../../src/control/doctor/finding.ts';
import { processTerminal } from '../../../src/cli/terminal.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { RunningAgent } from '../../fixtures/agent.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { freePort, until } from '../../fixtures/mosquitto.ts';
import { memoryDir } from '../../fixtures/store.ts';

const bed = new LinkTestBed();
const TIMEOUT_MS = 180_000;
const CAMERA = { id: 'sea', kind: 'simulated', schedule: { everyS: 60 } };

async function check(overlay: Record<string, unknown>): Promise<Finding[]> {
  const dir = memoryDir();
  bed.defer(dir.remove);
  const settings = loadSettings({
    file: null,
    env: {},
    cwd: dir.path,
    overlay: {
      site: 'test',
      device: 'dev',
      stateDir: dir.path,
      http: { port: await freePort() },
      ...overlay,
    },
  });
  const findings: Finding[] = [];
  const terminal = processTerminal({}, new AbortController().signal);
  for await (const finding of checkBroker({ settings, terminal })) findings.push(finding);
  return findings;
}

/** A running agent, and the settings with which doctor finds it. */
async function startAgent(config: Record<string, unknown>, overlay: Record<string, unknown> = {}) {
  const agent = await RunningAgent.start({ cameras: [CAMERA], ...config }, { steered: { synced: true } });
  bed.defer(() => agent[Symbol.asyncDispose]());
  await agent.waitFor('start', ({ msg }) => msg === 'agent started');
  const http = { port: Number(new URL(agent.url).port) };
  return { agent, settings: { stateDir: `${agent.stateDir}/var`, http, ...config, ...overlay } };
}

const linkOf = async (agent: RunningAgent) =>
  (await agent.json('/api/v1/status'))['link'] as { connected_since: string | null; failure: object | null };

describe('doctor beside a running agent', () => {
  it(
    'shows the connection of the agent, which stays connected and gets its commands',
    async () => {
      const broker = await bed.broker();
      const { agent, settings } = await startAgent({ mqtt: { url: broker.url } });
      await agent.waitFor('connection', ({ msg }) => msg === 'connected');
      const { connected_since: since } = await linkOf(agent);
      const detail = `the running agent is connected to 127.0.0.1:${String(broker.port)} with MQTT 5 since ${String(since)}`;
      expect(await check(settings)).toEqual([{ check: 'broker', state: 'ok', detail, mend: null }]);

      // An agent that holds the state directory, but does not answer at the address of the settings.
      const silent = await check({ ...settings, http: { port: await freePort() } });
      expect(silent).toMatchObject([
        { state: 'warn', detail: expect.stringMatching(/ECONNREFUSED/) as unknown },
      ]);
      expect(silent[0]?.detail).toContain(`process ${String(agent.pid)} uses the state directory`);

      // The same device on another machine: no process here holds the state directory.
      const elsewhere = await check({ mqtt: { url: broker.url } });
      expect(elsewhere).toMatchObject([
        { state: 'warn', detail: expect.stringContaining('test/dev is online') as unknown },
      ]);

      const answers = await broker.record('swellsight/v1/test/dev/cmdres/ping');
      const operator = await broker.client();
      const command = JSON.stringify({ id: 'one', args: {} });
      await operator.publishAsync('swellsight/v1/test/dev/cmd/ping', command, { qos: 1 });
      await until(
        () => answers.some(({ payload }) => payload.toString().includes('succeeded')),
        'the answer',
      );
      expect((await linkOf(agent)).connected_since).toBe(since);
      expect(agent.lines.filter(({ msg }) => msg === 'link lost' || msg === 'connected')).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  it(
    'shows the connection to the embedded broker, and why there is none to a broker that refuses',
    async () => {
      const port = await freePort();
      const embedded = await startAgent({ mqtt: { embedded: { port } } });
      await embedded.agent.waitFor('connection', ({ msg }) => msg === 'connected');
      const detail = expect.stringContaining(
        `connected to 127.0.0.1:${String(port)} with MQTT 3.1.1`,
      ) as unknown;
      expect(await check(embedded.settings)).toMatchObject([{ state: 'ok', detail }]);

      const broker = await bed.broker({ users: { dev: 'right' } });
      const refused = await startAgent({ mqtt: { url: broker.url, username: 'dev', password: 'wrong' } });
      await refused.agent.waitFor('refusal', ({ code }) => code === 'mqtt_refused');
      expect(await check(refused.settings)).toMatchObject([
        {
          state: 'fail',
          detail: expect.stringMatching(/not connected: .*refused.*\[mqtt_refused\]$/) as unknown,
          mend: expect.stringContaining('password') as unknown,
        },
        { state: 'warn', detail: expect.stringContaining('link_refused') as unknown },
      ]);
    },
    TIMEOUT_MS,
  );
});

describe('doctor without a running agent', () => {
  it('connects as the agent would, and names the rules that the agent would meet', async () => {
    const users = { dev: 'secret' };
    const login = { username: 'dev', password: 'secret' };
    const open = await bed.broker({ users, acl: ['pattern readwrite swellsight/v1/+/%u/#'] });
    expect(await check({ mqtt: { url: open.url, ...login } })).toMatchObject([
      { state: 'ok', detail: expect.stringContaining('as the agent, with MQTT 5') as unknown },
    ]);
    const closed = await bed.broker({ users, acl: ['pattern read swellsight/v1/+/%u/#'] });
    expect(await check({ mqtt: { url: closed.url, ...login } })).toMatchObject([
      {
        state: 'fail',
        detail: expect.stringMatching(
          /^no message on swellsight\/v1\/test\/dev\/status: .*mqtt_publish_refused/,
        ) as unknown,
        mend: expect.stringContaining('access rules') as unknown,
      },
    ]);
    const wrong = await check({ mqtt: { url: open.url, ...login, password: 'wrong' } });
    expect(wrong).toMatchObject([
      { state: 'fail', detail: expect.stringContaining('mqtt_refused') as unknown },
    ]);
  });

  it('counts the queued commands', async () => {
    const broker = await bed.broker();
    const overlay = { mqtt: { url: broker.url, clientId: 'agent' } };
    const operator = await broker.client();
    const agent = await broker.client({
      clientId: 'agent',
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    });
    await agent.subscribeAsync('swellsight/v1/test/dev/cmd/+', { qos: 1 });
    await agent.endAsync();
    for (const [count, text] of [
      [1, '; 1 command for the agent waits there'],
      [2, '; 2 commands for the agent wait there'],
    ] as const) {
      await operator.publishAsync('swellsight/v1/test/dev/cmd/ping', `{"id":"${String(count)}"}`, { qos: 1 });
      const [found] = await check(overlay);
      expect(found?.state).toBe('ok');
      expect(found?.detail.endsWith(text), found?.detail).toBe(true);
    }
  });

  it('warns of an address that cannot be used while another one works', async () => {
    const broker = await bed.broker();
    const closed = `mqtt://127.0.0.1:${String(await freePort())}`;
    const other = await bed.broker({ users: { dev: 'secret' } });
    expect(await check({ mqtt: { url: [closed, broker.url, other.url] } })).toMatchObject([
      { state: 'ok' },
      { state: 'warn', detail: expect.stringContaining(`${closed}: the broker is unreachable`) as unknown },
      { state: 'warn', detail: expect.stringContaining(`${other.url}: the broker refused`) as unknown },
    ]);
    expect(await check({ mqtt: { url: [closed, other.url] } })).toMatchObject([
      { state: 'fail' },
      { state: 'fail' },
    ]);
  });

  it('checks the connection when only the retained status says that an agent runs', async () => {
    const broker = await bed.broker();
    const writer = await broker.client();
    const status = JSON.stringify({ state: 'online', session: 'dead', at: '2026-01-01T00:00:00.000Z' });
    await writer.publishAsync('swellsight/v1/test/dev/status', status, { qos: 1, retain: true });
    expect(await check({ mqtt: { url: broker.url } })).toMatchObject([
      { state: 'ok' },
      { state: 'warn', detail: expect.stringContaining('no agent answers') as unknown },
    ]);
  }, 60_000);

  it('checks the port of the embedded broker', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    bed.defer(() => other.close());
    const { port } = other.address() as AddressInfo;
    expect(await check({ mqtt: { embedded: { port } } })).toMatchObject([{ state: 'fail' }]);
    const bound = await bindOnly();
    expect(await check({ mqtt: { embedded: { port: bound } } })).toMatchObject([
      { state: 'fail', detail: `another program already uses 127.0.0.1:${String(bound)}` },
    ]);
    expect(await check({ mqtt: { embedded: { port: await freePort() } } })).toMatchObject([{ state: 'ok' }]);
  });
});

/** Binds a port in another process, which does not listen on it. Returns the port. */
async function bindOnly(): Promise<number> {
  const program =
    'import socket,time; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1], flush=True); time.sleep(600)';
  const child = spawn('/usr/bin/python3', ['-c', program], { stdio: ['ignore', 'pipe', 'ignore'] });
  bed.defer(() => child.kill('SIGKILL'));
  const [text] = (await once(child.stdout, 'data')) as [Buffer];
  return Number(text.toString());
}
