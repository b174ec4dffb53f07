import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { dropRemoteSettings, listDottedKeys } from '../../../src/config/remote-settings.ts';
import { describeSettings, listSources } from '../../../src/config/setting-sources.ts';
import { loadLocal } from '../../../src/config/load.ts';
import {
  CAMERAS,
  FASTER,
  everyS,
  thrownCode,
  useConfiguredDevice,
} from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();
const OVERLAY = {
  logLevel: 'debug',
  mqtt: { url: ['mqtt://b.example'], homeAssistant: { enabled: true } },
  cameras: [
    { id: 'north', schedule: { everyS: 20 }, timeoutS: 3 },
    { id: 'north.schedule', kind: 'simulated' },
  ],
};

describe('dropRemoteSettings', () => {
  it.each([
    ['logLevel', ['logLevel']],
    ['mqtt.homeAssistant', ['mqtt.homeAssistant.enabled']],
    ['mqtt', ['mqtt.url', 'mqtt.homeAssistant.enabled']],
    ['cameras.north', ['cameras.north.schedule.everyS', 'cameras.north.timeoutS']],
    ['cameras.north.schedule', ['cameras.north.schedule.everyS', 'cameras.north.schedule.kind']],
    ['cameras', ['cameras.north.schedule.everyS', 'cameras.north.timeoutS', 'cameras.north.schedule.kind']],
    [null, listDottedKeys(OVERLAY)],
  ])('removes the values under %j, and no others', (key, keys) => {
    const dropped = dropRemoteSettings(OVERLAY, key);
    expect(dropped.keys).toEqual(keys);
    expect(listDottedKeys(dropped.overlay)).toEqual(
      listDottedKeys(OVERLAY).filter((one) => !keys.includes(one)),
    );
    for (const camera of (dropped.overlay['cameras'] ?? []) as object[])
      expect(Object.keys(camera)).not.toEqual(['id']);
  });

  it('refuses a key without remote values, and names those that have some', () => {
    expect(() => dropRemoteSettings({ logLevel: 'debug' }, 'logLeve')).toThrow(
      'remote commands have not set logLeve; they have set logLevel',
    );
    expect(() => dropRemoteSettings({}, null)).toThrow('remote commands have set nothing');
  });
});

describe('config drop in the agent', () => {
  const stored = (): unknown =>
    (JSON.parse(readFileSync(device.statePath('config-overlay.json'), 'utf8')) as { overlay: unknown })
      .overlay;

  it('applies the local values, stores the rest, undoes a trial and raises an event', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, { ...FASTER, logLevel: 'debug' });
    configuration.confirm(null);
    await device.applyPatch(configuration, { heartbeat: { intervalS: 7 } });
    const { dropped, live, restart } = configuration.drop('cameras.north');
    expect(dropped).toEqual(['cameras.north.schedule.everyS']);
    expect([live, restart]).toEqual([['heartbeat.intervalS', 'cameras.north.schedule'], []]);
    const { settings } = configuration;
    expect([everyS(settings), settings.logLevel, settings.heartbeat.intervalS]).toEqual([60, 'debug', 30]);
    expect(stored()).toEqual({ logLevel: 'debug' });
    expect(existsSync(device.statePath('config-trial.json'))).toBe(false);
    expect(device.host.events.map(({ code }) => code)).toEqual([
      'config_changed',
      'config_dropped',
      'config_interrupted',
    ]);
    await device.clock.pass(0);
    expect(device.host.changes.at(-1)?.to).toBe(settings);
    expect(everyS(device.start().settings)).toBe(60);
  });

  it('changes nothing when the rest is not valid alone', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, { mqtt: { username: 'u', password: 'hunter2' } });
    device.host.link = true;
    configuration.confirm(null);
    device.writeFile({ mqtt: { url: 'mqtt://a.example', protocolVersion: 4 } });
    configuration.reload();
    expect(thrownCode(() => configuration.drop('mqtt.username'))).toBe('config_invalid');
    expect(stored()).toEqual({ mqtt: { username: 'u', password: 'hunter2' } });
  });

  it('stores them again when the agent does not start without them', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, { http: { port: 9090 } });
    configuration.attach(device.host, configuration.settings);
    configuration.confirm(null);
    expect(configuration.drop(null).restart).toEqual(['http.port']);
    expect(stored()).toEqual({});
    expect(configuration.handleStartFailure(new AgentError('http_listen', 'taken'))).toBe(true);
    expect([configuration.settings.http.port, device.start().settings.http.port]).toEqual([9090, 9090]);
  });

  it('removes settings of a camera that the local configuration does not allow', () => {
    const mask = [[0, 0], [1, 0], [1, 1]]; // prettier-ignore
    device.writeFile({ cameras: [{ ...CAMERAS[0], privacyMasks: [mask] }] });
    mkdirSync(device.statePath('.'));
    const overlay = { cameras: [{ id: 'spy', kind: 'http', url: 'http://cam.example/2' }] };
    writeFileSync(
      device.statePath('config-overlay.json'),
      JSON.stringify({ format: 1, trial: null, overlay }),
    );
    const configuration = device.start();
    expect(configuration.drop('cameras.spy').dropped).toEqual(['cameras.spy.kind', 'cameras.spy.url']);
    expect(stored()).toEqual({});
  });
});

