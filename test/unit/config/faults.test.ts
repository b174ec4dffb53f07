import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getConfigFaults, type ConfigFault } from '../../../src/config/faults.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { Authority } from '../../fixtures/certificates.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'swellsight-faults-'));
  using authority = new Authority();
  for (const name of ['pi', 'other']) {
    const { cert, key } = authority.issue({ name });
    for (const [end, path] of Object.entries({ crt: cert, key }))
      writeFileSync(join(dir, `${name}.${end}`), readFileSync(path));
    writeFileSync(join(dir, 'file.pem'), readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'));
  }
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** The faults of a document, as `key: wanted`. */
function faults(document: unknown): string[] {
  let found: readonly ConfigFault[] = [];
  try {
    loadSettings({ file: 'file', document, env: {}, cwd: dir });
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    found = getConfigFaults(error);
  }
  return found.map(({ key, wanted }) => `${key}: ${wanted}`).sort();
}
const camera = (more: object) => faults({ cameras: [{ id: 'n', kind: 'rtsp', url: 'rtsp://h/1', ...more }] });
const simulated = (more: object) => faults({ cameras: [{ id: 'n', kind: 'simulated', ...more }] });

const SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]; // prettier-ignore

describe('faults of scalar settings', () => {
  it.each([
    [{ site: 5 }, 'site'],
    [{ site: 'a/b' }, 'site'],
    [{ site: '' }, 'site'],
    [{ site: '+' }, 'site'],
    [{ site: null }, 'site'],
    [{ stateDir: '' }, 'stateDir'],
    [{ stateDir: 'a\0b' }, 'stateDir'],
    [{ logLevel: 'verbose' }, 'logLevel'],
    [{ cameras: 'none' }, 'cameras'],
    [{ mqtt: { url: 'http://h' } }, 'mqtt.url'],
    [{ mqtt: { url: ['mqtt://h', 'h:1883'] } }, 'mqtt.url'],
    [{ mqtt: { url: 'mqtt://' } }, 'mqtt.url'],
    [{ mqtt: { url: 'mqtt://h h' } }, 'mqtt.url'],
    [{ mqtt: { protocolVersion: 3 } }, 'mqtt.protocolVersion'],
    [{ mqtt: { protocolVersion: '5' } }, 'mqtt.protocolVersion'],
    [{ mqtt: { base: 'a/#' } }, 'mqtt.base'],
    [{ mqtt: { base: '/a' } }, 'mqtt.base'],
    [{ mqtt: { base: 'a/' } }, 'mqtt.base'],
    [{ mqtt: { base: '$SYS' } }, 'mqtt.base'],
    [{ mqtt: { homeAssistant: { enabled: 'yes' } } }, 'mqtt.homeAssistant.enabled'],
    [{ mqtt: { embedded: { host: '0.0.0.0' } } }, 'mqtt.embedded.host'],
    [{ mqtt: { embedded: { port: 70_000 } } }, 'mqtt.embedded.port'],
    [{ model: { active: 'gauge' } }, 'model.active'],
    [{ model: { active: '../../etc/1.0.0' } }, 'model.active'],
    [{ model: { repository: 'ftp://h' } }, 'model.repository'],
    [{ inference: { providers: 'cpu' } }, 'inference.providers'],
    [{ inference: { providers: [] } }, 'inference.providers'],
    [{ inference: { threads: 0 } }, 'inference.threads'],
    [{ inference: { timeoutS: '10' } }, 'inference.timeoutS'],
    [{ store: { maxMb: 1.5 } }, 'store.maxMb'],
    [{ store: { outbox: { maxMessages: -1 } } }, 'store.outbox.maxMessages'],
    [{ heartbeat: { intervalS: 0 } }, 'heartbeat.intervalS'],
    [{ heartbeat: 30 }, 'heartbeat'],
    [{ http: { host: 'a b' } }, 'http.host'],
    [{ http: { port: -1 } }, 'http.port'],
    [{ http: { cors: 'https://a.example' } }, 'http.cors'],
    [{ http: { cors: ['https://a.example/path'] } }, 'http.cors'],
    [{ http: { token: '' } }, 'http.token'],
    [{ cameras: {} }, 'cameras'],
  ])('reports %j as one fault of %s', (overlay, key) => {
    expect(faults(overlay).map((fault) => fault.split(':', 1)[0])).toEqual([key]);
  });
});

