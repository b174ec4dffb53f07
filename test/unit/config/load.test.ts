import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toDeviceName } from '../../../src/config/definition.ts';
import { useSettingsDir } from '../../fixtures/settings.ts';

const dir = useSettingsDir();

describe('defaults', () => {
  it('run a simulated camera with self labels, the embedded broker, and loopback addresses', () => {
    const settings = dir.load({});
    expect(settings).toMatchObject({
      site: 'local',
      stateDir: join(dir.path, 'var'),
      logLevel: 'info',
      cameras: [
        {
          id: 'sim',
          kind: 'simulated',
          schedule: { everyS: 4 },
          burst: { frames: 3, intervalS: 0.5 },
          simulation: { selfLabel: true },
          seaState: { schedule: { everyS: 600 }, durationS: 256, fps: 2 },
        },
      ],
      mqtt: {
        url: [],
        protocolVersion: 5,
        base: 'swellsight/v1',
        embedded: { host: '127.0.0.1', port: 1883 },
      },
      inference: { providers: 'auto', threads: 'auto', timeoutS: 10, maxRssMb: 300 },
      store: { retentionDays: 90, maxMb: 1024, outbox: { maxMessages: 100_000, maxAgeDays: 30 } },
      heartbeat: { intervalS: 30 },
      http: { host: '127.0.0.1', port: 8080, token: null, cors: [], batchMax: 50, cacheTtlS: 300 },
    });
    expect(settings.mqtt.clientId).toBe(`swellsight-local-${settings.device}`);
  });

  it('are deeply frozen', () => {
    const settings = dir.load({});
    expect(() => Object.assign(settings.cameras[0]!.burst, { frames: 9 })).toThrow(TypeError);
  });

  it('of a real camera are a period of a minute, three frames at two seconds, a timeout of fifteen seconds', () => {
    const [camera] = dir.loadText("{cameras: [{id: 'a', kind: 'rtsp', url: 'rtsp://h/1'}]}").cameras;
    expect(camera).toMatchObject({
      schedule: { everyS: 60 },
      burst: { frames: 3, intervalS: 2 },
      timeoutS: 15,
    });
    expect(camera?.simulation.selfLabel).toBe(false);
  });

  it('take clips in the time zone and the hours of the schedule, unless they have their own', () => {
    const sun = { from: 'dawn', to: 'dusk' };
    const camera = {
      id: 'a',
      kind: 'simulated',
      schedule: { everyS: 10, timezone: 'Europe/Lisbon', sun },
      location: { lat: 39, lon: -9 },
    };
    const seaStateOf = (seaState: unknown): unknown =>
      dir.loadText(JSON.stringify({ cameras: [{ ...camera, seaState }] })).cameras[0]?.seaState;
    expect(dir.loadText(JSON.stringify({ cameras: [camera] })).cameras[0]?.seaState).toBeNull();
    expect(seaStateOf({})).toEqual({
      schedule: { everyS: 1800, timezone: 'Europe/Lisbon', sun },
      ...{ fps: 2, durationS: 512, lines: null, region: null, keepTimestacks: false },
    });
    const own = { cron: '0 * * * *', sun: { from: 'sunrise', to: 'sunset' } };
    expect(seaStateOf({ schedule: own })).toMatchObject({ schedule: { timezone: 'Europe/Lisbon', ...own } });
  });

  it('shorten the burst for a short period', () => {
    const [camera] = dir.loadText(
      "{cameras: [{id: 'a', kind: 'video', path: 'v.mp4', schedule: {everyS: 1}}]}",
    ).cameras;
    expect(camera?.burst.intervalS).toBe(0.125);
    expect(camera?.path).toBe(join(dir.path, 'v.mp4'));
  });

  it.each([
    ['station-7.local', 'station-7.local'],
    ['my host!', 'my-host-'],
    ['_x', 'x'],
    ['', 'device'],
    ['ü', 'device'],
    ['a'.repeat(100), 'a'.repeat(64)],
  ])('convert the host name %j to an id', (host, id) => {
    expect(toDeviceName(host)).toBe(id);
  });
});

describe('order of the sources', () => {
  it('is defaults < file < environment < overlay', () => {
    const file = dir.writeFile("{site: 'file', device: 'file', logLevel: 'warn', heartbeat: {intervalS: 5}}");
    const env = { SWELLSIGHT_DEVICE: 'env', SWELLSIGHT_LOG_LEVEL: 'error' };
    const settings = dir.load({ file, env, overlay: { logLevel: 'debug' } });
    expect([settings.site, settings.device, settings.logLevel, settings.heartbeat.intervalS]).toEqual([
      'file',
      'env',
      'debug',
      5,
    ]);
  });

  it('replaces lists instead of merging them', () => {
    const file = dir.writeFile("{http: {cors: ['https://a.example', 'https://b.example']}}");
    expect(dir.load({ file, overlay: { http: { cors: ['https://c.example'] } } }).http.cors).toEqual([
      'https://c.example',
    ]);
  });

  it('shows the source of a value in its fault', () => {
    const file = dir.writeFile('{http: {port: -1}}');
    const [fromFile] = dir.getFaults({ file });
    expect(fromFile).toMatchObject({ key: 'http.port', given: '-1', origin: file });
    const [fromOverlay] = dir.getFaults({ file, overlay: { http: { port: 'x' } } });
    expect(fromOverlay).toMatchObject({ key: 'http.port', given: '"x"', origin: 'overlay' });
  });
});
