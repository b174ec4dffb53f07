import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { patchOverlay } from '../../../src/config/patch.ts';
import { applyOverlay, type Overlay } from '../../../src/config/overlay.ts';
import type { Camera, Settings } from '../../../src/config/schema.ts';

const NORTH = {
  id: 'north',
  kind: 'rtsp',
  url: 'rtsp://cam.example/1',
  username: 'viewer',
  password: 'hunter2',
  schedule: { everyS: 60, jitterS: 5 },
  privacyMasks: [[[0, 0], [0.1, 0], [0.1, 0.1]]], // prettier-ignore
};
const FILE = {
  site: 'beach',
  cameras: [NORTH, { id: 'south', kind: 'simulated' }],
  mqtt: { url: 'mqtts://broker.example', username: 'pi', password: 'secret' },
};

const withOverlay = (overlay: Overlay, document: object = FILE): Settings =>
  loadSettings({ file: 'file', document, env: {}, cwd: '/', overlay });
const camera = (overlay: Overlay, id = 'north'): Camera => {
  const found = withOverlay(overlay).cameras.find((one) => one.id === id);
  if (!found) throw new Error(`no camera ${id}`);
  return found;
};

describe('applyOverlay', () => {
  it('changes one key of one camera and no other key', () => {
    const settings = withOverlay({ cameras: [{ id: 'north', schedule: { everyS: 30 } }] });
    expect(settings.cameras.map(({ id }) => id)).toEqual(['north', 'south']);
    expect(settings.cameras[0]).toMatchObject({
      url: 'rtsp://cam.example/1',
      password: 'hunter2',
      schedule: { everyS: 30, jitterS: 5 },
    });
  });

  it('adds a camera after the local ones, and ignores changes to a removed camera', () => {
    const added = { id: 'east', kind: 'http', url: 'http://e.example/1.jpg' };
    const settings = withOverlay({ cameras: [{ id: 'gone', timeoutS: 3 }, added] });
    expect(settings.cameras.map(({ id }) => id)).toEqual(['north', 'south', 'east']);
  });

  it('replaces everyS by cron, and cron by everyS', () => {
    expect(camera({ cameras: [{ id: 'north', schedule: { cron: '*/5 * * * *' } }] }).schedule).toEqual({
      cron: '*/5 * * * *',
      jitterS: 5,
    });
    const cron = { cameras: [{ ...NORTH, schedule: { cron: '0 * * * *', timezone: 'UTC' } }] };
    const over = { cameras: [{ id: 'north', schedule: { everyS: 30 } }] };
    expect(withOverlay(over, cron).cameras[0]?.schedule).toEqual({ everyS: 30, timezone: 'UTC' });
  });

  it.each([
    ['mqtts://broker.example', true],
    ['mqtts://BROKER.example.:8883', true],
    [['mqtts://broker.example', 'mqtts://broker.example/'], true],
    ['mqtts://broker.example:8884', false],
    ['wss://broker.example/mqtt', false],
    ['mqtt://broker.example', false],
    ['mqtts://evil.example', false],
    ['mqtts://broker.example.evil.example', false],
    [['mqtts://broker.example', 'mqtts://evil.example'], false],
  ])('sends the local login of the broker to %s: %s', (url, isSent) => {
    const { username, password } = withOverlay({ mqtt: { url } }).mqtt;
    expect([username, password]).toEqual(isSent ? ['pi', 'secret'] : [null, null]);
  });

  it.each([
    [{ url: 'rtsp://cam.example/1' }, true],
    [{ url: 'rtsp://Cam.Example.:554/1' }, true],
    [{ url: 'rtsp://cam.example:8554/1' }, false],
    [{ url: 'rtsp://cam.example/2' }, false],
    [{ url: 'rtsp://cam.example/1?reboot' }, false],
    [{ url: 'rtsps://cam.example/1' }, false],
    [{ url: 'rtsp://evil.example/1' }, false],
    [{ kind: 'http', url: 'http://cam.example/1' }, false],
    [{ kind: 'http', url: 'http://cam.example/factory-reset', username: 'viewer' }, false],
    [{ url: 'rtsp://cam.example/1', tls: { insecure: true } }, false],
    [{ url: 'rtsp://cam.example/1', headers: { 'X-Original-URL': '/reboot' } }, false],
  ])('sends the local login of the camera after %j: %s', (change, isSent) => {
    const local = { ...NORTH, headers: { Cookie: 'id=1' } };
    const layer = applyOverlay({ cameras: [{ id: 'north', ...change }] }, { cameras: [local], mqtt: {} });
    const [merged = {}] = layer['cameras'] as Record<string, unknown>[];
    expect([merged['password'], (merged['headers'] as typeof local.headers | undefined)?.Cookie]).toEqual(
      isSent ? ['hunter2', 'id=1'] : [undefined, undefined],
    );
  });

  it.each([{ tls: { insecure: true } }, { headers: { 'X-Original-URL': '/reboot' } }])(
    'sends the login in a local url not with %j: the change must give the url',
    (change) => {
      const local = { id: 'north', kind: 'http', url: 'https://u:p@cam.example/1?token=t' };
      const overlay = { cameras: [{ id: 'north', ...change }] };
      expect(() => withOverlay(overlay, { cameras: [local] })).toThrow(/cameras\[0\].url/);
    },
  );

  it('uses credentials that are set together with another host', () => {
    const { mqtt } = withOverlay({ mqtt: { url: 'mqtt://other', username: 'u', password: 'p' } });
    expect([mqtt.username, mqtt.password]).toEqual(['u', 'p']);
    const one = camera({ cameras: [{ id: 'north', url: 'rtsp://u:p@cam.example/1' }] });
    expect([one.username, one.password, one.url]).toEqual([null, null, 'rtsp://u:p@cam.example/1']);
  });

  it('drops source and login of a camera when its kind changes', () => {
    const { kind, url, username, schedule } = camera({ cameras: [{ id: 'north', kind: 'simulated' }] });
    expect([kind, url, username]).toEqual(['simulated', null, null]);
    expect(schedule.everyS).toBe(60);
  });

  it('replaces the local password file by a remote password', () => {
    const document = { mqtt: { url: 'mqtt://h', username: 'u', password_file: '/nowhere' } };
    expect(withOverlay({ mqtt: { password: 'new' } }, document).mqtt.password).toBe('new');
  });

  it('adds privacy masks and never removes a local one', () => {
    const mask = [[0.5, 0.5], [0.6, 0.5], [0.6, 0.6]]; // prettier-ignore
    expect(camera({ cameras: [{ id: 'north', privacyMasks: [] }] }).privacyMasks).toHaveLength(1);
    expect(camera({ cameras: [{ id: 'north', privacyMasks: [mask] }] }).privacyMasks).toEqual([
      NORTH.privacyMasks[0],
      mask,
    ]);
  });
});

