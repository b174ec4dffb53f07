import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Configuration } from '../../../src/config/configuration.ts';
import { computeConfigDigest } from '../../../src/config/redact.ts';
import { AgentError } from '../../../src/base/errors.ts';
import {
  FASTER,
  everyS,
  RecordingHost,
  thrownCode,
  useConfiguredDevice,
} from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();
const FAILURE = new AgentError('http_listen', 'port 80 needs a privilege');

describe('a change on trial', () => {
  it('takes effect after its answer, which describes it', async () => {
    const configuration = device.start();
    const { answer, begin } = configuration.set({ ...FASTER, logLevel: 'debug' }, 60);
    expect(answer).toMatchObject({
      changed: ['logLevel', 'cameras.north.schedule'],
      live: ['logLevel', 'cameras.north.schedule'],
      link: [],
      restart: [],
      on_confirm: [],
      confirm_by: '2026-06-01T00:01:00.000Z',
      confirm_within_s: 60,
    });
    expect(device.host.changes).toEqual([]);
    expect(everyS(configuration.settings)).toBe(60);
    begin();
    await device.clock.pass(0);
    expect(device.host.changes).toHaveLength(1);
    expect(everyS(configuration.settings)).toBe(20);
    expect(computeConfigDigest(configuration.settings)).toBe(answer.config_digest);
    expect(configuration.view().trial).toMatchObject({ id: answer.trial, in_force: true, seconds_left: 60 });
  });

  it('begins automatically when the answer is not delivered', async () => {
    const configuration = device.start();
    const { begin } = configuration.set(FASTER, 60);
    await device.clock.pass(3000);
    expect(everyS(configuration.settings)).toBe(20);
    begin();
    await device.clock.pass(0);
    expect(device.host.changes).toHaveLength(1);
  });

  it('is undone after its time with an event, and allows another change', async () => {
    const configuration = device.start();
    const before = computeConfigDigest(configuration.settings);
    const id = await device.applyPatch(configuration, FASTER, 20);
    await device.clock.pass(19_000);
    expect(everyS(configuration.settings)).toBe(20);
    await device.clock.pass(1500);
    expect(computeConfigDigest(configuration.settings)).toBe(before);
    expect(device.host.changes[1]?.keys).toEqual(['cameras.north.schedule']);
    expect(device.host.events).toEqual([
      expect.objectContaining({
        type: 'config_undone',
        code: 'config_not_confirmed',
        context: { trial: id, reason: 'not_confirmed', keys: ['cameras.north.schedule'] },
      }),
    ]);
    expect(existsSync(device.statePath('config-trial.json'))).toBe(false);
    expect(thrownCode(() => configuration.confirm(id))).toBe('config_trial_unknown');
    await device.applyPatch(configuration, FASTER);
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('remains after its confirmation', async () => {
    const configuration = device.start();
    const id = await device.applyPatch(configuration, FASTER, 20);
    expect(configuration.confirm(null)).toMatchObject({ trial: id, changed: ['cameras.north.schedule'] });
    await device.clock.pass(100_000);
    expect(everyS(configuration.settings)).toBe(20);
    expect(everyS(device.start().settings)).toBe(20);
    expect(device.host.events).toEqual([]);
  });

  it('can be confirmed twice with its id, and with no other id', async () => {
    const configuration = device.start();
    expect(thrownCode(() => configuration.confirm(null))).toBe('config_trial_unknown');
    const id = await device.applyPatch(configuration, FASTER);
    expect(thrownCode(() => configuration.confirm('another'))).toBe('config_trial_unknown');
    configuration.confirm(id);
    expect(configuration.confirm(id)).toMatchObject({ trial: id });
    expect(thrownCode(() => configuration.confirm(null))).toBe('config_trial_unknown');
    expect(device.host.events.map(({ type }) => type)).toEqual(['config_changed']);
  });

  it('cannot be confirmed before it is in force', async () => {
    const configuration = device.start();
    const { answer, begin } = configuration.set({ mqtt: { url: 'mqtt://b.example' } }, 60);
    expect(thrownCode(() => configuration.confirm(answer.trial))).toBe('config_busy');
    device.host.link = false;
    begin();
    await device.clock.pass(0);
    expect(thrownCode(() => configuration.confirm(answer.trial))).toBe('config_busy');
    device.host.link = true;
    configuration.confirm(answer.trial);
  });

  it('waits some seconds for a change to be in force, and then fails', async () => {
    const configuration = device.start();
    const { answer, begin } = configuration.set({ mqtt: { url: 'mqtt://b.example' } }, 60);
    const { signal } = new AbortController();
    device.host.link = false;
    begin();
    const late = configuration
      .confirmWhenInForce(answer.trial, signal)
      .catch((error: unknown) => (error as AgentError).code);
    await device.clock.pass(6000);
    expect(await late).toBe('config_busy');
    const soon = configuration.confirmWhenInForce(answer.trial, signal);
    await device.clock.pass(1000);
    device.host.link = true;
    await device.clock.pass(200);
    expect(await soon).toMatchObject({ trial: answer.trial });
    await expect(configuration.confirmWhenInForce('other', signal)).rejects.toMatchObject({
      code: 'config_trial_unknown',
    });
  });

  it('blocks other changes, and is not affected by them', async () => {
    const configuration = device.start();
    const id = await device.applyPatch(configuration, FASTER);
    for (let count = 0; count < 1000; count += 1)
      expect(thrownCode(() => configuration.set({ logLevel: 'trace' }, 60))).toBe('config_busy');
    configuration.confirm(id);
    expect(configuration.settings.logLevel).toBe('info');
  });

  it('is not affected by steps of the wall clock', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER, 60);
    device.clock.step(400 * 86_400_000);
    await device.clock.pass(30_000);
    expect(everyS(configuration.settings)).toBe(20);
    device.clock.step(-800 * 86_400_000);
    await device.clock.pass(31_000);
    expect(everyS(configuration.settings)).toBe(60);
  });

  it('starts no trial for a change without effect', async () => {
    const configuration = device.start();
    expect(configuration.set({}, 60).answer).toMatchObject({ trial: null, changed: [] });
    await device.applyPatch(configuration, { logLevel: 'debug' });
    configuration.confirm(null);
    expect(configuration.set({ logLevel: 'debug' }, 60).answer).toMatchObject({ trial: null, changed: [] });
    expect(configuration.view().trial).toBeNull();
  });

  it('applies limits of the store on confirmation, because deleted records cannot be restored', async () => {
    const configuration = device.start();
    const { answer, begin } = configuration.set({ logLevel: 'warn', store: { retentionDays: 1 } }, 60);
    begin();
    await device.clock.pass(0);
    expect(answer).toMatchObject({ live: ['logLevel'], on_confirm: ['store.retentionDays'] });
    expect(configuration.settings).toMatchObject({ logLevel: 'warn', store: { retentionDays: 90 } });
    configuration.confirm(null);
    expect(configuration.settings.store.retentionDays).toBe(1);
    expect(device.host.changes[1]?.keys).toEqual(['store.retentionDays']);
    expect(device.start().settings.store.retentionDays).toBe(1);
  });
});

