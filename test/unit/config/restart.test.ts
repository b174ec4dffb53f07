import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, describe, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import {
  CAMERAS,
  FASTER,
  everyS,
  thrownCode,
  useConfiguredDevice,
} from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();

describe('restart', () => {
  it('reads the local file again, and restarts after the answer', async () => {
    const configuration = device.start();
    device.writeFile({ logLevel: 'warn' });
    const { answer, begin } = configuration.restart();
    expect([answer, device.host.restarts]).toEqual([{ restarting: true }, 0]);
    begin();
    begin();
    await device.clock.pass(5000);
    expect([device.host.restarts, configuration.settings.logLevel]).toEqual([1, 'warn']);
  });

  it('is refused when the local file has become invalid', () => {
    const configuration = device.start();
    device.writeFile({ logLevel: 'loud' });
    expect(thrownCode(() => configuration.restart())).toBe('config_invalid');
  });

  it('is needed for a change of the local file: a remote change does not load it', async () => {
    const configuration = device.start();
    device.writeFile({ site: 'elsewhere' });
    await device.applyPatch(configuration, FASTER);
    expect(configuration.settings.site).toBe('local');
    expect(device.host.changes[0]?.keys).toEqual(['cameras.north.schedule']);
  });

  it('undoes a trial, so that new local masks are in force', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER);
    const mask = [[0, 0], [1, 0], [1, 1]]; // prettier-ignore
    device.writeFile({ cameras: [{ ...CAMERAS[0], privacyMasks: [mask] }] });
    configuration.restart().begin();
    expect(device.host.restarts).toBe(1);
    expect(configuration.settings.cameras[0]?.privacyMasks).toEqual([mask]);
    expect(everyS(configuration.settings)).toBe(60);
    expect(device.host.events.map(({ context }) => context['reason'])).toEqual(['interrupted']);
    expect(thrownCode(() => configuration.confirm(null))).toBe('config_trial_unknown');
    // The parts are stopped and started, and change no more.
    expect(device.host.changes).toHaveLength(1);
  });

  it('keeps a trial when the local file is invalid', async () => {
    const configuration = device.start();
    const id = await device.applyPatch(configuration, FASTER);
    device.writeFile({ logLevel: 'loud' });
    expect(thrownCode(() => configuration.restart())).toBe('config_invalid');
    configuration.confirm(id);
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('keeps a change that is confirmed before the restart begins', async () => {
    const configuration = device.start();
    const { begin } = configuration.restart();
    await device.applyPatch(configuration, FASTER);
    configuration.confirm(null);
    begin();
    expect(everyS(configuration.settings)).toBe(20);
    expect(configuration.view().overlay).toEqual(FASTER);
  });

  it('happens when the local file has become invalid after the command', () => {
    const configuration = device.start();
    const { begin } = configuration.restart();
    device.writeFile({ logLevel: 'loud' });
    begin();
    expect([device.host.restarts, configuration.settings.logLevel]).toEqual([1, 'info']);
  });
});

