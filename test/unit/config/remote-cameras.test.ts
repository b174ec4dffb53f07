import { mkdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Configuration } from '../../../src/config/configuration.ts';
import { RecordingHost, thrownCode, useConfiguredDevice } from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();

const triangle = (x: number) => [[x, 0], [x + 0.1, 0], [x + 0.1, 0.1]]; // prettier-ignore
const NORTH = {
  id: 'north',
  kind: 'http',
  url: 'http://u:p@cam.example/a/now.jpg?token=1',
  privacyMasks: [triangle(0)],
};
const PIER = { id: 'pier', kind: 'rtsp', url: 'rtsp://CAM.example/1', privacyMasks: [triangle(0.3)] };
const OPEN = { id: 'open', kind: 'http', url: 'http://nvr.example/2.jpg' };

function start(more: object = {}, cameras: readonly object[] = [NORTH, PIER, OPEN]): Configuration {
  device.writeFile({ cameras, ...more });
  return device.start();
}
const set = (configuration: Configuration, camera: object): string =>
  thrownCode(() => configuration.set({ cameras: [camera] }, 60));
const masksOf = (configuration: Configuration, id: string): unknown =>
  configuration.settings.cameras.find((camera) => camera.id === id)?.privacyMasks;

describe('local privacy masks', () => {
  it.each([
    ['the same address', NORTH.url],
    ['another password', 'http://u:y@cam.example/a/now.jpg?token=1'],
    ['upper case, a dot and the port', 'http://u:p@CAM.EXAMPLE.:80/a/now.jpg?token=1'],
    ['a fragment', 'http://u:p@cam.example/a/now.jpg?token=1#x'],
    ['a path with ..', 'http://u:p@cam.example/b/../a/now.jpg?token=1'],
  ])('of every camera of the host apply to a camera that is added with %s', async (_, url) => {
    const configuration = start();
    await device.applyPatch(configuration, {
      cameras: [{ id: 'spy', kind: 'http', url, privacyMasks: [triangle(0.6)] }],
    });
    expect(masksOf(configuration, 'spy')).toEqual([triangle(0), triangle(0.3), triangle(0.6)]);
    configuration.confirm(null);
    const restarted = device.start();
    await device.applyPatch(restarted, { cameras: [{ id: 'spy', privacyMasks: null, roi: triangle(0.2) }] });
    expect(masksOf(restarted, 'spy')).toEqual([triangle(0), triangle(0.3)]);
  });

  it.each([
    ['another path', 'http://cam.example/b/now.jpg?token=1'],
    ['another query, which may turn the picture', 'http://cam.example/a/now.jpg?rotate=180'],
    ['another port', 'http://cam.example:81/a/now.jpg?token=1'],
    ['another scheme', 'https://cam.example/a/now.jpg?token=1'],
    ['an address instead of a name', 'http://10.0.0.9/a/now.jpg?token=1'],
    ['an alias', 'http://cam/a/now.jpg?token=1'],
    ['a percent-encoded host', 'rtsp://cam%2eexample/2'],
    ['this machine', 'http://localhost:1984/api/frame.jpeg?src=north'],
    ['this machine as IPv6', 'http://[::ffff:7f00:1]:1984/api/frame.jpeg?src=north'],
    ['another path of a host without masks, which may be a proxy', 'http://nvr.example/1.jpg'],
    ['a host that redirects', 'http://evil.example/redirect'],
  ])('keep remote commands from setting %s', (_, url) => {
    const configuration = start();
    const kind = url.startsWith('rtsp') ? 'rtsp' : 'http';
    for (const id of ['spy', 'open']) expect(set(configuration, { id, kind, url })).toBe('config_locked');
    expect(set(configuration, { id: 'north', kind, url })).toBe('config_locked');
    // Without masks, it is allowed.
    expect(set(start({}, [OPEN]), { id: 'spy', kind, url })).toBe('none');
  });

  it.each([
    ['a header', { headers: { 'X-Original-URL': '/now.jpg?rotate=180' } }],
    ['a cookie', { headers: { Cookie: 'view=2' } }],
    ['another user', { username: 'turned', password: 'p' }],
    ['a user without a password', { username: 'turned' }],
    ['another user in the url', { url: NORTH.url.replace('u:p', 'turned:p') }],
    ['a password without a user in the url', { url: NORTH.url.replace('u:p', ':p') }],
    ['no login', { url: NORTH.url.replace('u:p@', '') }],
  ])('keep remote commands from asking for the view with %s', (_, change) => {
    const configuration = start();
    const url = 'username' in change ? NORTH.url.replace('u:p@', '') : NORTH.url;
    for (const id of ['spy', 'north', 'open'])
      expect(set(configuration, { id, kind: 'http', url, ...change })).toBe('config_locked');
    // On a listed host and without masks, it is allowed.
    const hosts = { remote: { cameraHosts: ['cam.example', 'nvr.example'] } };
    expect(set(start(hosts), { id: 'spy', kind: 'http', url, ...change })).toBe('none');
    expect(set(start({}, [OPEN]), { id: 'spy', kind: 'http', url, ...change })).toBe('none');
  });

  it('keep remote commands from asking for the view without the headers of the local file', () => {
    const headers = { Cookie: 'view=1' };
    const configuration = start({}, [PIER, { ...OPEN, headers }]);
    const { url } = OPEN;
    expect(set(configuration, { id: 'spy', kind: 'http', url })).toBe('config_locked');
    expect(set(configuration, { id: 'open', url, headers: { cookie: 'view=2' } })).toBe('config_locked');
    expect(set(configuration, { id: 'open', url, headers: { cookie: 'view=1' }, timeoutS: 3 })).toBe('none');
  });

  it('allow a new password for the same user', () => {
    const east = { ...OPEN, id: 'east', username: 'u', password: 'p', privacyMasks: [triangle(0)] };
    const configuration = () => start({}, [east, NORTH]);
    expect(set(configuration(), { id: 'east', username: 'v' })).toBe('config_locked');
    expect(set(configuration(), { id: 'east', password: 'q' })).toBe('none');
    expect(set(configuration(), { id: 'east', username: 'u', password: 'q' })).toBe('none');
    expect(set(configuration(), { id: 'north', url: NORTH.url.replace(':p', ':q') })).toBe('none');
  });

  it('keep remote commands from reading other files of a directory', () => {
    const north = { id: 'north', kind: 'directory', path: '/var/pictures', privacyMasks: [triangle(0)] };
    const configuration = start({}, [north]);
    expect(set(configuration, { id: 'north', replay: 'loop' })).toBe('config_locked');
    expect(set(configuration, { id: 'north', recursive: true })).toBe('config_locked');
    expect(set(configuration, { id: 'north', timeoutS: 3 })).toBe('none');
  });

  it('keep remote commands from moving the camera, but not from adding masks', async () => {
    const configuration = start();
    const refused = [
      { kind: 'simulated' },
      { kind: 'hls' },
      { kind: 'rtsp', url: 'rtsp://cam.example/1' },
      { url: OPEN.url },
    ];
    for (const change of refused)
      expect(set(configuration, { id: 'north', ...change })).toBe('config_locked');
    await device.applyPatch(configuration, {
      cameras: [{ id: 'north', url: NORTH.url, privacyMasks: [triangle(0.6)], schedule: { everyS: 9 } }],
    });
    expect(masksOf(configuration, 'north')).toEqual([triangle(0), triangle(0.3), triangle(0.6)]);
  });

  it.each([
    { kind: 'v4l2', path: '/dev/v4l/by-id/usb-cam' },
    { kind: 'directory', path: '/var/pictures/../pictures' },
    { kind: 'command', command: ['grab', 'north'] },
  ])('of a camera of kind $kind: no remote command names its source', (source) => {
    const configuration = start({}, [{ id: 'north', privacyMasks: [triangle(0)], ...source }, OPEN]);
    expect(set(configuration, { id: 'spy', ...source })).toBe('config_locked');
    expect(set(configuration, { id: 'spy', kind: 'http', url: 'http://127.0.0.1:1984/north.jpg' })).toBe(
      'config_locked',
    );
    expect(set(configuration, { id: 'north', kind: 'simulated' })).toBe('config_locked');
  });

  it('allow the hosts of remote.cameraHosts, with the masks of the host', async () => {
    const hosts = { remote: { cameraHosts: ['cam.example', '*.lan', 'nvr.example:8000'] } };
    const configuration = start(hosts);
    const add = (url: string) => set(configuration, { id: 'spy', kind: 'http', url });
    expect(add('http://nvr.example:8001/1')).toBe('config_locked');
    expect(add('http://lan/1')).toBe('config_locked');
    const cameras = ['http://cam.example:99/other', 'http://east.lan/1', 'http://nvr.example:8000/1'].map(
      (url, index) => ({ id: `spy${String(index)}`, kind: 'http', url }),
    );
    await device.applyPatch(configuration, { cameras });
    const masks = ['spy0', 'spy1', 'spy2'].map((id) => masksOf(configuration, id));
    expect(masks).toEqual([[triangle(0), triangle(0.3)], [], []]);
    configuration.confirm(null);
    expect(thrownCode(() => configuration.set({ remote: { cameraHosts: ['*.com'] } }, 60))).toBe(
      'config_locked',
    );
  });

  it('are one rule for all names of this machine', async () => {
    const local = { ...NORTH, url: 'http://localhost:8081/now.jpg' };
    const configuration = start({ remote: { cameraHosts: ['127.0.0.1'] } }, [local]);
    const url = 'http://[::ffff:127.0.0.1]:8082/x.jpg';
    await device.applyPatch(configuration, { cameras: [{ id: 'spy', kind: 'http', url }] });
    expect(masksOf(configuration, 'spy')).toEqual([triangle(0)]);
  });

  it('that are new in the local file end earlier remote settings that they forbid, with an event', () => {
    start();
    const spy = { id: 'spy', kind: 'http', url: 'http://evil.example/1' };
    const east = { id: 'east', kind: 'simulated' };
    mkdirSync(device.statePath('.'));
    const overlay = { logLevel: 'debug', cameras: [{ id: 'north', url: 'http://b.example/' }, spy, east] };
    writeFileSync(
      device.statePath('config-overlay.json'),
      JSON.stringify({ format: 1, trial: null, overlay }),
    );
    const configuration = device.start();
    const { cameras, logLevel } = configuration.settings;
    expect([cameras.map(({ id }) => id), logLevel]).toEqual([['north', 'pier', 'open', 'east'], 'debug']);
    expect(cameras[0]?.url).toBe(NORTH.url);
    expect(device.host.events).toMatchObject([
      { type: 'config_overlay_dropped', context: { cameras: [{ id: 'north' }, { id: 'spy' }] } },
    ]);
  });
});

