import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { startServer } from '../../fixtures/http-server.ts';
import { freePort } from '../../fixtures/mosquitto.ts';

const TOKEN = 'sesame';
/** An address of this machine that is not loopback, as another machine uses it. */
const remote = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

describe('commands for an agent at another address', () => {
  let served: Awaited<ReturnType<typeof startServer>>;
  let dir = '';
  let url = '';
  const cli = (...args: string[]): Promise<CliResult> => runCli(args, { env: { SWELLSIGHT_URL: url } });

  beforeEach(async () => {
    served = await startServer({ host: '0.0.0.0', token: TOKEN });
    dir = mkdtempSync(join(tmpdir(), 'swellsight-remote-'));
    writeFileSync(join(dir, 'token'), `${TOKEN}\n`);
    url = `http://${remote ?? '127.0.0.1'}:${String(served.port)}`;
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it.skipIf(remote === undefined)(
    'send health, status and model reload with a token, and fail without it',
    async () => {
      const file = join(dir, 'token');
      const health = await cli('health', '--token-file', file, '--json');
      expect([health.code, health.json()]).toMatchObject([0, { status: 'ok', ready: true }]);
      const status = await cli('status', '--token', TOKEN, '--json');
      expect([status.code, status.json()]).toMatchObject([0, { status: 'online' }]);
      const reload = await cli('model', 'reload', '--token', TOKEN, '--json');
      expect([reload.code, reload.json()]).toMatchObject([0, { model: { name: 'gauge' } }]);
      const refused = await cli('model', 'reload', '--json');
      expect([refused.code, JSON.parse(refused.stderr)]).toMatchObject([
        1,
        { error: { code: 'request_unauthorized' } },
      ]);
    },
  );

  it('reach the agent below a path, behind a proxy', async () => {
    const proxy = createServer((incoming, outgoing) => {
      const path = (incoming.url ?? '').replace(/^\/surf\//, '/');
      const forwarded = request(
        { host: '127.0.0.1', port: served.port, method: incoming.method, path, headers: incoming.headers },
        (response) => {
          outgoing.writeHead(incoming.url?.startsWith('/surf/') ? (response.statusCode ?? 500) : 404);
          response.pipe(outgoing);
        },
      );
      incoming.pipe(forwarded);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    for (const base of ['/surf', '/surf/'])
      expect(
        (await cli('health', '--url', `http://127.0.0.1:${String(port)}${base}`, '--token', TOKEN)).code,
      ).toBe(0);
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });

  it('exit with 1 for a failed or refusing agent, with 69 without an agent, with 2 for wrong usage', async () => {
    const token = ['--token', TOKEN];
    served.agent.alive = false;
    const failed = await cli('health', '--json', ...token);
    expect([failed.code, failed.json()]).toMatchObject([1, { status: 'failed' }]);
    served.agent.alive = true;
    served.agent.reloadModel = () =>
      Promise.reject(new AgentError('vision_start_failed', 'the model did not start'));
    const reload = await cli('model', 'reload', '--json', ...token);
    expect([reload.code, JSON.parse(reload.stderr)]).toMatchObject([
      1,
      { error: { code: 'vision_start_failed' } },
    ]);
    const noAgent = ['--url', `http://127.0.0.1:${String(await freePort())}`, '--json'];
    for (const command of [['health'], ['status'], ['model', 'reload']]) {
      const unreachable = await cli(...command, ...noAgent);
      expect([unreachable.code, JSON.parse(unreachable.stderr)]).toMatchObject([
        69,
        { error: { code: 'agent_unreachable' } },
      ]);
    }
    expect((await cli('health', '--url', 'ftp://127.0.0.1')).code).toBe(2);
    expect((await cli('health', ...token, '--token-file', join(dir, 'token'))).code).toBe(2);
    expect((await cli('health', '--token', 'two\nlines')).code).toBe(2);
    expect((await cli('health', '--token-file', join(dir, 'none'))).code).toBe(2);
  });
});
