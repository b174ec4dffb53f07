import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatFault, type ConfigFault } from '../../../src/config/faults.ts';
import { faultKeys, useSettingsDir } from '../../fixtures/settings.ts';

const dir = useSettingsDir();
const faultsOfFile = (document: unknown): readonly ConfigFault[] =>
  dir.getFaults({ file: dir.writeFile(JSON.stringify(document)) });

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
      const settings = dir.loadText(text, extension);
      expect([settings.site, settings.mqtt.homeAssistant.enabled]).toEqual(['a', true]);
    }
  });

  it('may be empty or have empty groups', () => {
    expect(dir.loadText('').site).toBe('local');
    expect(dir.loadText('mqtt:\n  # url: x\nsite: b\n', 'yaml').site).toBe('b');
  });

  it.each([
    ['does not exist', () => join(dir.path, 'nothing.json5'), /ENOENT/],
    ['is a directory', () => dir.path, /EISDIR/],
    ['is not JSON5', () => dir.writeFile('{a: '), /JSON5/],
    ['is not YAML', () => dir.writeFile('a: b: c', 'yaml'), /./],
    ['has a key twice', () => dir.writeFile('site: a\nsite: b\n', 'yaml'), /unique/i],
    [
      'is not UTF-8',
      () => {
        const path = dir.writeFile('');
        writeFileSync(path, Buffer.from([0x7b, 0xff, 0xfe]));
        return path;
      },
      /./,
    ],
    [
      'expands aliases without limit',
      () =>
        dir.writeFile(
          `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
            .split('')
            .map((name, index) => `${name}: &${name} [${`*${'abcdefghi'[index] ?? ''},`.repeat(9)}]`)
            .join('\n')}\n`,
          'yaml',
        ),
      /alias/i,
    ],
    ['is too large', () => dir.writeFile(`"${'x'.repeat(2_000_000)}"`), /bytes/],
  ])('report a file that %s', (_name, path, given) => {
    const [fault, ...more] = dir.getFaults({ file: path() });
    expect(more).toEqual([]);
    expect(fault?.key).toBe('(file)');
    expect(fault?.given).toMatch(given);
  });

  it.each(['[]', '5', '"site"'])('report a document %s', (text) => {
    expect(faultKeys(dir.getFaults({ file: dir.writeFile(text) }))).toEqual(['(all)']);
  });

  it('do not change a prototype', () => {
    const found = dir.getFaults({
      file: dir.writeFile('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}'),
    });
    expect(faultKeys(found)).toEqual(['__proto__', 'constructor']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('match the defaults in the shipped example', () => {
    const example = dir.load({ file: join(import.meta.dirname, '../../../config/example.json5') });
    expect(example).toEqual(dir.load({}));
  });

  it('are valid in the example of docs/configuration.md, except for its CA file', () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/configuration.md'), 'utf8');
    const [, text = ''] = /```json5\n([\s\S]*?)```/.exec(page) ?? [];
    mkdirSync(join(dir.path, 'credentials'));
    for (const name of ['north-camera', 'mqtt'])
      writeFileSync(join(dir.path, 'credentials', name), 'secret\n');
    const found = dir.getFaults({
      file: dir.writeFile(text),
      env: { CREDENTIALS_DIRECTORY: join(dir.path, 'credentials') },
    });
    expect(faultKeys(found)).toEqual(['mqtt.ca']);
  });
});

describe('environment variables', () => {
  it('set any key, converted to the type of the key', () => {
    const settings = dir.load({
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
    expect(dir.load({ env: { SWELLSIGHT_MQTT_URL: '["mqtt://a","mqtts://b:8883"]' } }).mqtt.url).toEqual([
      'mqtt://a',
      'mqtts://b:8883',
    ]);
  });

  it('count as not set when empty', () => {
    expect(dir.load({ env: { SWELLSIGHT_SITE: '' } }).site).toBe('local');
  });

  it('are reported with a suggestion when unknown', () => {
    const found = dir.getFaults({
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
    expect(faultKeys(dir.getFaults({ env: { [name]: value } }))).toEqual([key]);
  });
});

describe('secrets', () => {
  it('come from files; relative paths are first looked up in the credentials directory', () => {
    const credentials = mkdtempSync(join(dir.path, 'cred-'));
    writeFileSync(join(credentials, 'mqtt'), 'from systemd\n');
    writeFileSync(join(dir.path, 'mqtt'), 'from the directory');
    writeFileSync(join(dir.path, 'token'), 'tök en\r\n');
    const document =
      "{mqtt: {url: 'mqtt://h', username: 'u', password_file: 'mqtt'}, http: {token_file: 'token'}, cameras: [{id: 'a', kind: 'http', url: 'http://h/x', username: 'u', password_file: 'mqtt'}]}";
    const file = dir.writeFile(document);
    const settings = dir.load({ file, env: { CREDENTIALS_DIRECTORY: credentials } });
    expect([settings.mqtt.password, settings.http.token, settings.cameras[0]?.password]).toEqual([
      'from systemd',
      'tök en',
      'from systemd',
    ]);
    expect(dir.load({ file }).mqtt.password).toBe('from the directory');
    expect(dir.load({ env: { SWELLSIGHT_HTTP_TOKEN_FILE: join(dir.path, 'token') } }).http.token).toBe(
      'tök en',
    );
  });

  it('have a fault for a missing or empty file, a directory, or a file in addition to the secret', () => {
    writeFileSync(join(dir.path, 'empty'), '\n');
    expect(faultKeys(faultsOfFile({ http: { token_file: 'missing' } }))).toEqual(['http.token_file']);
    expect(faultKeys(faultsOfFile({ http: { token_file: 'empty' } }))).toEqual(['http.token_file']);
    expect(faultKeys(faultsOfFile({ http: { token_file: '.' } }))).toEqual(['http.token_file']);
    expect(faultKeys(faultsOfFile({ http: { token: 'x', token_file: 'token' } }))).toEqual([
      'http.token_file',
    ]);
  });

  it('never appear in a fault', () => {
    const camera = { id: 'a', kind: 'rtsp', url: 'http://user:hunter2@h/1', password: 'hunter2' };
    const found = faultsOfFile({
      mqtt: { url: 'mqt://user:hunter2@h', password: ['hunter2'] },
      http: { token: { a: 'hunter2' } },
      cameras: [camera, { ...camera, passwort: 'x', password: 5 }],
    });
    expect(found.length).toBeGreaterThan(5);
    expect(found.map(formatFault).join('\n')).not.toContain('hunter2');
  });
});
