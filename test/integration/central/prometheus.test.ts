import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { RunningAgent } from '../../fixtures/agent.ts';
import { freePort } from '../../fixtures/mosquitto.ts';
import { CENTRAL, DASHBOARDS, dashboardQueries, Prometheus } from '../../fixtures/prometheus.ts';

const TOKEN = 'a-token-of-the-test-0123456789abcdef';
const SEA = join(import.meta.dirname, '../../fixtures/sea');
/** Metrics that only clips give. test/e2e/sea-state.test.ts checks their panels. */
const OF_CLIPS = /swellsight_(?:wave_period|sea_state|breaker|white_water|tide)/;
/** A machine without a sensor has no temperature. */
const OF_SENSORS = /swellsight_cpu_temperature/;

describe('Prometheus with the files of config/central', () => {
  let agent: RunningAgent;
  let prometheus: Prometheus;
  let url: string;

  const headers = { authorization: `Bearer ${TOKEN}` };
  const upload = async (data: Buffer): Promise<void> => {
    const form = new FormData();
    form.append('file', new Blob([new Uint8Array(data)], { type: 'image/jpeg' }), 'sea.jpg');
    await (await fetch(`${url}/api/v1/analyze`, { method: 'POST', headers, body: form })).text();
  };
  /** An image twice, one that is damaged, and a request with a wrong token. */
  const sendImages = async (): Promise<void> => {
    const bytes = readFileSync(join(SEA, 'sea-small.jpg'));
    const image = Buffer.concat([bytes, Buffer.from(String(performance.now()))]);
    await upload(image);
    await upload(image);
    await upload(Buffer.from('no image'));
    await fetch(`${url}/api/v1/observations`, { headers: { authorization: 'Bearer wrong' } });
  };

  beforeAll(async () => {
    agent = await RunningAgent.start({
      http: { port: await freePort(), token: TOKEN },
      mqtt: { embedded: { port: await freePort() } },
      heartbeat: { intervalS: 2 },
      cameras: [
        {
          ...{ id: 'sim', kind: 'directory', path: SEA, replay: 'loop' },
          ...{ schedule: { everyS: 2 }, burst: { frames: 1 } },
        },
        { id: 'gone', kind: 'directory', path: '/none', schedule: { everyS: 2 }, burst: { frames: 1 } },
        // Outside its hours since the start.
        { id: 'asleep', kind: 'simulated', schedule: { cron: '0 3 29 2 *' } },
      ],
    });
    url = String((await agent.waitFor('start', ({ msg }) => msg === 'agent started'))['http']);
    const { id } = await agent.observation((line) => line['status'] === 'measured');
    const label = await fetch(`${url}/api/v1/cameras/sim/labels`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ observation_id: id, height_m: 1.2 }),
    });
    expect(label.status, await label.text()).toBeLessThan(300);
    prometheus = await Prometheus.start(url, TOKEN);
  });

  afterAll(async () => {
    await prometheus.stop();
    await agent.stop();
  });

  it('scrapes a device with its token, under the labels of devices.yml', async () => {
    for (const expr of [
      'up{job="swellsight",device="pi1",site="north-beach"} == 1',
      'swellsight_uptime_seconds > 0',
    ])
      await expect.poll(() => prometheus.hasValue(expr), { timeout: 60_000 }).toBe(true);
  });

  it('exports each metric of the dashboards', async () => {
    const exported = await (await fetch(`${url}/metrics`, { headers })).text();
    const names = dashboardQueries('sim').flatMap(
      ({ expr }) => expr.match(/swellsight_\w+|process_\w+/g) ?? [],
    );
    expect(names.length).toBeGreaterThan(60);
    for (const name of names) expect(exported).toContain(`# TYPE ${name.replace(/_(bucket|count)$/, '')} `);
  });

  it('leaves no panel of the dashboards empty, except those of clips', async () => {
    const queries = dashboardQueries('sim').filter(({ expr }) => !OF_CLIPS.test(expr));
    expect(queries.length).toBeGreaterThan(50);
    const hasSensor = await prometheus.hasValue('swellsight_cpu_temperature_celsius');
    await expect
      .poll(
        async () => {
          await sendImages();
          const empty = await prometheus.empty(queries);
          return empty.filter(({ expr }) => hasSensor || !OF_SENSORS.test(expr));
        },
        { timeout: 120_000, interval: 1500 },
      )
      .toEqual([]);
    // The panels of clips are valid, and empty for this camera.
    const ofClips = dashboardQueries('sim').filter(({ expr }) => OF_CLIPS.test(expr));
    expect(await prometheus.empty(ofClips)).toEqual(ofClips);
  });

  it('shows no value of a record that is too old', async () => {
    const [height] = dashboardQueries('sim').filter(
      ({ where }) => where === 'swellsight-camera: Wave height',
    );
    if (!height) throw new TypeError('no panel');
    await expect.poll(() => prometheus.hasValue(height.expr)).toBe(true);
    expect(await prometheus.hasValue(height.expr.replace('< 3600', '< 0'))).toBe(false);
  });

  it('loads alert rules, and none fires for a healthy device', async () => {
    interface Rule {
      readonly name: string;
      readonly health: string;
      readonly state: string;
      readonly alerts: readonly { readonly labels: Readonly<Record<string, string>> }[];
    }
    const rules = async (): Promise<readonly Rule[]> => {
      const { groups } = await prometheus.get<{ groups: readonly { readonly rules: readonly Rule[] }[] }>(
        '/api/v1/rules',
      );
      return groups.flatMap((group) => group.rules);
    };
    await expect
      .poll(async () => (await rules()).every(({ health }) => health === 'ok'), { timeout: 60_000 })
      .toBe(true);
    const loaded = await rules();
    expect(loaded).toHaveLength(9);
    expect(loaded.filter(({ state }) => state === 'firing')).toEqual([]);
    await expect
      .poll(() => prometheus.hasValue('swellsight_camera_state{camera="asleep",state="starting"} == 1'))
      .toBe(true);
    const cameraNotUp = (await rules()).find(({ name }) => name === 'CameraNotUp');
    expect(cameraNotUp?.alerts.map(({ labels }) => labels['camera'])).toEqual(['gone']);
  });
});

it.each(DASHBOARDS)('has panels that do not overlap, with ids of their own: $uid', ({ panels }) => {
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
    expect(x + w).toBeLessThanOrEqual(24);
    return Array.from({ length: w * h }, (_none, i) => `${x + (i % w)},${y + Math.floor(i / w)}`);
  });
  expect(new Set(cells).size).toBe(cells.length);
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
