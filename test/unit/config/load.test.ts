import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toDeviceName } from '../../../src/config/definition.ts';
import { formatFault, getConfigFaults, type ConfigFault } from '../../../src/config/faults.ts';
import { loadSettings, type SettingsInput } from '../../../src/config/load.ts';
import type { Settings } from '../../../src/config/schema.ts';
import { AgentError } from '../../../src/base/errors.ts';

let dir = '';
let files = 0;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'swellsight-config-'));
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

const write = (text: string, extension = 'json5'): string => {
  files += 1;
  const path = join(dir, `${String(files)}.${extension}`);
  writeFileSync(path, text);
  return path;
};

const load = (input: Partial<SettingsInput>): Settings =>
  loadSettings({ file: null, env: {}, cwd: dir, ...input });
const loadText = (text: string, extension?: string): Settings => load({ file: write(text, extension) });

function faults(input: Partial<SettingsInput>): readonly ConfigFault[] {
  try {
    load(input);
  } catch (error) {
    if (error instanceof AgentError && error.code === 'config_invalid') return getConfigFaults(error);
    throw error;
  }
  return [];
}
const keys = (found: readonly ConfigFault[]): string[] => found.map(({ key }) => key).sort();
const inFile = (document: unknown): readonly ConfigFault[] =>
  faults({ file: write(JSON.stringify(document)) });