describe('a reload of the local file', () => {
  const codes = (): readonly string[] => device.host.events.map(({ code }) => code);

  it('changes what has changed while the parts run, and raises an event', async () => {
    const configuration = device.start();
    device.writeFile({ logLevel: 'warn', heartbeat: { intervalS: 5 } });
    expect(configuration.reload()).toMatchObject({ live: ['logLevel', 'heartbeat.intervalS'], restart: [] });
    await device.clock.pass(0);
    expect([device.host.restarts, device.host.changes.length]).toEqual([0, 1]);
    expect(device.host.changes[0]?.to).toBe(configuration.settings);
    expect(device.host.events).toMatchObject([
      { type: 'config_changed', code: 'config_reloaded', context: { keys: ['logLevel', 'heartbeat.intervalS'] } },
    ]); // prettier-ignore
  });

  it('names the keys that need a restart of the parts, and restarts them', () => {
    const configuration = device.start();
    device.writeFile({ logLevel: 'warn', http: { port: 9090 } });
    expect(configuration.reload()).toMatchObject({ live: ['logLevel'], restart: ['http.port'] });
    expect([device.host.restarts, configuration.settings.http.port]).toEqual([1, 9090]);
  });

  it('reads the secret files again', () => {
    const file = join(device.dir, 'password');
    writeFileSync(file, 'first');
    const cameras = [{ ...CAMERAS[0], password: undefined, password_file: file }];
    device.writeFile({ cameras });
    const configuration = device.start();
    writeFileSync(file, 'second');
    expect(configuration.rereadCamera('north')?.password).toBe('second');
    // A camera may log the new password before the settings have it.
    expect(configuration.redact('second')).toBe('***');
    expect(configuration.reload().keys).toEqual(['cameras.north.password']);
    expect(configuration.settings.cameras[0]?.password).toBe('second');
  });

  it('changes nothing for an equal file', async () => {
    const configuration = device.start();
    const before = configuration.settings;
    expect(configuration.reload().keys).toEqual([]);
    await device.clock.pass(0);
    expect(configuration.settings).toBe(before);
    expect([device.host.changes, device.host.events]).toEqual([[], []]);
  });

  it('refuses an invalid file with an event without values, and keeps a trial', async () => {
    const configuration = device.start();
    const id = await device.applyPatch(configuration, FASTER);
    device.writeFile({ logLevel: 'hunter3' });
    expect(thrownCode(() => configuration.reload())).toBe('config_invalid');
    expect(device.host.events).toMatchObject([
      { type: 'config_refused', context: { failure: 'config_invalid', keys: ['logLevel'] } },
    ]);
    expect(JSON.stringify(device.host.events)).not.toContain('hunter3');
    configuration.confirm(id);
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('undoes a trial in the same step', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER);
    device.writeFile({ logLevel: 'warn' });
    expect(configuration.reload().keys).toEqual(['logLevel', 'cameras.north.schedule']);
    await device.clock.pass(0);
    expect([everyS(configuration.settings), device.host.changes.length]).toEqual([60, 2]);
    expect(codes()).toEqual(['config_interrupted', 'config_reloaded']);
  });

  it('keeps confirmed remote settings', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER);
    configuration.confirm(null);
    device.writeFile({ logLevel: 'warn' });
    expect(configuration.reload().keys).toEqual(['logLevel']);
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('returns to the former configuration when the parts do not start with the new one', () => {
    const configuration = device.start();
    device.writeFile({ http: { port: 9090 } });
    configuration.reload();
    expect(configuration.handleStartFailure(new AgentError('http_listen', 'taken'))).toBe(true);
    expect(configuration.settings.http.port).toBe(8080);
    configuration.attach(device.host, configuration.settings);
    expect(codes()).toEqual(['config_reloaded', 'config_refused']);
    // The former one may fail as well.
    expect(configuration.handleStartFailure(new AgentError('http_listen', 'taken'))).toBe(false);
  });

  it('returns to it also after several reloads, with the confirmed remote settings', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER);
    configuration.confirm(null);
    for (const port of [9090, 9090, 9091, 9091]) {
      device.writeFile({ http: { port } });
      configuration.reload();
    }
    expect(configuration.handleStartFailure(new AgentError('http_listen', 'taken'))).toBe(true);
    expect([configuration.settings.http.port, everyS(configuration.settings)]).toEqual([8080, 20]);
  });

  it('returns to it also after a reload while the parts start', () => {
    const configuration = device.open();
    const starting = configuration.settings;
    device.writeFile({ http: { port: 9090 } });
    configuration.reload();
    configuration.attach(device.host, starting);
    expect(device.host.restarts).toBe(1);
    expect(configuration.handleStartFailure(new AgentError('http_listen', 'taken'))).toBe(true);
    expect(configuration.settings.http.port).toBe(8080);
  });

  it('stays in force when a start with the settings before it fails afterwards', () => {
    const configuration = device.open();
    const starting = configuration.settings;
    device.writeFile({ http: { port: 9090 } });
    configuration.reload();
    const taken = new AgentError('http_listen', 'taken');
    expect(configuration.handleStartFailure(taken, starting)).toBe(true);
    expect(configuration.settings.http.port).toBe(9090);
  });

  it('raises one event for a file that is refused again and again', () => {
    const configuration = device.start();
    const refuse = (): string => thrownCode(() => configuration.reload());
    device.writeFile({ logLevel: 'loud' });
    expect([refuse(), refuse(), codes()]).toEqual(['config_invalid', 'config_invalid', ['config_refused']]);
    device.writeFile({});
    configuration.reload();
    device.writeFile({ logLevel: 'loud' });
    expect([refuse(), codes()]).toEqual(['config_invalid', ['config_refused', 'config_refused']]);
  });

  it('raises one event for remote settings of a camera that the file does not allow', () => {
    mkdirSync(device.statePath('.'));
    const overlay = { cameras: [{ id: 'spy', kind: 'http', url: 'http://cam.example/2' }] };
    writeFileSync(
      device.statePath('config-overlay.json'),
      JSON.stringify({ format: 1, trial: null, overlay }),
    );
    const configuration = device.start();
    const mask = [[0, 0], [1, 0], [1, 1]]; // prettier-ignore
    device.writeFile({ cameras: [{ ...CAMERAS[0], privacyMasks: [mask] }] });
    for (let n = 0; n < 3; n += 1) configuration.reload();
    expect(codes()).toEqual(['config_overlay_dropped', 'config_reloaded']);
  });

  it.each(['', '# all of it\n', '{}'])('refuses the file without any settings: %j', (text) => {
    const configuration = device.start();
    writeFileSync(join(device.dir, 'config.json'), text);
    expect(thrownCode(() => configuration.reload())).toBe('config_invalid');
    expect(thrownCode(() => configuration.restart())).toBe('config_invalid');
    expect(configuration.settings.cameras).toHaveLength(2);
  });

  it('refuses a pipe, which would block the process', () => {
    const configuration = device.start();
    rmSync(join(device.dir, 'config.json'));
    execFileSync('mkfifo', [join(device.dir, 'config.json')]);
    expect(thrownCode(() => configuration.reload())).toBe('config_invalid');
  });
});