describe('the sources of the settings', () => {
  it('are default, file, environment and remote command, without secrets', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, {
      ...FASTER,
      heartbeat: { intervalS: 10 },
      mqtt: { url: 'mqtt://b.example', username: 'u', password: 'swordfish' },
    });
    configuration.confirm(null);
    device.writeFile({ heartbeat: { intervalS: 20 } });
    const env = { SWELLSIGHT_HTTP_PORT: '9999' };
    const local = loadLocal({ file: 'config.json', env, cwd: device.dir });
    expect(listSources(local)).toEqual({
      file: ['stateDir', 'cameras', 'mqtt.url', 'heartbeat.intervalS'],
      environment: ['http.port'],
      remote: [
        'heartbeat.intervalS',
        'mqtt.url',
        'mqtt.username',
        'mqtt.password',
        'cameras.north.schedule.everyS',
      ],
    });
    const settings = describeSettings(local);
    const found = (key: string) => settings.find((one) => one.key === key);
    expect(found('heartbeat.intervalS')).toEqual({
      key: 'heartbeat.intervalS',
      value: 10,
      source: 'remote',
      local: { value: 20, source: 'file' },
    });
    expect(found('http.port')).toMatchObject({ value: 9999, source: 'environment', local: null });
    expect(found('logLevel')).toMatchObject({ source: 'default', local: null });
    expect(found('cameras.north.url')).toMatchObject({ source: 'file' });
    expect(found('cameras.north.timeoutS')).toMatchObject({ source: 'default' });
    expect(found('cameras.north.schedule.everyS')).toMatchObject({
      value: 20,
      source: 'remote',
      local: { value: 60, source: 'default' },
    });
    expect(found('mqtt.password')).toMatchObject({ value: '***', source: 'remote' });
    expect(JSON.stringify(settings)).not.toMatch(/hunter2|swordfish/);
  });

  it('name the file of a secret, and a local value that a remote address drops', async () => {
    writeFileSync(device.statePath('../token'), 'secret-token');
    const camera = { ...CAMERAS[0], password: undefined, password_file: 'token' };
    device.writeFile({ cameras: [camera], http: { token_file: 'token' } });
    const read = () => describeSettings(loadLocal({ file: 'config.json', env: {}, cwd: device.dir }));
    const found = (key: string) => read().find((one) => one.key === key);
    expect(found('http.token')).toMatchObject({ value: '***', source: 'file' });
    expect(found('cameras.north.password')).toMatchObject({ value: '***', source: 'file' });
    const configuration = device.start();
    await device.applyPatch(configuration, { cameras: [{ id: 'north', url: 'http://other.example/1.jpg' }] });
    configuration.confirm(null);
    expect(found('cameras.north.password')).toMatchObject({
      value: null,
      source: 'remote',
      local: { value: '***', source: 'file' },
    });
  });
});