it('reports remote settings that new local masks forbid after a restart, too', async () => {
  const configuration = start({}, [OPEN]);
  await device.applyPatch(configuration, {
    cameras: [{ id: 'spy', kind: 'http', url: 'http://cam.example/1' }],
  });
  configuration.confirm(null);
  device.writeFile({ cameras: [NORTH, OPEN] });
  configuration.restart().begin();
  expect(configuration.settings.cameras.map(({ id }) => id)).toEqual(['north', 'open']);
  const next = new RecordingHost();
  configuration.attach(next, configuration.settings);
  expect(next.events).toMatchObject([
    { type: 'config_overlay_dropped', context: { cameras: [{ id: 'spy' }] } },
  ]);
});

describe('saved settings of a camera that no longer fit the local file', () => {
  const saved = async (configuration: Configuration, camera: object): Promise<void> => {
    await device.applyPatch(configuration, {
      logLevel: 'debug',
      cameras: [camera, { id: 'open', timeoutS: 3 }],
    });
    configuration.confirm(null);
  };
  const dropped = (id: string): object => ({
    type: 'config_overlay_dropped',
    context: { cameras: [{ id }] },
  });

  it.each([
    [
      'one mask too many',
      { id: 'north', privacyMasks: Array.from({ length: 32 }, (_, index) => triangle(index / 50)) },
      [{ ...NORTH, privacyMasks: [triangle(0.8)] }, OPEN],
    ],
    [
      'an id in another case',
      { id: 'EAST', kind: 'simulated' },
      [NORTH, OPEN, { id: 'east', kind: 'simulated' }],
    ],
    [
      'a 65th camera',
      { id: 'more', kind: 'simulated' },
      [OPEN, ...Array.from({ length: 63 }, (_, index) => ({ id: `c${String(index)}`, kind: 'simulated' }))],
    ],
  ])('are dropped alone, with an event: %s', async (_, camera, cameras) => {
    await saved(start({}, [{ ...NORTH, privacyMasks: [] }, OPEN]), camera);
    const { settings } = start({}, cameras);
    expect(settings.logLevel).toBe('debug');
    expect(settings.cameras.map(({ id }) => id)).toEqual(cameras.map(({ id }) => id));
    expect(settings.cameras.find(({ id }) => id === 'open')?.timeoutS).toBe(3);
    expect(device.host.events).toMatchObject([dropped(camera.id)]);
  });
});

