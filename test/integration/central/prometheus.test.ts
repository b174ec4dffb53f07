import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { RunningAgent } from '../../fixtures/agent.ts';
import { freePort } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';

const CENTRAL = join(import.meta.dirname, '../../../config/central');
const TOKEN = 'a-token-of-the-test-0123456789abcdef';

interface QueryResult {
  readonly status: string;
  readonly data: { readonly result: readonly { readonly value: readonly [number, string] }[] };
}

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

const panels = (
  JSON.parse(readFileSync(join(CENTRAL, 'grafana/dashboards/swellsight.json'), 'utf8')) as {
    panels: readonly Panel[];
  }
).panels;
const expressions = panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const));

describe('Prometheus with the files of config/central', () => {
  const dir = tempDir();
  let agent: RunningAgent;
  let prometheus: ChildProcess;
  let url: string;
  let device: string;

  const get = async (path: string): Promise<QueryResult> => {
    const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as QueryResult;
  };
  const query = (expr: string): Promise<QueryResult> =>
    get(`/api/v1/query?query=${encodeURIComponent(expr)}`);
  const hasResult = async (expr: string): Promise<boolean> => {
    const { data } = await query(expr).catch(() => ({ data: { result: [] } }));
    return data.result.length > 0;
  };

  beforeAll(async () => {
    const [mqttPort, port] = [await freePort(), await freePort()];
    agent = await RunningAgent.start({
      http: { port: await freePort(), token: TOKEN },
      mqtt: { embedded: { port: mqttPort } },
      cameras: [
        {
          id: 'sim',
          kind: 'directory',
          path: join(import.meta.dirname, '../../fixtures/sea'),
          replay: 'loop',
          schedule: { everyS: 2 },
          burst: { frames: 1 },
        },
        // Outside its hours since the start.
        { id: 'asleep', kind: 'simulated', schedule: { cron: '0 3 29 2 *' } },
      ],
    });
    device = String((await agent.waitFor('start', ({ msg }) => msg === 'agent started'))['http']);
    await agent.observation((line) => line['status'] === 'measured');
    // The shipped files, with other addresses, token path and scrape interval.
    const shipped = readFileSync(join(CENTRAL, 'prometheus.yml'), 'utf8');
    const token = join(dir.path, 'token');
    writeFileSync(token, TOKEN);
    writeFileSync(
      join(dir.path, 'prometheus.yml'),
      shipped.replace('/run/secrets/swellsight-token', token).replaceAll(': 30s', ': 1s'),
    );
    copyFileSync(join(CENTRAL, 'alerts.yml'), join(dir.path, 'alerts.yml'));
    const devices = parse(readFileSync(join(CENTRAL, 'devices.yml'), 'utf8')) as { targets: string[] }[];
    const targets = [device.replace('http://', '')];
    writeFileSync(join(dir.path, 'devices.yml'), JSON.stringify([{ ...devices[0], targets }]));
    prometheus = spawn(
      'prometheus',
      [
        `--config.file=${join(dir.path, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(dir.path, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: 'ignore' },
    );
    url = `http://127.0.0.1:${port}`;
  });

  afterAll(async () => {
    prometheus.kill('SIGKILL');
    await once(prometheus, 'exit');
    await agent.stop();
    dir.remove();
  });

  it('scrapes a device with its token, under the labels of devices.yml', async () => {
    for (const expr of [
      'up{job="swellsight",device="pi1",site="north-beach"} == 1',
      'swellsight_uptime_seconds > 0',
    ])
      await expect.poll(() => hasResult(expr), { timeout: 60_000 }).toBe(true);
  });

  it.each(expressions)('can evaluate the query of panel %s: %s', async (_title, expr) => {
    const { status } = await query(expr.replaceAll(/\$(site|device)/g, '.*'));
    expect(status).toBe('success');
    const exported = await (
      await fetch(`${device}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })
    ).text();
    for (const name of expr.match(/swellsight_\w+|process_\w+/g) ?? [])
      expect(exported).toContain(`# TYPE ${name.replace(/_bucket$/, '')} `);
  });

  it('loads alert rules, and none fires for a healthy device', async () => {
    const rules = async (): Promise<{ name: string; health: string; state: string }[]> => {
      const { data } = (await get('/api/v1/rules')) as unknown as {
        data: { groups: { rules: { name: string; health: string; state: string }[] }[] };
      };
      return data.groups.flatMap((group) => group.rules);
    };
    await expect
      .poll(async () => (await rules()).every(({ health }) => health === 'ok'), { timeout: 60_000 })
      .toBe(true);
    const loaded = await rules();
    expect(loaded).toHaveLength(9);
    expect(loaded.filter(({ state }) => state === 'firing')).toEqual([]);
    await expect
      .poll(() => hasResult('swellsight_camera_state{camera="asleep",state="starting"} == 1'))
      .toBe(true);
    expect((await rules()).find(({ name }) => name === 'CameraNotUp')).toMatchObject({ state: 'inactive' });
  });
});

it('mounts only files that exist in compose.yaml', () => {
  const { services, secrets } = parse(readFileSync(join(CENTRAL, 'compose.yaml'), 'utf8')) as {
    services: Record<string, { image: string; volumes: string[]; secrets?: string[] }>;
    secrets: Record<string, { file: string }>;
  };
  const mountedPaths = Object.values(services)
    .flatMap(({ volumes }) => volumes)
    .map((volume) => volume.split(':')[0] ?? '')
    .filter((path) => path.startsWith('.'));
  expect(mountedPaths.length).toBeGreaterThan(5);
  for (const path of mountedPaths) expect(existsSync(join(CENTRAL, path)), path).toBe(true);
  for (const { secrets: names = [] } of Object.values(services))
    for (const name of names) expect(Object.keys(secrets)).toContain(name);
});
