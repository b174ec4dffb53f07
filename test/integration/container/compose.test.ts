import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { RunningAgent } from '../../fixtures/agent.ts';
import { freePort, Mosquitto } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';
import { interpolate, loadContainerSettings, readRootFile, ROOT } from './files.ts';

interface Service {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string; readonly target: string };
  readonly profiles?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  readonly ports?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
}

const CONFIG = join(ROOT, 'config');
const { services, volumes } = parse(interpolate(readRootFile('config/compose.yaml'))) as Compose;
const dir = tempDir();
afterAll(() => dir.remove());

/** Runs the script of the service `secrets` as compose does, with another directory. */
function createSecrets(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(CONFIG, 'container/create-secrets.mjs'), ...args],
    { env: { SECRETS_DIR: dir.path, SWELLSIGHT_DEVICE: 'edge' }, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

const readSecret = (path: string): string => readFileSync(join(dir.path, path), 'utf8').trim();

describe('config/compose.yaml', () => {
  it('mounts only files that exist, and volumes that it declares', () => {
    const sources = Object.values(services).flatMap((service) =>
      service.volumes.map((volume) => volume.split(':')[0] ?? ''),
    );
    for (const source of sources) {
      if (source.startsWith('.')) expect(existsSync(join(CONFIG, source)), source).toBe(true);
      else expect(Object.keys(volumes)).toContain(source);
    }
    expect(new Set(sources.filter((source) => !source.startsWith('.')))).toEqual(
      new Set(Object.keys(volumes)),
    );
  });

  it('builds a target of the Dockerfile', () => {
    const build = services['agent']?.build;
    expect(existsSync(join(CONFIG, build?.context ?? '', build?.dockerfile ?? ''))).toBe(true);
    expect(readRootFile('Dockerfile.arm64')).toMatch(new RegExp(`^FROM .* AS ${build?.target}$`, 'm'));
  });

  it('publishes ports on loopback only', () => {
    for (const { ports = [] } of Object.values(services))
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  });

  it('starts the agent and the broker by default, Prometheus and Grafana by profile', () => {
    const withoutProfile = Object.entries(services).filter(([, { profiles }]) => profiles === undefined);
    expect(withoutProfile.map(([name]) => name)).toEqual(['secrets', 'agent', 'broker']);
    expect(services['prometheus']?.profiles).toEqual(['metrics', 'dashboard']);
    expect(services['grafana']?.profiles).toEqual(['dashboard']);
    for (const [name, { depends_on: dependencies }] of Object.entries(services))
      if (name !== 'secrets')
        expect(dependencies?.['secrets']?.condition, name).toBe('service_completed_successfully');
  });

  it('names the agent in the list of Prometheus', () => {
    const [devices] = parse(readRootFile('config/container/devices.yml')) as [{ targets: string[] }];
    expect(devices.targets).toEqual(['agent:8080']);
  });
});

describe('the services of config/compose.yaml with real programs', () => {
  let broker: Mosquitto;
  let observer: MqttClient | null = null;

  beforeAll(async () => {
    createSecrets();
    const port = await freePort();
    broker = await Mosquitto.start({
      port,
      users: { none: 'none' },
      config: (brokerDir) => {
        mkdirSync(join(brokerDir, 'data'));
        writeFileSync(join(brokerDir, 'acl'), readRootFile('config/mosquitto/acl'), { mode: 0o600 });
        return readRootFile('config/container/mosquitto.conf')
          .replace('/run/secrets/passwords', join(dir.path, 'broker/passwords'))
          .replace('/mosquitto/config/acl', join(brokerDir, 'acl'))
          .replace('listener 1883', `listener ${port} 127.0.0.1`)
          .replace('/mosquitto/data/', join(brokerDir, 'data/'));
      },
    });
    observer = await broker.client({ username: 'dashboard', password: readSecret('people/mqtt-dashboard') });
  });

  afterAll(async () => {
    observer?.end(true);
    await broker.stop();
  });

  it('keeps the secrets when they are created again, and shows them to people', () => {
    const before = ['agent/mqtt-password', 'agent/http-token', 'grafana/grafana-password'].map(readSecret);
    createSecrets();
    expect(['agent/mqtt-password', 'agent/http-token', 'grafana/grafana-password'].map(readSecret)).toEqual(
      before,
    );
    expect(readSecret('prometheus/swellsight-token')).toBe(readSecret('agent/http-token'));
    expect(createSecrets('show')).toContain(readSecret('agent/http-token'));
    for (const file of ['agent/http-token', 'broker/passwords', 'people/http-token'])
      expect(statSync(join(dir.path, file)).mode & 0o777, file).toBe(0o400);
  });

  it('lets the agent connect with its environment, and answers HTTP with the token only', async () => {
    const env = Object.fromEntries(
      Object.entries(services['agent']?.environment ?? {}).map(([name, value]) => [
        name,
        value.replace('/run/secrets', join(dir.path, 'agent')).replace('mqtt://broker:1883', broker.url),
      ]),
    );
    const settings = loadContainerSettings(env, null);
    expect(settings.http.host).toBe('0.0.0.0');
    const status = new Promise<string>((resolve) => {
      observer?.on('message', (topic, payload) => {
        if (payload.toString().includes('"online"')) resolve(topic);
      });
    });
    await observer?.subscribeAsync('swellsight/v1/+/+/status', { qos: 1 });
    const { site, device, mqtt, http } = settings;
    await using agent = await RunningAgent.start({
      site,
      device,
      mqtt: { url: mqtt.url[0], username: mqtt.username, password: mqtt.password },
      http: { host: http.host, port: 0, token: http.token },
    });
    const { http: address } = await agent.waitFor('start', ({ msg }) => msg === 'agent started');
    expect(await status).toBe('swellsight/v1/local/edge/status');
    const url = String(address).replace('0.0.0.0', '127.0.0.1');
    expect((await fetch(`${url}/live`)).status).toBe(200);
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    const headers = { authorization: `Bearer ${readSecret('prometheus/swellsight-token')}` };
    expect((await fetch(`${url}/metrics`, { headers })).status).toBe(200);
  });

  it('refuses clients without a password', async () => {
    for (const options of [
      {},
      { username: 'edge', password: 'wrong' },
      { username: 'none', password: 'none' },
    ])
      await expect(connectAsync(broker.url, options, false)).rejects.toThrow(/Not authorized/);
  });
});