describe('defaults', () => {
  it('run a simulated camera with self labels, the embedded broker, and loopback addresses', () => {
    const settings = load({});
    expect(settings).toMatchObject({
      site: 'local',
      stateDir: join(dir, 'var'),
      logLevel: 'info',
      cameras: [
        {
          id: 'sim',
          kind: 'simulated',
          schedule: { everyS: 4 },
          burst: { frames: 3, intervalS: 0.5 },
          simulation: { selfLabel: true },
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
    const settings = load({});
    expect(() => Object.assign(settings.cameras[0]!.burst, { frames: 9 })).toThrow(TypeError);
  });

  it('of a real camera are a period of a minute, three frames at two seconds, a timeout of fifteen seconds', () => {
    const [camera] = loadText("{cameras: [{id: 'a', kind: 'rtsp', url: 'rtsp://h/1'}]}").cameras;
    expect(camera).toMatchObject({
      schedule: { everyS: 60 },
      burst: { frames: 3, intervalS: 2 },
      timeoutS: 15,
    });
    expect(camera?.simulation.selfLabel).toBe(false);
  });

  it('shorten the burst for a short period', () => {
    const [camera] = loadText(
      "{cameras: [{id: 'a', kind: 'video', path: 'v.mp4', schedule: {everyS: 1}}]}",
    ).cameras;
    expect(camera?.burst.intervalS).toBe(0.125);
    expect(camera?.path).toBe(join(dir, 'v.mp4'));
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

describe('configuration files', () => {
  it('are JSON5 or YAML, decided by extension or by their first characters', () => {
    const json5 = "// note\n{site: 'a', mqtt: {homeAssistant: {enabled: true}},}";
    const yaml = '# note\nsite: a\nmqtt:\n  homeAssistant:\n    enabled: true\n';
    for (const [text, extension] of [
      [json5, 'json5'],
      [json5, 'conf'],
      [yaml, 'yaml'],
      [yaml, 'yml'],
      [yaml, 'conf'],
    ] as const) {
      const settings = loadText(text, extension);
      expect([settings.site, settings.mqtt.homeAssistant.enabled]).toEqual(['a', true]);
    }
  });

  it('may be empty or have empty groups', () => {
    expect(loadText('').site).toBe('local');
    expect(loadText('mqtt:\n  # url: x\nsite: b\n', 'yaml').site).toBe('b');
  });

  it.each([
    ['does not exist', () => join(dir, 'nothing.json5'), /ENOENT/],
    ['is a directory', () => dir, /EISDIR/],
    ['is not JSON5', () => write('{a: '), /JSON5/],
    ['is not YAML', () => write('a: b: c', 'yaml'), /./],
    ['has a key twice', () => write('site: a\nsite: b\n', 'yaml'), /unique/i],
    [
      'is not UTF-8',
      () => {
        const path = write('');
        writeFileSync(path, Buffer.from([0x7b, 0xff, 0xfe]));
        return path;
      },
      /./,
    ],
    [
      'expands aliases without limit',
      () =>
        write(
          `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
            .split('')
            .map((name, index) => `${name}: &${name} [${`*${'abcdefghi'[index] ?? ''},`.repeat(9)}]`)
            .join('\n')}\n`,
          'yaml',
        ),
      /alias/i,
    ],
    ['is too large', () => write(`"${'x'.repeat(2_000_000)}"`), /bytes/],
  ])('report a file that %s', (_name, path, given) => {
    const [fault, ...more] = faults({ file: path() });
    expect(more).toEqual([]);
    expect(fault?.key).toBe('(file)');
    expect(fault?.given).toMatch(given);
  });

  it.each(['[]', '5', '"site"'])('report a document %s', (text) => {
    expect(keys(faults({ file: write(text) }))).toEqual(['(all)']);
  });

  it('do not change a prototype', () => {
    const found = faults({
      file: write('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}'),
    });
    expect(keys(found)).toEqual(['__proto__', 'constructor']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('match the defaults in the shipped example', () => {
    const example = load({ file: join(import.meta.dirname, '../../../config/example.json5') });
    expect(example).toEqual(load({}));
  });

  it('are valid in the example of docs/configuration.md, except for its CA file', () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/configuration.md'), 'utf8');
    const [, text = ''] = /```json5\n([\s\S]*?)```/.exec(page) ?? [];
    mkdirSync(join(dir, 'credentials'));
    for (const name of ['north-camera', 'mqtt']) writeFileSync(join(dir, 'credentials', name), 'secret\n');
    const found = faults({ file: write(text), env: { CREDENTIALS_DIRECTORY: join(dir, 'credentials') } });
    expect(keys(found)).toEqual(['mqtt.ca']);
  });
});

describe('order of the sources', () => {
  it('is defaults < file < environment < overlay', () => {
    const file = write("{site: 'file', device: 'file', logLevel: 'warn', heartbeat: {intervalS: 5}}");
    const env = { SWELLSIGHT_DEVICE: 'env', SWELLSIGHT_LOG_LEVEL: 'error' };
    const settings = load({ file, env, overlay: { logLevel: 'debug' } });
    expect([settings.site, settings.device, settings.logLevel, settings.heartbeat.intervalS]).toEqual([
      'file',
      'env',
      'debug',
      5,
    ]);
  });

  it('replaces lists instead of merging them', () => {
    const file = write("{http: {cors: ['https://a.example', 'https://b.example']}}");
    expect(load({ file, overlay: { http: { cors: ['https://c.example'] } } }).http.cors).toEqual([
      'https://c.example',
    ]);
  });

  it('shows the source of a value in its fault', () => {
    const file = write('{http: {port: -1}}');
    const [fromFile] = faults({ file });
    expect(fromFile).toMatchObject({ key: 'http.port', given: '-1', origin: file });
    const [fromOverlay] = faults({ file, overlay: { http: { port: 'x' } } });
    expect(fromOverlay).toMatchObject({ key: 'http.port', given: '"x"', origin: 'overlay' });
  });
});

describe('environment variables', () => {
  it('set any key, converted to the type of the key', () => {
    const settings = load({
      env: {
        SWELLSIGHT_STATE_DIR: '/srv/x',
        SWELLSIGHT_MQTT_URL: 'mqtt://a.example',
        SWELLSIGHT_MQTT_PROTOCOL_VERSION: '4',
        SWELLSIGHT_MQTT_HOME_ASSISTANT_ENABLED: 'yes',
        SWELLSIGHT_MODEL_ALLOW_UNSIGNED: 'TRUE',
        SWELLSIGHT_HTTP_PORT: '81',
        SWELLSIGHT_INFERENCE_THREADS: '2',
        SWELLSIGHT_INFERENCE_PROVIDERS: '["cuda","cpu"]',
        SWELLSIGHT_HTTP_CORS: '["*"]',
        SWELLSIGHT_CAMERAS: '[{"id":"n","kind":"simulated"}]',
        SWELLSIGHT_MQTT_USERNAME: '123',
        PATH: '/bin',
        SWELLSIGHT_CONFIG: 'ignored here',
      },
    });
    expect(settings).toMatchObject({
      stateDir: '/srv/x',
      mqtt: {
        url: ['mqtt://a.example'],
        protocolVersion: 4,
        homeAssistant: { enabled: true },
        username: '123',
      },
      model: { allowUnsigned: true },
      http: { port: 81, cors: ['*'] },
      inference: { threads: 2, providers: ['cuda', 'cpu'] },
      cameras: [{ id: 'n' }],
    });
  });

  it('accept a list of brokers as JSON', () => {
    expect(load({ env: { SWELLSIGHT_MQTT_URL: '["mqtt://a","mqtts://b:8883"]' } }).mqtt.url).toEqual([
      'mqtt://a',
      'mqtts://b:8883',
    ]);
  });

  it('count as not set when empty', () => {
    expect(load({ env: { SWELLSIGHT_SITE: '' } }).site).toBe('local');
  });

  it('are reported with a suggestion when unknown', () => {
    const found = faults({
      env: { SWELLSIGHT_MQTT_ULR: 'x', SWELLSIGHT_STATEDIR: '/x', SWELLSIGHT_QQQQQQQQQQQQQQQQ: '1' },
    });
    expect(found.map(({ key, wanted }) => [key, wanted])).toEqual([
      ['SWELLSIGHT_MQTT_ULR', 'perhaps SWELLSIGHT_MQTT_URL'],
      ['SWELLSIGHT_STATEDIR', 'perhaps SWELLSIGHT_STATE_DIR'],
      ['SWELLSIGHT_QQQQQQQQQQQQQQQQ', 'no such variable'],
    ]);
  });

  it.each([
    ['SWELLSIGHT_HTTP_PORT', '80abc', 'http.port'],
    ['SWELLSIGHT_HTTP_PORT', '0x50', 'http.port'],
    ['SWELLSIGHT_HTTP_PORT', 'NaN', 'http.port'],
    ['SWELLSIGHT_MODEL_ALLOW_UNSIGNED', 'maybe', 'model.allowUnsigned'],
    ['SWELLSIGHT_CAMERAS', '[{', 'cameras'],
    ['SWELLSIGHT_CAMERAS', 'north', 'cameras'],
    ['SWELLSIGHT_CAMERAS', '{"id":"n"}', 'cameras'],
    ['SWELLSIGHT_HEARTBEAT_INTERVAL_S', '1e999', 'heartbeat.intervalS'],
  ])('are refused for %s=%s', (name, value, key) => {
    expect(keys(faults({ env: { [name]: value } }))).toEqual([key]);
  });
});

describe('secrets', () => {
  it('come from files; relative paths are first looked up in the credentials directory', () => {
    const credentials = mkdtempSync(join(dir, 'cred-'));
    writeFileSync(join(credentials, 'mqtt'), 'from systemd\n');
    writeFileSync(join(dir, 'mqtt'), 'from the directory');
    writeFileSync(join(dir, 'token'), 'tök en\r\n');
    const document =
      "{mqtt: {url: 'mqtt://h', username: 'u', password_file: 'mqtt'}, http: {token_file: 'token'}, cameras: [{id: 'a', kind: 'http', url: 'http://h/x', username: 'u', password_file: 'mqtt'}]}";
    const file = write(document);
    const settings = load({ file, env: { CREDENTIALS_DIRECTORY: credentials } });
    expect([settings.mqtt.password, settings.http.token, settings.cameras[0]?.password]).toEqual([
      'from systemd',
      'tök en',
      'from systemd',
    ]);
    expect(load({ file }).mqtt.password).toBe('from the directory');
    expect(load({ env: { SWELLSIGHT_HTTP_TOKEN_FILE: join(dir, 'token') } }).http.token).toBe('tök en');
  });

  it('have a fault for a missing or empty file, a directory, or a file in addition to the secret', () => {
    writeFileSync(join(dir, 'empty'), '\n');
    expect(keys(inFile({ http: { token_file: 'missing' } }))).toEqual(['http.token_file']);
    expect(keys(inFile({ http: { token_file: 'empty' } }))).toEqual(['http.token_file']);
    expect(keys(inFile({ http: { token_file: '.' } }))).toEqual(['http.token_file']);
    expect(keys(inFile({ http: { token: 'x', token_file: 'token' } }))).toEqual(['http.token_file']);
  });

  it('never appear in a fault', () => {
    const camera = { id: 'a', kind: 'rtsp', url: 'http://user:hunter2@h/1', password: 'hunter2' };
    const found = inFile({
      mqtt: { url: 'mqt://user:hunter2@h', password: ['hunter2'] },
      http: { token: { a: 'hunter2' } },
      cameras: [camera, { ...camera, passwort: 'x', password: 5 }],
    });
    expect(found.length).toBeGreaterThan(5);
    expect(found.map(formatFault).join('\n')).not.toContain('hunter2');
  });
});