describe('local credentials', () => {
  it('cannot be taken over by another camera or named by a file', () => {
    const configuration = start({}, [{ ...OPEN, username: 'u', password: 'p' }]);
    const second = { id: 'second', kind: 'http', url: OPEN.url, username: 'u' };
    expect(set(configuration, { ...second, password: '***' })).toBe('config_invalid');
    expect(set(configuration, { ...second, headers: { Authorization: '***' } })).toBe('config_invalid');
    expect(set(configuration, { ...second, password_file: '/etc/shadow' })).toBe('config_locked');
    expect(set(configuration, { ...second, headers_file: '/etc/shadow' })).toBe('config_locked');
    expect(set(configuration, { ...second, url: 'http://***@nvr.example/***' })).toBe('config_invalid');
  });
});

describe('the number of cameras', () => {
  const added = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ id: `c${String(index)}`, kind: 'simulated' }));

  it('that remote commands add is limited, in one command and in several', async () => {
    const configuration = start();
    expect(thrownCode(() => configuration.set({ cameras: added(900) }, 60))).toBe('config_invalid');
    expect(thrownCode(() => configuration.set({ cameras: added(9) }, 60))).toBe('config_invalid');
    await device.applyPatch(configuration, { cameras: added(8) });
    configuration.confirm(null);
    expect(set(configuration, { id: 'more', kind: 'simulated' })).toBe('config_invalid');
    expect(set(configuration, { id: 'c1', timeoutS: 3 })).toBe('none');
  });

  it('is limited in the local file', () => {
    expect(thrownCode(() => start({}, added(65)))).toBe('config_invalid');
    expect(start({}, added(64)).settings.cameras).toHaveLength(64);
  });
});

