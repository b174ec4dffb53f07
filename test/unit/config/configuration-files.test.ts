import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  CAMERAS,
  FASTER,
  everyS,
  thrownCode,
  useConfiguredDevice,
} from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();

describe('a power cut', () => {
  it('before the confirmation: restores the former settings and raises the event', async () => {
    await device.applyPatch(device.start(), FASTER);
    const after = device.start();
    expect(everyS(after.settings)).toBe(60);
    expect(device.host.events).toEqual([
      expect.objectContaining({ type: 'config_undone', code: 'config_interrupted' }),
    ]);
    expect(device.start().view().overlay).toEqual({});
    expect(device.host.events).toEqual([]);
  });

  it('after the overlay is stored and before the trial file is deleted: keeps the change', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER);
    const trial = readFileSync(device.statePath('config-trial.json'));
    configuration.confirm(null);
    writeFileSync(device.statePath('config-trial.json'), trial);
    expect(everyS(device.start().settings)).toBe(20);
    expect(device.host.events).toEqual([]);
    expect(existsSync(device.statePath('config-trial.json'))).toBe(false);
  });

  it('with a half-written file: keeps the confirmed change', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER);
    configuration.confirm(null);
    writeFileSync(device.statePath('config-overlay.json.part'), '{"format":1,"over');
    expect(everyS(device.start().settings)).toBe(20);
  });

  it.each(['', '{', '[]', '{"format":2}', '{"format":1,"overlay":5}', '\0'.repeat(4096)])(
    'quarantines an overlay of %j, raises an event, and starts',
    (text) => {
      mkdirSync(join(device.dir, 'var'));
      writeFileSync(device.statePath('config-overlay.json'), text);
      const configuration = device.start();
      expect(everyS(configuration.settings)).toBe(60);
      expect(device.host.events.map(({ type }) => type)).toEqual(['config_overlay_dropped']);
      expect(readdirSync(join(device.dir, 'var')).some((name) => name.includes('.broken-'))).toBe(true);
      expect(device.start().view().overlay).toEqual({});
      expect(device.host.events).toEqual([]);
    },
  );

  it('reports an interrupted trial for a trial file of any content', () => {
    mkdirSync(join(device.dir, 'var'));
    writeFileSync(device.statePath('config-trial.json'), '\0\0\0');
    device.start();
    expect(device.host.events[0]?.context['reason']).toBe('interrupted');
  });

  it('quarantines an overlay that no longer fits the local file', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, { mqtt: { username: 'u' } });
    configuration.confirm(null);
    device.writeFile({ mqtt: {} });
    device.start();
    expect(device.host.events[0]).toMatchObject({
      type: 'config_overlay_dropped',
      context: { reason: 'it does not fit: mqtt.username' },
    });
  });

  it('writes files that other users cannot read', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, { mqtt: { username: 'u', password: 'swordfish' } });
    expect(readFileSync(device.statePath('config-trial.json'), 'utf8')).not.toContain('swordfish');
    configuration.confirm(null);
    expect(readFileSync(device.statePath('config-overlay.json'), 'utf8')).toContain('swordfish');
    expect(statSync(device.statePath('config-overlay.json')).mode & 0o077).toBe(0);
    expect(device.start().settings.mqtt.password).toBe('swordfish');
  });
});