describe('patchOverlay', () => {
  const before: Overlay = {
    logLevel: 'debug',
    mqtt: { protocolVersion: 4, url: 'mqtt://a' },
    cameras: [
      { id: 'north', schedule: { everyS: 30 }, timeoutS: 9 },
      { id: 'east', kind: 'simulated' },
    ],
  };

  it('removes a setting for null, and removes empty groups', () => {
    expect(patchOverlay(before, { logLevel: null, mqtt: { protocolVersion: null, url: null } })).toEqual({
      cameras: before['cameras'],
    });
    expect(patchOverlay(before, { mqtt: null, cameras: null })).toEqual({ logLevel: 'debug' });
    expect(
      patchOverlay(before, { cameras: [{ id: 'north', schedule: { everyS: null } }] })['cameras'],
    ).toEqual([
      { id: 'north', timeoutS: 9 },
      { id: 'east', kind: 'simulated' },
    ]);
  });

  it.each([
    { mqtt: { url: 'mqtt://evil' } },
    { mqtt: { url: ['mqtt://a', 'mqtt://evil'] } },
    { mqtt: { url: null } },
  ])('drops the login of an earlier command for %j', (patch) => {
    const login: Overlay = { mqtt: { url: 'mqtt://a', username: 'u', password: 'p' } };
    expect(patchOverlay(login, { mqtt: { url: 'mqtt://A:1883' } })).toMatchObject({
      mqtt: { password: 'p' },
    });
    expect(patchOverlay(login, { mqtt: { protocolVersion: 4 } })).toMatchObject({ mqtt: { password: 'p' } });
    expect(JSON.stringify(patchOverlay(login, patch))).not.toMatch(/"[up]"/);
  });

  it.each([
    { url: 'http://cam:81/1' },
    { url: 'http://cam/2' },
    { url: null },
    { kind: 'hls' },
    { tls: { insecure: true } },
    { headers: { 'X-Original-URL': '/reboot' } },
  ])('drops the login of an earlier command to a camera for %j', (change) => {
    const earlier = { id: 'east', kind: 'http', url: 'http://cam/1', username: 'u', password: 'p', headers: { Cookie: 'c' } }; // prettier-ignore
    const next = (more: object) =>
      JSON.stringify(patchOverlay({ cameras: [earlier] }, { cameras: [{ id: 'east', ...more }] }));
    expect(next({ timeoutS: 3, kind: 'http', url: 'http://CAM:80/1' })).toMatch(/"u".*"p".*"c"/);
    expect(next(change)).not.toMatch(/"[upc]"/);
    expect(next({ ...change, username: 'v', password: 'q' })).toMatch(/"v".*"q"/);
  });

  it.each([{ kind: 'hls' }, { tls: { insecure: true } }, { headers: { 'X-Original-URL': '/reboot' } }])(
    'drops the address of an earlier command with its login for %j: the change must give the url',
    (change) => {
      for (const url of ['http://u:p@cam/1', 'http://:p@cam/1']) {
        const earlier = { id: 'east', kind: 'http', url };
        const next = (more: object) =>
          patchOverlay({ cameras: [earlier] }, { cameras: [{ id: 'east', ...more }] })['cameras'];
        expect(next({ timeoutS: 3 })).toMatchObject([{ url }]);
        expect(next(change)).not.toMatchObject([{ url }]);
        expect(next({ ...change, url })).toMatchObject([{ url }]);
      }
    },
  );

  it('removes all settings of a camera for remove: true', () => {
    expect(patchOverlay(before, { cameras: [{ id: 'east', remove: true }] })['cameras']).toHaveLength(1);
    const none = patchOverlay(before, { cameras: [{ id: 'east', remove: true }, { id: 'north', remove: true }] }); // prettier-ignore
    expect(none['cameras']).toBeUndefined();
  });

  it('merges cameras by id, in any order', () => {
    const next = patchOverlay(before, { cameras: [{ id: 'east', timeoutS: 2 }, { id: 'north', timeoutS: 1 }] }); // prettier-ignore
    expect(next['cameras']).toEqual([
      { id: 'north', schedule: { everyS: 30 }, timeoutS: 1 },
      { id: 'east', kind: 'simulated', timeoutS: 2 },
    ]);
  });

  it('does not change a prototype', () => {
    const patch = JSON.parse(
      '{"__proto__": {"polluted": 1}, "mqtt": {"__proto__": {"polluted": 1}}}',
    ) as object;
    const next = patchOverlay({}, patch as Overlay);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.getPrototypeOf(next)).toBe(Object.prototype);
    expect(() => withOverlay(next)).toThrow(/__proto__/);
  });
});
