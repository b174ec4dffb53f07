import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CAMERA_STATES as CONTRACT_CAMERA_STATES } from '../../../../src/contract/health.ts';
import { Status } from '../../../../src/contract/states.ts';
import { DeviceTable, MAX_DEVICES } from '../../../../src/web/fleet/device-table.ts';
import { CAMERA_STATES, STATUS_STATES } from '../../../../src/web/fleet/device-parts.ts';
import { Fields } from '../../../../src/web/fleet/payload.ts';
import { deviceMessages, hostileMessage } from '../../../fixtures/device-messages.ts';

const BASE = 'swellsight/v1';
const NOW_MS = Date.parse('2026-06-01T08:00:00.000Z');
const RUNS = Number(process.env['SWELLSIGHT_FUZZ_MESSAGES'] ?? 1000);

class Broker {
  readonly table = new DeviceTable(BASE);
  nowMs = NOW_MS;

  send(
    topic: string,
    message: object | string,
    more: { retained?: boolean; expiryS?: number } = {},
  ): boolean {
    const payload = Buffer.from(typeof message === 'string' ? message : JSON.stringify(message));
    return this.table.receive({
      topic: `${BASE}/${topic}`,
      payload,
      retained: false,
      receivedMs: this.nowMs,
      ...more,
    });
  }

  status(name: string, state: string, more = {}): boolean {
    return this.send(`${name}/status`, { state, session: 's', at: this.iso(0) }, more);
  }

  heartbeat(name: string, fields: object = {}, more: { retained?: boolean; expiryS?: number } = {}): boolean {
    const health = { at: this.iso(0), boot_id: 'b', seq: 1, degraded: [], cameras: [], ...fields };
    return this.send(`${name}/health`, health, more);
  }

  iso(offsetMs: number): string {
    return new Date(this.nowMs + offsetMs).toISOString();
  }

  get rows(): string[] {
    return this.table.rows(this.nowMs).map(({ device, condition }) => `${device.name} ${condition}`);
  }
}