describe('unknown keys', () => {
  it.each([
    [{ sites: 'a' }, 'sites: perhaps site'],
    [{ statedir: 'a' }, 'statedir: perhaps stateDir'],
    [{ mqtt: { ulr: 'a' } }, 'mqtt.ulr: perhaps url'],
    [{ mqtt: { home_assistant: {} } }, 'mqtt.home_assistant: perhaps homeAssistant'],
    [{ cameras: [{ id: 'n', kind: 'simulated', shedule: {} }] }, 'cameras[0].shedule: perhaps schedule'],
    [
      { cameras: [{ id: 'n', kind: 'simulated', schedule: { every: 5 } }] },
      'cameras[0].schedule.every: perhaps everyS',
    ],
    [{ store: { zebra: 1 } }, 'store.zebra: one of retentionDays, maxMb, outbox'],
  ])('reports %j with a suggestion', (overlay, fault) => {
    expect(faults(overlay)).toEqual([fault]);
  });
});

describe('faults of cameras', () => {
  it.each([
    [{ id: 'a b' }, 'cameras[0].id'],
    [{ id: '../x' }, 'cameras[0].id'],
    [{ id: 5 }, 'cameras[0].id'],
    [{ kind: 'webcam' }, 'cameras[0].kind'],
    [{ url: undefined }, 'cameras[0].url'],
    [{ url: 'http://h/1' }, 'cameras[0].url'],
    [{ url: 'rtsp://' }, 'cameras[0].url'],
    [{ path: '/dev/video0' }, 'cameras[0].path'],
    [{ command: ['x'] }, 'cameras[0].command'],
    [{ command: [] }, 'cameras[0].command'],
    [{ password: 'x' }, 'cameras[0].username'],
    [{ url: 'rtsp://u:p@h/1', username: 'u' }, 'cameras[0].username'],
    [{ schedule: { cron: '* * * * *', everyS: 5 } }, 'cameras[0].schedule'],
    [{ schedule: { cron: '* * * * * *' } }, 'cameras[0].schedule.cron'],
    [{ schedule: { cron: '61 * * * *' } }, 'cameras[0].schedule.cron'],
    [{ schedule: { cron: '0 0 31 2 *' } }, 'cameras[0].schedule.cron'],
    [{ schedule: { everyS: 0 } }, 'cameras[0].schedule.everyS'],
    [{ schedule: { timezone: 'Lisbon' } }, 'cameras[0].schedule.timezone'],
    [{ schedule: { timezone: '+01:00' } }, 'cameras[0].schedule.timezone'],
    [{ schedule: { sun: { from: 'dawn', to: 'dusk' } } }, 'cameras[0].location'],
    [
      { schedule: { sun: { from: 'dawn', to: 'dawn' } }, location: { lat: 1, lon: 1 } },
      'cameras[0].schedule.sun',
    ],
    [
      { schedule: { sun: { from: 'noon', to: 'dusk' } }, location: { lat: 1, lon: 1 } },
      'cameras[0].schedule.sun.from',
    ],
    [{ schedule: { everyS: 10, jitterS: 10 } }, 'cameras[0].schedule.jitterS'],
    [{ schedule: { everyS: 10 }, burst: { frames: 3, intervalS: 5 } }, 'cameras[0].burst'],
    [{ burst: { frames: 0 } }, 'cameras[0].burst.frames'],
    [{ seaState: { schedule: { everyS: 500 } } }, 'cameras[0].seaState.schedule'],
    [{ seaState: { schedule: { cron: '*/8 * * * *' } } }, 'cameras[0].seaState.schedule'],
    [{ seaState: { schedule: { cron: 'x' } } }, 'cameras[0].seaState.schedule.cron'],
    [{ seaState: { schedule: { sun: { from: 'dawn', to: 'dusk' } } } }, 'cameras[0].location'],
    [{ seaState: { fps: 0.5 } }, 'cameras[0].seaState.fps'],
    [{ seaState: { durationS: 100 } }, 'cameras[0].seaState.durationS'],
    [{ seaState: { lines: [[[0.5, 0.2], [0.5, 1.2]]] } }, 'cameras[0].seaState.lines[0][1][1]'], // prettier-ignore
    [{ seaState: { lines: [[[0.5, 0.2], [0.5, 0.21]]] } }, 'cameras[0].seaState.lines[0]'], // prettier-ignore
    [{ seaState: { region: [[0, 0], [1, 1], [0.5, 0.5]] } }, 'cameras[0].seaState.region'], // prettier-ignore
    [{ geometry: {} }, 'cameras[0].geometry'],
    [{ geometry: { cameraHeightM: 10 } }, 'cameras[0].geometry'],
    [{ geometry: { cameraHeightM: 10, horizonRow: 0.4, tiltDeg: 5, fovDeg: 60 } }, 'cameras[0].geometry'],
    [{ geometry: { cameraHeightM: 10, tiltDeg: 5 } }, 'cameras[0].geometry.fovDeg'],
    [{ geometry: { cameraHeightM: 0, horizonRow: 0.4 } }, 'cameras[0].geometry.cameraHeightM'],
    [{ geometry: { pose: 'pose.json', tiltDeg: 5 } }, 'cameras[0].geometry.tiltDeg'],
    [{ geometry: { pose: 'pose.json', tide: { station: 's.json', constituents: [{ name: 'M2', amplitude: 1, phase: 0 }] } } }, 'cameras[0].geometry.tide.constituents'], // prettier-ignore
    [{ geometry: { pose: 'pose.json', tide: { offsetM: 'high' } } }, 'cameras[0].geometry.tide.offsetM'],
    [{ burst: { frames: 2.5 } }, 'cameras[0].burst.frames'],
    [{ timeoutS: 0 }, 'cameras[0].timeoutS'],
    [{ location: { lat: 91, lon: 0 } }, 'cameras[0].location.lat'],
    [{ roi: [[0, 0], [1, 1]] }, 'cameras[0].roi'], // prettier-ignore
    [{ roi: [[0, 0], [0.5, 0.5], [1, 1]] }, 'cameras[0].roi'], // prettier-ignore
    [{ roi: [[0, 0], [1, 1], [1, 0], [0, 1]] }, 'cameras[0].roi'], // prettier-ignore
    [{ roi: [[0, 0], [1.2, 0], [1, 1]] }, 'cameras[0].roi[1][0]'], // prettier-ignore
    [{ privacyMasks: [SQUARE, [[0, 0], [0, 1], [0, 0.5]]] }, 'cameras[0].privacyMasks[1]'], // prettier-ignore
    [{ replay: 'loop' }, 'cameras[0].replay'],
    [{ recursive: true }, 'cameras[0].recursive'],
    [{ simulation: { seed: 1 } }, 'cameras[0].simulation'],
  ])('reports a camera with %j under %s', (more, key) => {
    expect(camera(more).map((fault) => fault.split(':', 1)[0])).toEqual([key]);
  });

  it('accepts a valid camera of each kind', () => {
    expect(
      camera({
        schedule: { cron: '*/5 6-20 * * mon-fri', timezone: 'Europe/Lisbon' },
        roi: SQUARE,
        privacyMasks: [SQUARE],
        username: 'u',
        password: 'p',
      }),
    ).toEqual([]);
    expect(
      simulated({
        schedule: { everyS: 60, sun: { from: 'dusk', to: 'dawn' }, jitterS: 59 },
        location: { lat: 0, lon: 0 },
      }),
    ).toEqual([]);
    expect(faults({ cameras: [] })).toEqual([]);
    const kinds = [
      { kind: 'hls', url: 'https://h/x.m3u8' },
      { kind: 'http', url: 'http://h/x.jpg', username: 'u' },
      { kind: 'v4l2', path: '/dev/video0' },
      { kind: 'video', path: 'x.mp4', replay: 'loop' },
      { kind: 'directory', path: 'frames', replay: 'once', recursive: true },
      { kind: 'command', command: ['rpicam-still', '-o', '-'] },
    ];
    expect(faults({ cameras: kinds.map((kind, index) => ({ id: `c${String(index)}`, ...kind })) })).toEqual(
      [],
    );
  });

  it('rejects ids that differ only in case, because they become file names', () => {
    const twins = ['north', 'south', 'North'].map((id) => ({ id, kind: 'simulated' }));
    expect(faults({ cameras: twins })).toEqual(['cameras[2].id: another id than that of cameras[0]']);
  });

  it.each([[null], ['sim'], [[]], [5]])('rejects %j as a camera', (entry) => {
    expect(faults({ cameras: [entry] })).toEqual(['cameras[0]: {…}']);
  });
});

