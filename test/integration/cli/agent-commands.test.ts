import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpServer } from '../../../src/http/server.ts';
import { createLog } from '../../../src/log.ts';
import { CannedAgent, OBSERVATION_ID, observation } from '../../fixtures/agent-api.ts';
import { runCli } from '../../fixtures/cli.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function agent(token: string | null = null) {
  const api = new CannedAgent();
  const options = {
    host: '127.0.0.1',
    port: 0,
    token,
    cors: [],
    maxUploadMb: 20,
    batchMax: 50,
    cacheTtlS: 300,
    rateLimit: 600,
  };
  const server = new HttpServer(options, { api, log: createLog('silent'), version: '1.2.3' });
  closers.push(() => server.stop());
  const { port } = await server.start();
  const url = `http://127.0.0.1:${String(port)}`;
  return { api, url, cli: (...args: string[]) => runCli([...args, '--url', url]) };
}

describe('commands that concern a running agent', () => {
  it('status tells state, model, broker and cameras; --json the whole document', async () => {
    const { cli } = await agent();
    const { code, stdout } = await cli('status');
    expect(code).toBe(0);
    expect(stdout).toMatch(/state +online/);
    expect(stdout).toMatch(
      /camera north +up +every 60 s +1\.20 m \(0\.90 to 1\.50, site_median\) +3 labels, 5 more wanted/,
    );
    expect((await cli('status', '--json')).json()).toMatchObject({
      status: 'online',
      model: { active: { name: 'gauge' } },
    });
  });

  it('health is 0 when well or degraded, 1 when failed', async () => {
    const { cli, api } = await agent();
    expect(await cli('health')).toMatchObject({ code: 0, stdout: 'ok\n' });
    api.degraded = ['clock_unsynced'];
    expect(await cli('health')).toMatchObject({ code: 0, stdout: 'degraded  clock_unsynced\n' });
    api.alive = false;
    expect(await cli('health')).toMatchObject({ code: 1, stdout: 'failed  clock_unsynced\n' });
  });

  it('capture prints the observation; an unknown camera is 1 with its code', async () => {
    const { cli, api } = await agent();
    expect((await cli('capture', 'north', '--json')).json()).toEqual(observation);
    expect((await cli('capture', 'north')).stdout).toContain('1.20 m');
    const unknown = await cli('capture', 'south', '--json');
    expect(unknown.code).toBe(1);
    expect(JSON.parse(unknown.stderr)).toMatchObject({ error: { code: 'camera_unknown' } });
    api.captured = () => Promise.resolve({ ...observation, status: 'failed', reasons: ['camera_timeout'] });
    expect((await cli('capture', 'north')).code).toBe(1);
  });

  it('label finds the camera by itself, takes heights as people write them, and takes them back', async () => {
    const { cli, api } = await agent();
    const { code, stdout } = await cli('label', OBSERVATION_ID, '1,4 m', '--observer', 'ana');
    expect([code, stdout]).toEqual([0, 'north: 3 labels, 5 more wanted\n']);
    expect(api.labelled).toEqual([{ observation_id: OBSERVATION_ID, height_m: 1.4, observer: 'ana' }]);
    expect((await cli('label', OBSERVATION_ID, '--remove')).code).toBe(0);
    expect((await cli('label', OBSERVATION_ID, 'high')).code).toBe(2);
    expect((await cli('label', OBSERVATION_ID)).code).toBe(2);
    const absurd = await cli('label', OBSERVATION_ID, '99');
    expect([absurd.code, absurd.stderr.includes('height_m')]).toEqual([2, true]);
  });

  it('observations hands its options on, and tells how to go on', async () => {
    const { cli, api } = await agent();
    const { stdout, stderr } = await cli('observations', '--camera', 'north', '--limit', '3');
    expect(stdout).toContain(OBSERVATION_ID);
    expect(stderr).toBe('more: --cursor next\n');
    expect(api.queries).toEqual([{ camera: 'north', limit: 3 }]);
    expect((await cli('observations', '--json')).json()).toEqual({
      observations: [observation],
      cursor: 'next',
    });
  });

  it('outbox tells what waits and what was set aside; --json the whole document', async () => {
    const { cli, api } = await agent();
    const { code, stdout } = await cli('outbox');
    expect(code).toBe(0);
    expect(stdout).toMatch(/waiting +2, the oldest for 90 s\n/);
    expect(stdout).toMatch(/dropped +1\n/);
    expect(stdout).toMatch(/next +\S+Z +camera\/north\/observation +#7\n/);
    expect(stdout).toMatch(/rejected +\S+Z +camera\/north\/observation +#3 +mqtt_too_large/);
    expect((await cli('outbox', '--json')).json()).toEqual(api.outboxView);
    const empty = { count: 0, newest: [] };
    api.outboxView = { depth: 0, oldest_age_s: null, dropped_total: 0, next: [], rejected: empty };
    expect((await cli('outbox')).stdout).toBe('waiting   0\ndropped   0\nrejected  0\n');
  });

  it('sends the token from a file or the environment', async () => {
    const { url } = await agent('sesame');
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-token-'));
    closers.push(() => rmSync(dir, { recursive: true }));
    const file = join(dir, 'token');
    writeFileSync(file, 'sesame\n');
    expect((await runCli(['health', '--url', url, '--token-file', file])).code).toBe(0);
    expect(
      (await runCli(['health'], { env: { SWELLSIGHT_TOKEN: 'sesame', SWELLSIGHT_URL: url } })).code,
    ).toBe(0);
    const refused = await runCli(['health', '--url', url]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('bearer token');
  });

  it('a server that is no agent is 69', async () => {
    const other = createServer((_request, response) => response.end('<html>hello</html>'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise((resolve) => other.close(resolve)));
    const address = other.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const { code, stderr } = await runCli(['status', '--url', `http://127.0.0.1:${String(port)}`]);
    expect(code).toBe(69);
    expect(stderr).toContain('not as an agent does');
  });
});