describe('DeviceTable', () => {
  it('shows the worst device first, and of equal ones the one that changed last', () => {
    const broker = new Broker();
    for (const name of ['a/1', 'a/2', 'b/1', 'b/2']) {
      broker.heartbeat(name, {}, { retained: true });
      broker.status(name, 'online', { retained: true });
    }
    expect(broker.rows).toEqual(['a/1 ok', 'a/2 ok', 'b/1 ok', 'b/2 ok']);
    broker.nowMs += 1000;
    broker.status('a/2', 'offline');
    broker.heartbeat('b/2', { degraded: ['disk_low'] });
    expect(broker.rows.slice(0, 2)).toEqual(['a/2 offline', 'b/2 degraded']);
    broker.nowMs += 1000;
    broker.status('b/1', 'offline');
    expect(broker.rows.slice(0, 3)).toEqual(['b/1 offline', 'a/2 offline', 'b/2 degraded']);
    broker.nowMs += 1000;
    broker.status('a/2', 'online');
    expect(broker.rows).toEqual(['b/1 offline', 'b/2 degraded', 'a/2 ok', 'a/1 ok']);
  });

  it('takes the validity of a heartbeat from its expiry, else from the interval of two, else 90 s', () => {
    const broker = new Broker();
    broker.heartbeat('a/expiry', {}, { expiryS: 30 });
    broker.heartbeat('a/default');
    broker.heartbeat('a/interval', { seq: 1 });
    for (const name of ['a/expiry', 'a/default', 'a/interval']) broker.status(name, 'online');
    broker.nowMs += 10_000;
    broker.heartbeat('a/interval', { seq: 2 });
    broker.nowMs += 21_000;
    expect(broker.rows).toEqual(['a/expiry stale', 'a/default ok', 'a/interval ok']);
    broker.nowMs += 10_000;
    expect(broker.rows).toEqual(['a/interval stale', 'a/expiry stale', 'a/default ok']);
    broker.nowMs += 60_000;
    expect(broker.rows).toContain('a/default stale');
  });

  it('corrects times of a device by the clock error that its heartbeat shows', () => {
    const broker = new Broker();
    const at = '2019-01-01T00:00:00.000Z';
    broker.status('a/1', 'online');
    broker.heartbeat('a/1', {
      at,
      cameras: [{ id: 'north', state: 'up', last_frame_age_s: 5, next_run_at: '2019-01-01T00:01:00.000Z' }],
    });
    const device = broker.table.find('a/1');
    expect(device?.heartbeatMs).toBe(NOW_MS);
    expect(device?.clockErrorMs).toBe(NOW_MS - Date.parse(at));
    const [camera] = device?.cameras(NOW_MS) ?? [];
    expect(camera).toMatchObject({ dueMs: NOW_MS + 60_000, lastFrameMs: NOW_MS - 5000, standing: 'current' });
  });

  it('shows heights, versions and places of the messages', () => {
    const broker = new Broker();
    const wave = {
      height_m: 1.24,
      height_low_m: 0.9,
      height_high_m: 1.5,
      height_basis: 'site_calibrated',
      period_s: 11.2,
    };
    broker.send('a/1/camera/north/latest', {
      status: 'measured',
      reasons: [],
      captured_at: broker.iso(-4000),
      wave,
    });
    broker.send('a/1/info', {
      agent_version: '1.2.3',
      hardware: { model: 'Raspberry Pi 5' },
      cameras: [{ id: 'north', kind: 'rtsp', location: { lat: -38.4, lon: 144.3 } }],
    });
    broker.send('a/1/model/state', { phase: 'committed', active: { name: 'gauge', version: '2.0.0' } });
    broker.send('a/1/agent/state', { running: { version: '1.2.4' }, update: null });
    const device = broker.table.find('a/1');
    expect(device?.model).toEqual({ name: 'gauge', version: '2.0.0' });
    expect(device?.agentVersion).toBe('1.2.4');
    expect(device?.cameras(NOW_MS)[0]).toMatchObject({
      observation: { heightM: 1.24, lowM: 0.9, highM: 1.5, basis: 'site_calibrated', periodS: 11.2 },
      observedMs: NOW_MS - 4000,
      location: { lat: -38.4, lon: 144.3 },
    });
  });

  it('forgets a camera, and a device whose topics were all cleared', () => {
    const broker = new Broker();
    broker.status('a/1', 'online');
    broker.send('a/1/camera/north/state', { state: 'up' });
    broker.send('a/1/camera/north/state', '');
    expect(broker.table.find('a/1')?.cameras(NOW_MS)).toEqual([]);
    broker.send('a/1/status', '');
    expect(broker.rows).toEqual([]);
  });

  it('forgets devices that a new connection to the broker does not show again', () => {
    const broker = new Broker();
    broker.status('a/1', 'online');
    broker.status('a/2', 'online');
    broker.nowMs += 60_000;
    broker.table.beginGeneration(broker.nowMs);
    broker.status('a/2', 'online', { retained: true });
    broker.table.endGeneration();
    expect(broker.rows).toEqual(['a/2 starting']);
  });

  it('knows since when a camera is down, also when its state comes after the heartbeat', () => {
    const broker = new Broker();
    broker.status('a/1', 'online', { retained: true });
    broker.heartbeat('a/1', { cameras: [{ id: 'north', state: 'down' }] }, { retained: true });
    const judge = () => broker.table.rows(broker.nowMs)[0];
    expect(judge()).toMatchObject({ condition: 'camera_fault', isSinceKnown: false });
    const since = broker.iso(-3_600_000);
    broker.send('a/1/camera/north/state', { state: 'down', since }, { retained: true });
    broker.nowMs += 1000;
    expect(judge()).toMatchObject({ isSinceKnown: true, sinceMs: Date.parse(since) });
  });

  it('lists devices that left more than a week ago last', () => {
    const broker = new Broker();
    const left = { state: 'offline', session: 's', at: broker.iso(-8 * 86_400_000) };
    broker.send('a/left/status', left, { retained: true });
    broker.heartbeat('b/1');
    broker.status('b/1', 'online');
    expect(broker.rows).toEqual(['b/1 ok', 'a/left offline']);
  });
});