describe('the broker during a trial', () => {
  it('is lost for a minute: undoes the change', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, { mqtt: { url: 'mqtt://nowhere.example' } }, 600);
    expect(device.host.changes[0]?.link).toEqual(['mqtt.url']);
    device.host.link = false;
    await device.clock.pass(58_000);
    expect(configuration.settings.mqtt.url).toEqual(['mqtt://nowhere.example']);
    await device.clock.pass(3000);
    expect(configuration.settings.mqtt.url).toEqual(['mqtt://a.example']);
    expect(device.host.changes[1]?.link).toEqual(['mqtt.url']);
    expect(device.host.events[0]?.context['reason']).toBe('broker_lost');
  });

  it('is lost for a short time: keeps the change', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER, 600);
    for (let round = 0; round < 5; round += 1) {
      device.host.link = false;
      await device.clock.pass(40_000);
      device.host.link = true;
      await device.clock.pass(1000);
    }
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('was not connected before: keeps the change', async () => {
    const configuration = device.start();
    device.host.link = false;
    const id = await device.applyPatch(configuration, FASTER, 600);
    await device.clock.pass(300_000);
    expect(everyS(configuration.settings)).toBe(20);
    configuration.confirm(id);
  });

  it('is lost when the time ends: reports broker_lost', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER, 20);
    device.host.link = false;
    await device.clock.pass(21_000);
    expect(device.host.events[0]?.context['reason']).toBe('broker_lost');
  });
});

describe('a change that somebody withdraws', () => {
  it('is undone after the answer, with an event, and only by its id', async () => {
    const configuration = device.start();
    expect(thrownCode(() => configuration.withdraw(null))).toBe('config_trial_unknown');
    const before = computeConfigDigest(configuration.settings);
    const id = await device.applyPatch(configuration, FASTER);
    expect(thrownCode(() => configuration.withdraw('another'))).toBe('config_trial_unknown');
    const { answer, begin } = configuration.withdraw(id);
    expect(answer).toEqual({ trial: id, changed: ['cameras.north.schedule'], config_digest: before });
    expect(everyS(configuration.settings)).toBe(20);
    begin();
    begin();
    await device.clock.pass(0);
    expect(computeConfigDigest(configuration.settings)).toBe(before);
    expect(device.host.events).toEqual([
      expect.objectContaining({ type: 'config_undone', code: 'config_withdrawn' }),
    ]);
    expect(thrownCode(() => configuration.withdraw(id))).toBe('config_trial_unknown');
  });

  it('stays if it is confirmed before the answer is delivered', async () => {
    const configuration = device.start();
    const id = await device.applyPatch(configuration, FASTER);
    const { begin } = configuration.withdraw(id);
    configuration.confirm(id);
    begin();
    await device.clock.pass(5000);
    expect(everyS(configuration.settings)).toBe(20);
  });
});

