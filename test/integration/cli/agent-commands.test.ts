import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpServer } from '../../../src/http/server.ts';
import { createLog } from '../../../src/base/log.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { lockState, LOCK_FILE } from '../../../src/store/file/lock.ts';
import {
  CannedAgent,
  install,
  OBSERVATION_ID,
  observation,
  seaState,
  update,
} from '../../fixtures/agent-api.ts';
import { runCli } from '../../fixtures/cli.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanups.splice(0)) await cleanUp();
});

async function serveAgent(token: string | null = null) {
  const api = new CannedAgent();
  const options = {
    host: '127.0.0.1',
    port: 0,
    token,
    cors: [],
    allowedHosts: [],
    maxUploadMb: 20,
    batchMax: 50,
    cacheTtlS: 300,
    rateLimit: 600,
  };
  const server = new HttpServer(options, { api, log: createLog('silent'), version: '1.2.3' });
  cleanups.push(() => server.stop());
  const { port } = await server.start();
  const url = `http://127.0.0.1:${String(port)}`;
  return { api, url, cli: (...args: string[]) => runCli([...args, '--url', url]) };
}

describe('commands for a running agent', () => {
  it('status shows state, model, broker and cameras, and with --json the whole document', async () => {
    const { cli } = await serveAgent();
    const { code, stdout } = await cli('status');
    expect(stdout).toMatch(/period 13\.7 s \(12\.6 to 14\.5 s\), .* ago/);
    expect(code).toBe(0);
    expect(stdout).toMatch(/state +online/);
    expect(stdout).toMatch(/heartbeat +\d+ \w+ ago/);
    expect(stdout).toMatch(
      /camera north +up +every 60 s +usual height 1\.20 m \(0\.90 to 1\.50, median of the labels\), \d+ \w+ ago +3 labels, 5 more sessions needed/,
    );
    expect((await cli('status', '--json')).json()).toMatchObject({
      status: 'online',
      model: { active: { name: 'gauge' } },
    });
  });

  it('status says until when a camera pauses, in local time', async () => {
    const { api, url } = await serveAgent();
    const [camera] = api.cameras();
    if (!camera) throw new Error('no camera');
    const show = async (next: Date): Promise<string> => {
      api.cameras = () => [{ ...camera, next_run_at: next.toISOString() }];
      return (await runCli(['status', '--url', url], { env: { TZ: 'Asia/Tokyo' } })).stdout;
    };
    const in9h = new Date(Date.now() + 9 * 3_600_000);
    const time = in9h.toLocaleTimeString('en-GB', {
      timeZone: 'Asia/Tokyo',
      hour: '2-digit',
      minute: '2-digit',
    });
    expect(await show(in9h)).toContain(`asleep until ${time}`);
    expect(await show(new Date(Date.now() + 60_000))).not.toContain('asleep');
  });

  it('health exits with 0 for ok and degraded, with 1 for failed', async () => {
    const { cli, api } = await serveAgent();
    expect(await cli('health')).toMatchObject({ code: 0, stdout: 'ok\n' });
    api.degraded = ['clock_unsynced'];
    expect(await cli('health')).toMatchObject({ code: 0, stdout: 'degraded  clock_unsynced\n' });
    api.alive = false;
    expect(await cli('health')).toMatchObject({ code: 1, stdout: 'failed  clock_unsynced\n' });
  });

  it('capture prints the observation, and exits with 1 for an unknown camera', async () => {
    const { cli, api } = await serveAgent();
    expect((await cli('capture', 'north', '--json')).json()).toEqual(observation);
    expect((await cli('capture', 'north')).stdout).toContain('1.20 m');
    const unknown = await cli('capture', 'south', '--json');
    expect(unknown.code).toBe(1);
    expect(JSON.parse(unknown.stderr)).toMatchObject({ error: { code: 'camera_unknown' } });
    api.captured = () => Promise.resolve({ ...observation, status: 'failed', reasons: ['camera_timeout'] });
    expect((await cli('capture', 'north')).code).toBe(1);
    expect((await cli('capture', 'north', '--sea-state', '--json')).json()).toEqual(seaState);
    const line = `${seaState.captured_at}  north  period 13.7 s (12.6 to 14.5 s)\n`;
    expect((await cli('capture', 'north', '--sea-state', '--duration', '300')).stdout).toBe(line);
    expect((await cli('capture', 'north', '--sea-state', '--duration', 'long')).code).toBe(2);
    expect((await cli('capture', 'north', '--duration', '300')).code).toBe(2);
  });

  it('label finds the camera, accepts heights with comma and unit, and removes a label', async () => {
    const { cli, api } = await serveAgent();
    const { code, stdout } = await cli('label', OBSERVATION_ID, '1,4 m', '--observer', 'ana');
    expect([code, stdout]).toEqual([0, 'north: 3 labels, 5 more sessions needed\n']);
    await cli('label', OBSERVATION_ID, '5ft', '--scale', 'hawaiian', '--tide', '-0.3');
    expect(api.labelled).toEqual([
      { observation_id: OBSERVATION_ID, height_m: 1.4, observer: 'ana' },
      { observation_id: OBSERVATION_ID, height: 5, unit: 'ft', scale: 'hawaiian', tide_m: -0.3 },
    ]);
    expect((await cli('label', OBSERVATION_ID, '--remove')).code).toBe(0);
    expect((await cli('label', OBSERVATION_ID, 'high')).code).toBe(2);
    const missing = await cli('label', OBSERVATION_ID);
    expect([missing.code, missing.stderr]).toEqual([
      2,
      expect.stringContaining('the height in metres is missing'),
    ]);
    expect(missing.stderr).toContain('--help');
    const tooHigh = await cli('label', OBSERVATION_ID, '99');
    expect([tooHigh.code, tooHigh.stderr.includes('height_m')]).toEqual([2, true]);
  });

  it('observations sends its options, and prints the cursor of the next page', async () => {
    const { cli, api } = await serveAgent();
    const { stdout, stderr } = await cli('observations', '--camera', 'north', '--limit', '3');
    expect(stdout).toContain(OBSERVATION_ID);
    expect(stderr).toBe('more: --cursor next\n');
    expect(api.queries).toEqual([{ camera: 'north', limit: 3 }]);
    expect((await cli('observations', '--json')).json()).toEqual({
      observations: [observation],
      cursor: 'next',
    });
  });

  it('label --latest takes the newest measured observation of a camera', async () => {
    const { cli, api } = await serveAgent();
    const { code, stdout } = await cli('label', '--latest', 'north', '1.4');
    expect([code, stdout]).toEqual([0, 'north: 3 labels, 5 more sessions needed\n']);
    expect(api.labelled).toEqual([{ observation_id: OBSERVATION_ID, height_m: 1.4 }]);
    expect(api.queries).toEqual([{ camera: 'north', status: 'measured', limit: 1 }]);
    expect((await cli('label', '--latest', 'north', OBSERVATION_ID, '1.4')).code).toBe(2);
    expect((await cli('label')).stderr).toContain('--latest');
  });

  it('observations of an unknown camera are an error, and messages name options', async () => {
    const { cli, api } = await serveAgent();
    api.observations = () => ({ observations: [], cursor: null });
    const unknown = await cli('observations', '--camera', 'nroth');
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('--camera nroth is unknown')]);
    expect(unknown.stderr).toContain('the cameras are north');
    expect((await cli('observations', '--camera', 'north')).code).toBe(0);
    const tooMany = await cli('observations', '--limit', '5000');
    expect([tooMany.code, tooMany.stderr]).toEqual([2, expect.stringContaining('--limit')]);
    expect(tooMany.stderr).not.toContain('querystring');
  });

  it('takes address and token from the configuration file of the agent', async () => {
    const { url } = await serveAgent('sesame');
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-config-'));
    cleanups.push(() => rmSync(dir, { recursive: true }));
    const file = join(dir, 'agent.json5');
    writeFileSync(file, JSON.stringify({ http: { port: Number(new URL(url).port), token: 'sesame' } }));
    for (const command of [['status'], ['observations'], ['model', 'list'], ['agent', 'list']])
      expect((await runCli([...command, '--config', file], { cwd: dir })).code).toBe(0);
    const env = { SWELLSIGHT_CONFIG: file };
    expect((await runCli(['status'], { cwd: dir, env })).code).toBe(0);
    expect(
      (await runCli(['status', '--url', url, '--token', 'sesame'], { env: { SWELLSIGHT_CONFIG: 'x' } })).code,
    ).toBe(0);
    const refused = await runCli(['status', '--url', url]);
    expect(refused.stderr).toContain('--token-file');
    writeFileSync(file, '{ http: { port: "8080" } }');
    const ofOther = await runCli(['status'], { cwd: dir, env });
    expect(ofOther.stderr).toMatch(
      /^warning: address and token are not those of SWELLSIGHT_CONFIG: .* 1 fault/,
    );
    expect((await runCli(['status', '--url', url], { cwd: dir, env })).stderr).not.toContain('warning');
  });

  it('config drop asks the agent that holds the state directory', async () => {
    const { url, api } = await serveAgent('sesame');
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-config-'));
    cleanups.push(() => rmSync(dir, { recursive: true }));
    const file = join(dir, 'agent.json5');
    const port = Number(new URL(url).port);
    writeFileSync(file, JSON.stringify({ stateDir: dir, http: { port, token: 'sesame' } }));
    const overlay = join(dir, 'config-overlay.json');
    const stored = JSON.stringify({ format: 1, trial: null, overlay: { logLevel: 'debug' } });
    writeFileSync(overlay, stored);
    const lock = lockState(join(dir, LOCK_FILE));
    cleanups.push(() => lock.release());
    const drop = (...args: string[]) => runCli(['config', 'drop', ...args, '--config', file]);
    expect(await drop('logLevel')).toMatchObject({
      code: 0,
      stdout: 'removed logLevel; the agent uses the local values now\n',
    });
    expect((await drop('--json')).json()).toEqual(api.dropConfig(null));
    const silent = await drop('--url', 'http://127.0.0.1:1');
    expect([silent.code, silent.stderr]).toEqual([69, expect.stringContaining('stop the agent')]);
    // The file belongs to the agent.
    expect(readFileSync(overlay, 'utf8')).toBe(stored);
  });

  it('outbox shows waiting and rejected messages, and with --json the whole document', async () => {
    const { cli, api } = await serveAgent();
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
    const { url } = await serveAgent('sesame');
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-token-'));
    cleanups.push(() => rmSync(dir, { recursive: true }));
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

  it('exits with 69 for a server that is not an agent', async () => {
    const other = createServer((_request, response) => response.end('<html>hello</html>'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => new Promise((resolve) => other.close(resolve)));
    const address = other.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const { code, stderr } = await runCli(['status', '--url', `http://127.0.0.1:${String(port)}`]);
    expect(code).toBe(69);
    expect(stderr).toContain('it is not an agent');
  });
});

describe('commands for the models of a running agent', () => {
  it('list shows the slots, the last install and refused models', async () => {
    const { cli, api } = await serveAgent();
    const failed = { ...install, phase: 'failed' as const, in_progress: false };
    const reason = { code: 'model_golden_mismatch', message: 'off by 0.3' };
    const refused = { name: 'gauge', version: '1.1.0', digest: 'sha256:1', code: reason.code, at: failed.at };
    api.listModels = () => ({
      ...new CannedAgent().listModels(),
      install: { ...failed, reason },
      refused: [refused],
      trusted: false,
    });
    const { code, stdout } = await cli('model', 'list');
    expect(code).toBe(0);
    expect(stdout).toMatch(/active +gauge 1\.0\.0 +sha256:0 +not signed/);
    expect(stdout).toMatch(/install +gauge 1\.1\.0 +failed +model_golden_mismatch: off by 0\.3/);
    expect(stdout).toMatch(/refused +gauge 1\.1\.0 +sha256:1/);
    expect((await cli('model', 'list', '--json')).json()).toMatchObject({ phase: 'committed' });
    api.listModels = () => ({ ...new CannedAgent().listModels(), pinned: true });
    expect((await cli('model', 'list')).stdout).toMatch(/^active .* pinned by model\.active$/m);
    api.listModels = () => ({ ...new CannedAgent().listModels(), expiry_checked: false });
    const unchecked = await cli('model', 'list');
    expect(unchecked.stdout).toMatch(/^active .* expiry of the signatures not checked$/m);
    expect(unchecked.stderr).toContain('its signatures may have expired');
  });

  it('install starts an install, follows it with --watch, and exits with 1 when it fails', async () => {
    const { cli, api } = await serveAgent();
    expect(await cli('model', 'install', 'gauge', '1.1.0', '--clear-failed')).toMatchObject({
      code: 0,
      stdout: 'gauge 1.1.0: requested\n',
    });
    expect(api.installs).toEqual([
      [{ name: 'gauge', version: '1.1.0', source: { kind: 'repository' }, clear_failed: true }],
    ]);
    const phases = ['downloading', 'testing', 'probation'] as const;
    let polls = 0;
    api.listModels = () => {
      const phase = phases[Math.min(polls++, 2)] ?? 'probation';
      return {
        ...new CannedAgent().listModels(),
        install: { ...install, phase, in_progress: phase !== 'probation' },
      };
    };
    expect(await cli('model', 'install', 'gauge', '1.1.0', '--watch')).toMatchObject({
      code: 0,
      stdout: 'gauge 1.1.0: probation\n',
      stderr: 'requested\ndownloading\ntesting\nprobation\n',
    });
    const reason = { code: 'model_trust_expired', message: 'the timestamp has expired' };
    api.listModels = () => ({
      ...new CannedAgent().listModels(),
      install: { ...install, phase: 'failed', in_progress: false, reason },
    });
    const failed = await cli('model', 'install', 'gauge', '1.1.0', '--watch');
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain('the timestamp has expired');
  });

  it('install rejects an invalid name or version before it starts an install', async () => {
    const { cli, api } = await serveAgent();
    for (const [name, version] of [
      ['../gauge', '1.0.0'],
      ['gauge', '1.0.0/../2.0.0'],
      ['gauge', '1'],
      ['GAUGE', '1.0.0'],
    ] as const)
      expect((await cli('model', 'install', name, version)).code).toBe(2);
    expect(api.installs).toEqual([]);
  });

  it('rollback, reload and abort print their result', async () => {
    const { cli, api } = await serveAgent();
    expect((await cli('model', 'rollback')).stdout).toBe('gauge 1.0.0 is active\n');
    expect((await cli('model', 'reload', '--json')).json()).toMatchObject({ model: { version: '1.0.0' } });
    expect((await cli('model', 'abort')).stdout).toBe('the install is aborted\n');
    api.abortInstall = () => Promise.reject(new AgentError('model_install_none', 'no install is running'));
    expect(await cli('model', 'abort')).toMatchObject({ code: 1 });
  });
});

describe('commands for the versions of the agent', () => {
  it('list shows the versions, the update and banned versions', async () => {
    const { cli, api } = await serveAgent();
    const at = '2026-05-01T12:00:00.000Z';
    api.versions = {
      ...api.versions,
      banned: [{ version: '1.1.0', digest: `sha256:${'c'.repeat(64)}`, reason: 'update_crash_loop', at }],
      update: { ...update, phase: 'trial', waiting_for: ['time', 'broker'] },
    };
    const { code, stdout } = await cli('agent', 'list');
    expect(code).toBe(0);
    expect(stdout).toMatch(/running +1\.2\.0 +sha256:aaaaaaaaaaaa/);
    expect(stdout).toMatch(/update +1\.3\.0 +trial +waits for time, broker/);
    expect(stdout).toMatch(/banned +1\.1\.0 +sha256:cccccccccccc +update_crash_loop, 2026/);
    expect((await cli('agent', 'list', '--json')).json()).toEqual(api.versions);
  });

  it('install sends version and digest, and watches over a restart', async () => {
    const { cli, api } = await serveAgent();
    const digest = `sha256:${'d'.repeat(64)}`;
    expect(await cli('agent', 'install', '1.3.0', '--digest', digest)).toMatchObject({
      code: 0,
      stdout: 'agent 1.3.0: requested\n',
    });
    expect(api.updates).toEqual([[{ version: '1.3.0', digest, source: { kind: 'repository' } }]]);
    const phases = ['downloading', 'installing', 'trial', 'committed'] as const;
    let asked = 0;
    api.listAgentVersions = () => {
      const phase = phases[Math.min(asked, phases.length - 1)] ?? 'committed';
      asked += 1;
      return { ...api.versions, update: { ...update, phase, in_progress: phase !== 'committed' } };
    };
    expect(await cli('agent', 'install', '1.3.0', '--watch')).toMatchObject({
      code: 0,
      stdout: 'agent 1.3.0: committed\n',
      stderr: 'requested\ndownloading\ninstalling\ntrial\ncommitted\n',
    });
  });

  it('install and rollback exit with 1 when the update failed', async () => {
    const { cli, api } = await serveAgent();
    const reason = { code: 'update_crash_loop', message: 'the version ended three times' };
    const ended = { ...update, phase: 'returned', in_progress: false, reason } as const;
    api.listAgentVersions = () => ({ ...api.versions, update: ended });
    const failed = await cli('agent', 'install', '1.3.0', '--watch');
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining(reason.message)]);
    api.rollbackAgent = () => {
      throw new AgentError('update_no_previous', 'version 1.2.0 is the only one on this device');
    };
    expect(await cli('agent', 'rollback', '--json')).toMatchObject({ code: 1 });
    expect((await cli('agent', 'install', 'newest')).code).toBe(2);
  });
});