describe('hostile messages', () => {
  it('has the values of the contract', () => {
    expect(CAMERA_STATES).toEqual(CONTRACT_CAMERA_STATES);
    expect(STATUS_STATES).toEqual(Status.properties.state.enum);
  });

  it('never throws, and keeps a bounded part of each', () => {
    const { table } = new Broker();
    fc.assert(
      fc.property(hostileMessage, fc.boolean(), fc.integer(), ({ topic, payload }, retained, expiryS) => {
        const message = { payload, retained, receivedMs: NOW_MS, expiryS };
        for (const rest of [topic, 'camera/north/state', 'camera/north/latest', 'event/x'])
          table.receive({ ...message, topic: `${BASE}/home/a/${rest}` });
        const device = table.find('home/a');
        for (const row of table.rows(NOW_MS)) row.device.cameras(NOW_MS);
        const kept = [device?.heartbeat, device?.info, device?.install, device?.update, device?.events];
        expect(JSON.stringify([kept, device?.cameras(NOW_MS)]).length).toBeLessThan(200_000);
      }),
      { numRuns: RUNS, seed: 16 },
    );
  });

  it.each([
    ['NaN', '{"uptime_s":NaN}'],
    ['10 MB', JSON.stringify({ at: 'x'.repeat(10_000_000) })],
    ['deep JSON', '{"a":'.repeat(10_000)],
    ['deep valid JSON', `${'['.repeat(30_000)}${']'.repeat(30_000)}`],
    ['bytes that are no text', '\u0000\u0001'],
    ['a list', '[]'],
    [
      'keys of the prototype',
      '{"__proto__":{"at":"2026-01-01T00:00:00Z"},"constructor":1,"degraded":{"length":1}}',
    ],
  ])('shows %s as unreadable', (_what, text) => {
    const broker = new Broker();
    broker.status('a/1', 'online');
    broker.heartbeat('a/1');
    broker.send('a/1/model/state', text);
    expect(broker.rows).toEqual(['a/1 unreadable']);
    expect(broker.table.find('a/1')?.invalid).toEqual(['model/state']);
  });

  it('ignores names that no device has', () => {
    const broker = new Broker();
    const names = [
      '<img src=x onerror=alert(1)>/a',
      '__proto__/a',
      'a/../../b',
      'a/.b',
      'a/ b',
      `a/${'x'.repeat(65)}`,
    ];
    for (const name of names) expect(broker.status(name, 'online')).toBe(false);
    expect(broker.send('a/1/camera/<script>/state', { state: 'up' })).toBe(false);
    expect(broker.rows).toEqual([]);
  });

  it('replaces characters that turn or hide text', () => {
    const fields = Fields.parse(Buffer.from(JSON.stringify({ a: 'x\u202Etxt.exe\n', b: '😀'.repeat(300) })));
    expect(fields?.text('a')).toBe('x\uFFFDtxt.exe\uFFFD');
    expect(fields?.text('b')).toBe('😀'.repeat(100));
  });

  it('ten thousand invented devices do not displace the real ones', () => {
    const broker = new Broker();
    for (let index = 0; index < 100; index += 1) broker.status(`real/${String(index)}`, 'online');
    for (let index = 0; index < 10_000; index += 1)
      broker.send(`x/${String(index)}/info`, { hardware: {}, cameras: [] });
    for (let index = 100; index < 200; index += 1) broker.status(`real/${String(index)}`, 'online');
    expect([broker.table.size, broker.table.isFull]).toEqual([MAX_DEVICES, true]);
    expect(broker.rows.filter((row) => row.startsWith('real/')).length).toBe(200);
  });
});

it('reads every topic of the contract that it watches', () => {
  const broker = new Broker();
  for (const [topic, message] of Object.entries(deviceMessages())) broker.send(`home/a/${topic}`, message);
  expect(broker.table.find('home/a')?.invalid).toEqual([]);
});