describe('a preview', () => {
  const previewOf = (configuration: Configuration, camera: object) =>
    configuration.preview({ cameras: [camera] }).cameras.find(({ id }) => id === 'north');

  it('has the present secrets, changes nothing, and follows the change on trial', async () => {
    const configuration = device.start();
    const { cameras } = configuration.view().settings as { cameras: { id: string; url: string }[] };
    const shown = cameras.find(({ id }) => id === 'north')?.url;
    const seen = previewOf(configuration, { id: 'north', url: shown, password: '***', timeoutS: 3 });
    expect(seen).toMatchObject({ url: 'http://cam.example/1.jpg', password: 'hunter2', timeoutS: 3 });
    expect([device.host.changes, configuration.view().trial]).toEqual([[], null]);
    await device.applyPatch(configuration, FASTER);
    expect(previewOf(configuration, { id: 'north' })?.schedule.everyS).toBe(20);
  });

  it('loses the login with another address, and refuses what remote commands may not set', () => {
    const configuration = device.start();
    const elsewhere = previewOf(configuration, { id: 'north', url: 'http://evil.example/1.jpg' });
    expect(elsewhere).toMatchObject({ username: null, password: null });
    for (const locked of [
      { id: 'x', kind: 'command', command: ['id'] },
      { id: 'x', kind: 'video', path: '/etc/passwd' },
      { id: 'x', kind: 'directory', path: '/' },
      { id: 'x', kind: 'v4l2', path: '/dev/video0' },
      { id: 'north', headers_file: '/etc/passwd' },
      { id: 'north', password_file: '/etc/passwd' },
      { id: 'north', tls: { ca: '/etc/passwd' } },
    ])
      expect(thrownCode(() => previewOf(configuration, locked))).toBe('config_locked');
    for (const invalid of [{}, { id: 'x' }, { id: 7 }, { id: 'x', kind: 'http' }, { id: 'x', nonsense: 1 }])
      expect(thrownCode(() => previewOf(configuration, invalid))).toBe('config_invalid');
  });
});

describe('a change that needs a restart', () => {
  it('requests the restart, survives it, and can be confirmed after it', async () => {
    const configuration = device.start();
    const id = await device.applyPatch(configuration, { inference: { timeoutS: 3 } }, 60);
    expect([device.host.restarts, device.host.changes.length]).toEqual([1, 0]);
    expect(thrownCode(() => configuration.confirm(id))).toBe('config_busy');
    const next = new RecordingHost();
    const { settings } = configuration;
    expect(settings.inference.timeoutS).toBe(3);
    configuration.attach(next, settings);
    configuration.confirm(id);
    expect(next.events.map(({ type }) => type)).toEqual(['config_changed']);
  });

  it('is undone while the parts are stopped: the next start gets the former settings and the event', async () => {
    const configuration = device.start();
    const detach = configuration.attach(device.host, configuration.settings);
    await device.applyPatch(configuration, { inference: { timeoutS: 3 } }, 20);
    const { settings } = configuration;
    detach();
    await device.clock.pass(21_000);
    expect(configuration.settings.inference.timeoutS).toBe(10);
    expect(device.host.events).toEqual([]);
    // These parts have started with the settings on trial.
    const next = new RecordingHost();
    configuration.attach(next, settings);
    expect(next.events[0]?.type).toBe('config_undone');
    expect(next.restarts).toBe(1);
  });

  it('is undone when the parts do not start; without a trial, nothing is undone', async () => {
    const configuration = device.start();
    expect(configuration.handleStartFailure(FAILURE)).toBe(false);
    await device.applyPatch(configuration, { http: { port: 1 } });
    expect(configuration.handleStartFailure(FAILURE)).toBe(true);
    expect(configuration.settings.http.port).toBe(8080);
    expect(device.host.events[0]).toMatchObject({
      message: expect.stringMatching(/does not start with it: port 80 needs a privilege\.$/) as string,
      context: { reason: 'start_failed', failure: 'http_listen' },
    });
    expect(configuration.handleStartFailure(FAILURE)).toBe(false);
  });

  it('is undone when it cannot be applied', async () => {
    const configuration = device.start();
    device.host.failure = new AgentError('camera_unreachable', 'no camera at rtsp://u:p@cam/live');
    await device.applyPatch(configuration, FASTER);
    await device.clock.pass(0);
    expect(everyS(configuration.settings)).toBe(60);
    expect(device.host.events[0]).toMatchObject({
      message: expect.stringMatching(
        /could not be applied: no camera at rtsp:\/\/\*\*\*@cam\/\*\*\*\.$/,
      ) as string,
      context: { reason: 'not_applied', failure: 'camera_unreachable' },
    });
    // Undoing fails too, so that a restart is needed.
    expect(device.host.restarts).toBe(1);
  });
});
