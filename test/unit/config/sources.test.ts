import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readCredentials } from '../../../src/mqtt/link/credential-files.ts';
import { listForeignVariables } from '../../../src/config/sources.ts';
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

describe('variables of container platforms', () => {
  it.each([
    ['SWELLSIGHT_SERVICE_HOST', '10.96.0.12'],
    ['SWELLSIGHT_SERVICE_PORT', '8080'],
    ['SWELLSIGHT_SERVICE_PORT_HTTP', '8080'],
    ['SWELLSIGHT_PORT', 'tcp://10.96.0.12:8080'],
    ['SWELLSIGHT_PORT', 'tcp://[fd00::1]:8080'],
    ['SWELLSIGHT_PORT_8080_TCP', 'tcp://10.96.0.12:8080'],
    ['SWELLSIGHT_PORT_8080_TCP_ADDR', '10.96.0.12'],
    ['SWELLSIGHT_PORT_53_UDP_PROTO', 'udp'],
    ['SWELLSIGHT_EDGE_SERVICE_HOST', '10.96.0.12'],
    ['SWELLSIGHT_EDGE_PORT', 'tcp://10.96.0.12:1883'],
    ['SWELLSIGHT_HTTP_PORT', 'tcp://10.96.0.12:8080'],
    ['SWELLSIGHT_MQTT_PORT_1883_TCP_PORT', '1883'],
    ['SWELLSIGHT_ENV_PATH', '/usr/bin'],
  ])('are ignored: %s=%s', (name, value) => {
    expect(dir.getFaults({ env: { [name]: value } })).toEqual([]);
    expect(listForeignVariables({ [name]: value })).toEqual([name]);
    expect(dir.load({ env: { [name]: value } }).http.port).toBe(8080);
  });

  it.each([
    ['SWELLSIGHT_PORT', '8080'],
    ['SWELLSIGHT_HTP_PORT', '8080'],
    ['SWELLSIGHT_SERVICES_HOST', '10.96.0.12'],
    ['SWELLSIGHT_PORT_8080', '1'],
    ['SWELLSIGHT_MQTT_HOST', 'broker'],
  ])('are not confused with misspelt settings: %s=%s', (name, value) => {
    expect(faultKeys(dir.getFaults({ env: { [name]: value } }))).toEqual([name]);
  });
});

describe('YAML', () => {
  it.each([
    [
      'cameras:\n  - id: a\n    kind: rtsp\n    url: rtsp://h/1\n    username: u\n    password: !secret cam\n',
      /!secret at line 6/,
    ],
    ['site: !include site.yaml\n', /!include at line 1/],
    ['site: x\nhttp:\n  token: !env_var TOKEN\n', /!env_var at line 3/],
    ['site: !Ref Site\n', /!Ref at line 1/],
    ['%YAML 3.0\n---\nsite: a\n', /YAML version 3.0/],
    ['site: a\n---\nsite: b\n', /multiple documents/],
  ])('refuses what it cannot mean: %j', (text, given) => {
    const [fault, ...more] = dir.getFaults({ file: dir.writeFile(text, 'yaml') });
    expect(more).toEqual([]);
    expect(fault).toMatchObject({ key: '(file)', given: expect.stringMatching(given) as unknown });
  });

  it('reports each unknown tag', () => {
    const file = dir.writeFile('site: !a x\ndevice: !b y\n', 'yaml');
    expect(dir.getFaults({ file }).map(({ given }) => given)).toEqual([
      expect.stringContaining('line 1'),
      expect.stringContaining('line 2'),
    ]);
  });

  it('reads merge keys, in lists of cameras too', () => {
    const { cameras } = dir.loadText(
      'cameras:\n  - &base {id: a, kind: http, url: "http://h/1", timeoutS: 7}\n  - {<<: *base, id: b}\n  - <<: [*base, {id: x}]\n    id: c\n',
      'yaml',
    );
    expect(cameras.map(({ id, timeoutS }) => [id, timeoutS])).toEqual([
      ['a', 7],
      ['b', 7],
      ['c', 7],
    ]);
  });
});

describe('placeholders', () => {
  it.each([
    '${MQTT_PASSWORD}',
    'pre${X:-y}',
    '$MQTT_PASSWORD',
    '$(MQTT_PASSWORD)',
    '{{ mqtt_password }}',
    '%SECRET%',
  ])('are faults, never literal values: %s', (text) => {
    const document = { mqtt: { url: 'mqtt://h', username: 'u', password: text } };
    expect(faultKeys(faultsOfFile(document))).toEqual(['mqtt.password']);
    const yaml = dir.writeFile(JSON.stringify(document), 'yaml');
    expect(faultKeys(dir.getFaults({ file: yaml }))).toEqual(['mqtt.password']);
    expect(faultKeys(dir.getFaults({ env: { SWELLSIGHT_STATE_DIR: text } }))).toEqual(['stateDir']);
    const camera = { id: 'a', kind: 'rtsp', url: 'rtsp://h/1', username: 'u', password: text };
    expect(faultKeys(faultsOfFile({ cameras: [camera] }))).toEqual(['cameras[0].password']);
  });

  it('are allowed in the command of a shell, and dollars elsewhere', () => {
    const command = (...words: string[]) => [{ id: 'a', kind: 'command', command: words }];
    expect(faultsOfFile({ cameras: command('/bin/sh', '-c', 'echo ${HOME}') })).toEqual([]);
    expect(faultKeys(faultsOfFile({ cameras: command('curl', 'http://h/${CAM}') }))).toEqual([
      'cameras[0].command[1]',
    ]);
    expect(dir.loadText("{mqtt: {url: 'mqtt://h', username: 'u', password: 'a$b$'}}").mqtt.password).toBe(
      'a$b$',
    );
  });
});