describe('the work that remote commands plan', () => {
  const camera = (frames: number, everyS: number) => ({
    ...{ id: 'fast', kind: 'http', url: 'http://h/1.jpg' },
    burst: { frames, intervalS: 0 },
    schedule: { everyS },
  });

  it('is limited by the measured time of a frame, over all cameras', async () => {
    const configuration = start({}, [{ ...OPEN, schedule: { everyS: 3 } }]);
    const limited = (camera: object): string => set(configuration, camera);
    // One frame per second is planned locally: 7 frames of 100 ms remain before the first measurement.
    expect(limited(camera(8, 1))).toBe('config_invalid');
    device.host.medianFrameMs = 400;
    expect(limited(camera(2, 1))).toBe('config_invalid');
    expect(limited({ id: 'open', schedule: { everyS: 1 } })).toBe('config_invalid');
    device.host.medianFrameMs = 20;
    await device.applyPatch(configuration, { cameras: [camera(20, 1)] });
    configuration.confirm(null);
    // A device that became slower accepts every change that does not ask for more.
    device.host.medianFrameMs = 2000;
    expect(limited({ id: 'open', schedule: { everyS: 2 } })).toBe('config_invalid');
    expect(limited({ id: 'fast', burst: { frames: 20, intervalS: 0 }, timeoutS: 3 })).toBe('none');
  });

  it('is limited by the same time after a restart of the parts', () => {
    const configuration = start({}, [{ ...OPEN, schedule: { everyS: 3 } }]);
    const detach = configuration.attach(device.host, configuration.settings);
    device.host.medianFrameMs = 400;
    detach();
    configuration.attach(new RecordingHost(), configuration.settings);
    expect(set(configuration, camera(2, 1))).toBe('config_invalid');
  });
});

it('a preview has the local masks, and what a mask forbids cannot be previewed', () => {
  const configuration = start();
  const preview = (camera: object) => configuration.preview({ cameras: [camera] }).cameras;
  expect(preview({ id: 'north', privacyMasks: [] })[0]?.privacyMasks).toEqual([triangle(0)]);
  expect(configuration.view()).toMatchObject({
    local_cameras: ['north', 'pier', 'open'],
    local_masks: { north: [triangle(0)], pier: [triangle(0.3)], open: [] },
  });
  const spies = [
    { id: 'spy', kind: 'http', url: 'http://cam.example/other.jpg' },
    { id: 'north', url: 'http://nvr.example/2.jpg' },
    { id: 'open', headers: { 'X-View': '2' } },
  ];
  for (const spy of spies) expect(thrownCode(() => preview(spy))).toMatch(/^config_(locked|invalid)$/);
});
