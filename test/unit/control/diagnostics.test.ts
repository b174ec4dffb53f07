import { Ajv } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { Diagnostics, type LogEntry } from '../../../src/contract/diagnostics.ts';
import type { LinkStats } from '../../../src/mqtt/types.ts';
import { buildDiagnostics, type DiagnosticsInput } from '../../../src/control/diagnostics.ts';
import { outboxView } from '../../../src/control/outbox-view.ts';
import { CannedAgent } from '../../fixtures/agent-api.ts';
import { draft, NO_FEATURES } from '../../fixtures/store.ts';
import { useStore } from '../../fixtures/use-store.ts';

const validate = new Ajv({ strict: false, formats: fullFormats }).compile(Diagnostics);
const SECRET = 'hunter2-hunter2';
const POLYGON = [
  [0, 0],
  [1, 0],
  [1, 1],
];

const settingsOf = (cameras: number) =>
  loadSettings({
    file: null,
    env: {},
    cwd: '/',
    overlay: {
      mqtt: { url: `mqtts://user:${SECRET}@broker.example:8883`, username: 'u-name', password: SECRET },
      http: { token: `${SECRET}-token` },
      model: { repository: `https://u:${SECRET}@models.example/private-${SECRET}/` },
      cameras: [
        { id: 'a', kind: 'rtsp', url: `rtsp://u:${SECRET}@cam.example/key-${SECRET}/1?token=${SECRET}` },
        { id: 'b', kind: 'http', url: 'http://cam.example/', username: 'u', password: SECRET },
        { id: 'c', kind: 'command', command: ['grab', '--password', SECRET] },
        ...Array.from({ length: cameras }, (_, n) => ({
          id: `d${n}`,
          kind: 'http',
          url: `http://cam.example/${n}`,
          privacyMasks: Array.from({ length: 32 }, () => POLYGON),
        })),
      ],
    },
  });

const entry = (n: number, detail = 'x'): LogEntry => ({
  at: '2026-06-01T00:00:00.000Z',
  level: 'warn',
  part: 'mqtt',
  message: `message ${n}`,
  code: null,
  detail,
  count: 1,
});

const LINKED: LinkStats = {
  connectedSinceMs: 0,
  reconnects1h: 0,
  rttMs: 1,
  broker: 'broker:8883',
  protocolVersion: 5,
};

describe('buildDiagnostics', () => {
  const state = useStore();
  const agent = new CannedAgent();

  const report = (over: Partial<DiagnosticsInput> = {}): Diagnostics => {
    const made = buildDiagnostics({
      nowMs: state.clock.nowMs(),
      settings: settingsOf(0),
      state: 'online',
      missing: [],
      info: agent.info(),
      health: agent.health(),
      link: { connected: true, maxPayloadBytes: 1_048_576, stats: () => LINKED },
      store: state.store,
      outbox: () => outboxView(state.store),
      lastStop: null,
      log: [],
      maxBytes: 65_536,
      ...over,
    });
    expect(validate(made), JSON.stringify(validate.errors)).toBe(true);
    return made;
  };

  it('is complete when it fits', () => {
    state.store.append(draft(), NO_FEATURES);
    state.store.raise({
      type: 'x',
      severity: 'error',
      code: 'store_full',
      message: 'Full.',
      context: { a: 1 },
    });
    const made = report({ log: [entry(1)], missing: ['model'] });
    expect(made.omitted).toEqual([]);
    expect(made.missing).toEqual(['model']);
    expect(made.store).toMatchObject({ rows: { observations: 1 }, integrity: 'ok', recovered: null });
    expect(made.outbox).toMatchObject({ depth: 2, rejected: { count: 0 } });
    expect(made.outbox?.next[0]).toMatchObject({ topic: 'camera/north/observation', seq: 1 });
    expect(made.events).toEqual([expect.objectContaining({ code: 'store_full', seq: 1 })]);
    expect(made.log).toEqual([entry(1)]);
    expect(made.settings).toMatchObject({ stateDir: expect.any(String), heartbeat: { intervalS: 30 } });
  });

  it('does not tell whether the id of a former camera is a secret', () => {
    const message = `Camera ${SECRET} is up.`;
    const context = { camera: SECRET };
    state.store.raise({ type: 'camera_state', severity: 'info', code: 'up', message, context });
    expect(report().events).toEqual([expect.objectContaining({ message })]);
  });

  it('contains no secret of the settings, in any field', () => {
    state.store.raise({
      type: 'x',
      severity: 'error',
      code: 'y',
      message: `cannot open /key-${SECRET}/1`,
      context: { url: SECRET },
    });
    const details = [
      `GET http://u:${SECRET}@cam/`,
      `grab --password ${SECRET}: exit 1`,
      `401 for ${encodeURIComponent(SECRET)}`,
      `no such file: /key-${SECRET}/1`,
    ];
    const made = report({ log: details.map((detail, n) => entry(n, detail)) });
    expect(JSON.stringify(made)).not.toContain(SECRET);
    expect(JSON.stringify(made)).not.toContain('u-name');
    expect(made.settings).toMatchObject({
      mqtt: { url: ['mqtts://***@broker.example:8883'], password: '***' },
      model: { repository: 'https://***@models.example/***' },
      http: { token: '***' },
      cameras: expect.arrayContaining([
        expect.objectContaining({ id: 'a', url: 'rtsp://***@cam.example/***' }),
        expect.objectContaining({ id: 'b', url: 'http://cam.example/', password: '***' }),
        expect.objectContaining({ id: 'c', command: ['grab', '***', '***'] }),
      ]),
    });
  });

  it.each([65_536, 20_000, 9_000, 5_000])('fits into %i bytes and names the omitted parts', (maxBytes) => {
    for (let n = 0; n < 30; n += 1)
      state.store.raise({ type: 'x', severity: 'info', code: 'y', message: 'm'.repeat(900), context: {} });
    const log = Array.from({ length: 50 }, (_, n) => entry(n, 'd'.repeat(300)));
    const made = report({ settings: settingsOf(60), log, maxBytes });
    expect(Buffer.byteLength(JSON.stringify(made))).toBeLessThanOrEqual(maxBytes);
    expect(made.omitted.length).toBeGreaterThan(0);
    expect(new Set(made.omitted).size).toBe(made.omitted.length);
    // What tells most for its size stays.
    expect(made.store?.integrity).toBe('ok');
    expect(made.health.agent_version).toBe('0.0.0');
  });

  it('works with a closed store', () => {
    state.store.close();
    const made = report({ log: [entry(1)] });
    expect([made.store, made.outbox, made.events]).toEqual([null, null, []]);
    expect(made.log).toHaveLength(1);
  });
});