describe('the time zone of the system', () => {
  it.each(['Foo/Bar', 'CET-1CEST', 'GMT+3', '+01:00', ':Nowhere', '/usr/share/zoneinfo/Nowhere'])(
    'is a fault when TZ is %s',
    (TZ) => {
      expect(faultKeys(dir.getFaults({ env: { TZ } }))).toEqual(['TZ']);
    },
  );

  it.each(['', 'UTC', 'Europe/Lisbon', ':Europe/Lisbon', 'EST5EDT', '/usr/share/zoneinfo/Europe/Lisbon'])(
    'may be %j',
    (TZ) => {
      expect(dir.getFaults({ env: { TZ } })).toEqual([]);
    },
  );
});

describe('secrets', () => {
  const utf16 = (text: string, isBigEndian = false): Buffer => {
    const bytes = Buffer.from(text, 'utf16le');
    return isBigEndian ? bytes.swap16() : bytes;
  };
  it.each([
    ['a byte order mark', Buffer.from('\ufeffpässword')],
    ['Windows line ends', Buffer.from('pässword\r\n')],
    ['several line breaks', Buffer.from('pässword\n\n')],
    ['UTF-16 of Windows', utf16('\ufeffpässword\r\n')],
    ['UTF-16, big-endian', utf16('\ufeffpässword', true)],
    ['UTF-16 without a mark', utf16('pässword\n')],
  ])('are read from files with %s', (_name, bytes) => {
    writeFileSync(join(dir.path, 'encoded'), bytes);
    const file = dir.writeFile("{mqtt: {url: 'mqtt://h', username: 'u', password_file: 'encoded'}}");
    expect(dir.load({ file }).mqtt.password).toBe('pässword');
    const credentials = { username: 'u', password: null, ca: null, cert: null, key: null };
    expect(readCredentials({ ...credentials, passwordFile: join(dir.path, 'encoded') }).password).toBe(
      'pässword',
    );
  });

  it.each([
    ['two lines', Buffer.from('one\ntwo\n')],
    ['binary data', Buffer.from([1, 0, 2, 3])],
    ['a broken encoding', Buffer.from([0x70, 0xe4, 0x73])],
    ['nothing', Buffer.alloc(0)],
    ['a byte order mark alone', Buffer.from('\ufeff')],
    ['a line break alone', Buffer.from('\r\n')],
  ])('are a fault when the file of the broker password has %s', (_name, bytes) => {
    const path = join(dir.path, 'broken');
    writeFileSync(path, bytes);
    const file = dir.writeFile("{mqtt: {url: 'mqtt://h', username: 'u', password_file: 'broken'}}");
    expect(dir.getFaults({ file })).toMatchObject([
      { key: 'mqtt.password_file', given: expect.stringContaining(path) as unknown },
    ]);
  });

  it('and certificates are a fault when their file is a pipe or a device, which would block, but not a link', () => {
    const pipe = join(dir.path, 'pipe');
    execFileSync('mkfifo', [pipe]);
    symlinkSync(pipe, join(dir.path, 'link-to-pipe'));
    const camera = { id: 'a', kind: 'http', url: 'https://h/x', username: 'u' };
    const files = {
      mqtt: {
        url: 'mqtts://h',
        username: 'u',
        password_file: 'pipe',
        ca: 'link-to-pipe',
        cert: 'pipe',
        key: 'pipe',
      },
      http: { token_file: '/dev/zero' },
      cameras: [{ ...camera, password_file: 'pipe', headers_file: '/dev/tty', tls: { ca: 'pipe' } }],
    };
    const wanted = 'a regular file, not a pipe, a device or a directory';
    const faults = dir.getFaults({ file: dir.writeFile(JSON.stringify(files)) });
    expect(faults.map(({ key }) => key).sort()).toEqual([
      'cameras[0].headers_file',
      'cameras[0].password_file',
      'cameras[0].tls.ca',
      'http.token_file',
      'mqtt.ca',
      'mqtt.cert',
      'mqtt.key',
      'mqtt.password_file',
    ]);
    expect(new Set(faults.map((fault) => fault.wanted))).toEqual(new Set([wanted]));
    const credentials = { username: 'u', password: null, ca: null, cert: null, key: null };
    expect(() => readCredentials({ ...credentials, passwordFile: pipe })).toThrow(
      expect.objectContaining({
        context: expect.objectContaining({ reason: `it is not ${wanted}` }) as unknown,
      }),
    );
    writeFileSync(join(dir.path, 'target'), 'secret');
    symlinkSync('target', join(dir.path, 'link'));
    const file = dir.writeFile("{mqtt: {url: 'mqtt://h', username: 'u', password_file: 'link'}}");
    expect(dir.load({ file }).mqtt.password).toBe('secret');
  });

  it('of cameras may be empty', () => {
    writeFileSync(join(dir.path, 'none'), '');
    const camera = { id: 'a', kind: 'rtsp', url: 'rtsp://h/1', username: 'u' };
    const load = (more: object) =>
      dir.loadText(JSON.stringify({ cameras: [{ ...camera, ...more }] })).cameras[0];
    expect(load({ password: '' })?.password).toBe('');
    expect(load({ password_file: 'none' })?.password).toBe('');
    expect(load({})?.password).toBeNull();
  });

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