describe('a refused change', () => {
  it('names all faults, changes nothing and writes nothing', () => {
    const configuration = device.start();
    let message = '';
    try {
      configuration.set(
        {
          logLevel: 'loud',
          mqtt: { url: 'http://user:hunter3@h' },
          cameras: [{ id: 'north', schedule: { cron: '99 * * * *' }, timeoutS: -1 }],
        },
        60,
      );
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/^the change has 4 faults\n/);
    for (const key of ['logLevel', 'mqtt.url', 'cameras[0].timeoutS', 'cameras[0].schedule.cron'])
      expect(message).toContain(`${key}: wanted`);
    expect(message).not.toContain('hunter3');
    expect(configuration.view()).toMatchObject({ overlay: {}, trial: null });
    expect(existsSync(device.statePath('config-trial.json'))).toBe(false);
  });

  it('has an overlay that is too large', () => {
    const configuration = device.start();
    const masks = Array.from({ length: 32 }, () =>
      Array.from({ length: 64 }, (_, i) => [i / 64, (i % 2) * 0.5]),
    );
    const cameras = Array.from({ length: 8 }, (_, i) => ({
      id: `c${String(i)}`,
      kind: 'simulated',
      privacyMasks: masks,
    }));
    expect(thrownCode(() => configuration.set({ cameras }, 60))).toBe('config_invalid');
  });

  it('is nested too deeply', () => {
    const deep = JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`) as unknown;
    const configuration = device.start();
    expect(thrownCode(() => configuration.set({ cameras: [{ id: 'north', roi: deep }] }, 60))).toBe(
      'config_invalid',
    );
    expect(thrownCode(() => configuration.set({ mqtt: { url: deep } }, 60))).toBe('config_invalid');
    expect(thrownCode(() => configuration.set({ http: { port: deep } }, 60))).toBe('config_invalid');
  });

  it('cannot remove a camera of the local file', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, {
      cameras: [
        { id: 'north', remove: true },
        { id: 'south', remove: true },
      ],
    });
    await device.applyPatch(configuration, { cameras: [] });
    await device.applyPatch(configuration, { cameras: null });
    expect(configuration.settings.cameras.map(({ id }) => id)).toEqual(['north', 'south']);
  });

  it('cannot be written to the state directory', () => {
    const configuration = device.start();
    rmSync(join(device.dir, 'var'), { recursive: true, force: true });
    writeFileSync(join(device.dir, 'var'), 'a file');
    expect(thrownCode(() => configuration.set(FASTER, 60))).toBe('store_failed');
    expect(configuration.view().trial).toBeNull();
  });
});

describe('config.get', () => {
  it('shows no secret of the file or of the overlay', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, {
      mqtt: { url: 'mqtt://u2:swordfish@b.example', username: null },
      cameras: [
        { id: 'north', password: 'swordfish' },
        { id: 'east', kind: 'http', url: 'http://u3:swordfish@e.example/1.jpg?token=swordfish' },
      ],
    });
    configuration.confirm(null);
    device.writeFile({
      cameras: [...CAMERAS, { id: 'shell', kind: 'command', command: ['grab', '--pass', 'swordfish'] }],
    });
    configuration.restart().begin();
    const text = JSON.stringify(configuration.view());
    expect(text).toContain('"command":["grab","***","***"]');
    expect(text).not.toMatch(/swordfish|hunter2|"u2|"u3/);
    expect(configuration.view().overlay).toMatchObject({ mqtt: { url: 'mqtt://***@b.example' } });
    expect(configuration.view().local_keys).toContain('model.trustRoot');
  });
});

describe('config.set with values that config.get shows', () => {
  it('keeps each secret, and stores none of the shown texts', async () => {
    device.writeFile({ mqtt: { url: ['mqtt://u:hunter3@a.example/key', 'mqtt://b.example'] } });
    const configuration = device.start();
    const url = 'http://cam.example/a-path-that-is-a-key';
    const given = { id: 'north', url, username: 'u2', password: 'swordfish' };
    await device.applyPatch(configuration, { cameras: [given] });
    configuration.confirm(null);
    const { overlay, settings } = configuration.view();
    expect(overlay).toEqual({
      cameras: [{ id: 'north', url: 'http://cam.example/***', username: '***', password: '***' }],
    });
    // The whole overlay, and a local value.
    expect(configuration.set(overlay, 60).answer).toMatchObject({ trial: null, changed: [] });
    const { mqtt } = settings as { mqtt: { url: unknown } };
    expect(mqtt.url).toEqual(['mqtt://***@a.example/***', 'mqtt://b.example']);
    const cameras = (overlay['cameras'] as object[]).map((camera) => ({
      ...camera,
      schedule: { everyS: 20 },
    }));
    await device.applyPatch(configuration, { mqtt: { url: mqtt.url }, cameras });
    configuration.confirm(null);
    expect(readFileSync(device.statePath('config-overlay.json'), 'utf8')).not.toContain('***');
    const after = device.start().settings;
    expect(after.cameras[0]).toMatchObject({ ...given, schedule: { everyS: 20 } });
    expect(after.mqtt.url[0]).toBe('mqtt://u:hunter3@a.example/key');
  });

  it.each([
    [
      'an address of another host',
      { cameras: [{ id: 'north', url: 'http://other.example/***' }] },
      'cameras[0].url',
    ],
    ['an address without its path', { cameras: [{ id: 'north', url: 'http://***' }] }, 'cameras[0].url'],
    [
      'a new camera',
      { cameras: [{ id: 'new', kind: 'http', url: 'http://cam.example/***' }] },
      'cameras[0].url',
    ],
    ['a secret that is not set', { mqtt: { password: '***' } }, 'mqtt.password'],
    ['one broker more', { mqtt: { url: ['mqtt://***@a.example', 'mqtt://c.example'] } }, 'mqtt.url'],
  ])('refuses %s', (_name, patch, key) => {
    device.writeFile({ mqtt: { url: 'mqtt://u:p@a.example' } });
    const configuration = device.start();
    expect(() => configuration.set(patch, 60)).toThrow(`${key}: wanted the value itself, or not this key`);
  });
});