describe('combinations of settings', () => {
  it.each([
    [{ mqtt: { url: 'mqtts://h', cert: 'file.pem' } }, 'mqtt.key'],
    [{ mqtt: { url: 'mqtts://h', key: 'file.pem' } }, 'mqtt.cert'],
    [{ mqtt: { url: 'mqtts://h', ca: 'missing.pem' } }, 'mqtt.ca'],
    [{ mqtt: { url: 'mqtt://h', ca: 'file.pem' } }, 'mqtt.ca'],
    [{ mqtt: { url: 'mqtts://h', ca: 'pi.key' } }, 'mqtt.ca'],
    [{ mqtt: { url: 'mqtts://h', cert: 'pi.crt', key: 'other.key' } }, 'mqtt.key'],
    [{ mqtt: { url: 'mqtts://h', cert: 'pi.crt', key: 'missing.key' } }, 'mqtt.key'],
    [{ mqtt: { url: 'mqtts://h', cert: 'pi.crt', key: 'pi.crt' } }, 'mqtt.key'],
    [{ mqtt: { url: 'mqtts://h', cert: 'pi.key', key: 'pi.key' } }, 'mqtt.cert'],
    [{ mqtt: { username: 'u' } }, 'mqtt.username'],
    [{ mqtt: { password: 'p' } }, 'mqtt.password'],
    [{ mqtt: { url: 'mqtt://h', password: 'p', protocolVersion: 4 } }, 'mqtt.username'],
    [{ http: { host: '0.0.0.0' } }, 'http.token'],
    [{ http: { host: '192.168.1.5' } }, 'http.token'],
    [{ http: { host: '127.0.0.1.evil.example' } }, 'http.token'],
    [{ http: { port: 1883 } }, 'mqtt.embedded.port'],
    [{ model: { trustRoot: 'missing.json' } }, 'model.trustRoot'],
  ])('rejects %j under %s', (overlay, key) => {
    expect(faults(overlay).map((fault) => fault.split(':', 1)[0])).toEqual([key]);
  });

  it.each([
    [{ mqtt: { url: 'mqtts://h', ca: 'file.pem', cert: 'file.pem', key: 'file.pem' } }],
    [{ mqtt: { url: 'mqtts://h', cert: 'pi.crt', key: 'pi.key' } }],
    [{ mqtt: { url: ['mqtt://a:%40%3A%2F%25@h', 'mqtt://b:100%@h', 'wss://h/mqtt?token=a@b'] } }],
    [{ mqtt: { url: 'mqtt://h', password: 'p' } }],
    [{ mqtt: { url: ['mqtt://h', 'wss://h/mqtt'], ca: 'file.pem' } }],
    [{ http: { host: '0.0.0.0', token: 't' } }],
    [{ http: { host: '[::1]' } }],
    [{ http: { allowedHosts: ['gauge.example.org', '*.example.org:8443', '*.local', '[fd00::1]'] } }],
    [{ http: { port: 0 }, mqtt: { embedded: { port: 0 } } }],
    [{ http: { port: 1883 }, mqtt: { url: 'mqtt://h' } }],
  ])('accepts %j', (overlay) => {
    expect(faults(overlay)).toEqual([]);
  });
});

describe('certificate and key of the broker', () => {
  it('names both settings when they are exchanged, with the files, before any connection', () => {
    const tls = (mqtt: object): string[] => faults({ mqtt: { url: 'mqtts://h', ...mqtt } });
    expect(tls({ cert: 'pi.key', key: 'pi.crt' })).toEqual([
      expect.stringMatching(/^mqtt.cert: .*a private key: are certificate and key exchanged\?/),
      expect.stringMatching(/^mqtt.key: .*a certificate: are certificate and key exchanged\?/),
    ]);
    expect(tls({ cert: 'pi.crt', key: 'other.key' })).toEqual([
      `mqtt.key: the private key of the certificate in ${join(dir, 'pi.crt')}`,
    ]);
  });
});

describe('a password in the address of a broker', () => {
  it.each(['12#34', '1/pa@rt', '1?pa@rt', 'pa/rt', 'pa?rt', 'pa#rt', '#'])(
    'is a fault with a remedy when %s is not encoded',
    (password) => {
      const found = faults({ mqtt: { url: `mqtt://user:${password}@host` } });
      expect(found).toEqual([expect.stringMatching(/^mqtt.url: .*write @ as %40.*\/ as %2F/)]);
    },
  );
});

it('reports the faults of a camera together: shape, cron pattern, location, secret files', () => {
  const camera = {
    id: 'a',
    kind: 'rtps',
    url: 'rtsp://h/1',
    username: 'u',
    password_file: '/nowhere/password',
    headers_file: '/nowhere/headers',
    tls: { ca: '/nowhere/ca.pem', fingerprint256: 'x' },
    schedule: { cron: '99 * * * *', jitterS: -1, sun: { from: 'dawn', to: 'noon' } },
  };
  const both = faults({ cameras: [camera, { ...camera, id: 'b', kind: 'rtsp' }] });
  const keysOf = (index: number): string[] =>
    both
      .map((fault) => fault.split(':', 1)[0] ?? '')
      .filter((key) => key.startsWith(`cameras[${String(index)}].`))
      .map((key) => key.slice('cameras[0].'.length))
      .sort();
  const always = ['headers_file', 'location', 'password_file', 'schedule.cron', 'schedule.jitterS', 'schedule.sun.to', 'tls.ca', 'tls.fingerprint256']; // prettier-ignore
  expect(keysOf(0)).toEqual([...always, 'kind'].sort());
  expect([...new Set(keysOf(1))]).toEqual(always);
});

it('reports all faults of a file together', () => {
  const found = faults({
    site: 'a b',
    unknown: 1,
    mqtt: { url: 'nonsense', cert: 'pi.crt', homeAsistant: {} },
    http: { host: '0.0.0.0', port: '80' },
    cameras: [
      { id: 'a', kind: 'rtsp', schedule: { cron: 'x', everyS: 3, timezone: 'Mars/Base' } },
      { id: 'A', kind: 'simulated', roi: [[0, 0], [0, 0], [0, 0]], burst: { frames: 99 } }, // prettier-ignore
      { kind: 'simulated' },
      { id: 'a', kind: 'simulated' },
    ],
  });
  expect(found.map((fault) => fault.split(':', 1)[0])).toEqual([
    'cameras[0].schedule.cron',
    'cameras[0].schedule.timezone',
    'cameras[0].schedule',
    'cameras[0].url',
    'cameras[1].burst.frames',
    'cameras[1].id',
    'cameras[1].roi',
    'cameras[2].id',
    'cameras[3].id',
    'http.port',
    'http.token',
    'mqtt.homeAsistant',
    'mqtt.key',
    'mqtt.url',
    'site',
    'unknown',
  ]);
});
