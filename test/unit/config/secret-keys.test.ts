import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { createRedact, secretKindOf } from '../../../src/config/secret-keys.ts';

const load = (overlay: unknown) => loadSettings({ file: null, env: {}, cwd: '/', overlay });

describe('secretKindOf', () => {
  it.each([
    ['mqtt.url', 'address'],
    ['mqtt.url[1]', 'address'],
    ['mqtt.username', 'name'],
    ['model.repository', 'address'],
    ['update.repository', 'address'],
    ['http.token', 'text'],
    ['cameras[0].url', 'address'],
    ['cameras[12].password', 'text'],
    ['cameras[0].command[3]', 'command'],
    ['cameras[0]', null],
    ['cameras[0].id', null],
    ['mqtt.base', null],
    ['http.cors', null],
  ])('%s', (key, kind) => {
    expect(secretKindOf(key)).toBe(kind);
  });
});

describe('createRedact', () => {
  const redact = createRedact(
    load({
      mqtt: { url: ['mqtt://a/path-secret', 'mqtt://u:broker-pw@b'], password: 'mqtt' },
      http: { token: 'abcd-token' },
      model: { repository: 'https://u:model-secret@models.example/' },
      update: { repository: 'https://agents.example/list?sig=update-secret' },
      cameras: [
        {
          id: 'north',
          kind: 'rtsp',
          url: 'rtsp://h/user=a_password=pw7',
          username: 'viewer',
          password: 'north',
        },
        { id: 'shell', kind: 'command', command: ['grab', '--key', 'argument-secret', '/etc/grab.conf'] },
      ],
    }),
  );

  it.each([
    ['GET /path-secret 404', 'GET *** 404'],
    ['broker-pw model-secret update-secret', '*** *** ***'],
    ['Bearer abcd-token', 'Bearer ***'],
    ['no stream at /user=a_password=pw7', 'no stream at ***'],
    ['grab --key argument-secret /etc/grab.conf', 'grab --key *** /etc/grab.conf'],
  ])('%s', (text, wanted) => {
    expect(redact(text)).toBe(wanted);
  });

  it('keeps words that topics and camera ids show to everybody', () => {
    expect(redact('camera north: viewer, mqtt_refused')).toBe('camera north: viewer, mqtt_refused');
  });
});

it('an address of the settings keeps scheme, host and port, also with a quote in it', () => {
  const url = 'http://u:pass-word@cam:81/a"quoted-key"b';
  const redact = createRedact(load({ cameras: [{ id: 'a', kind: 'http', url }] }));
  expect(redact(`GET ${url} failed`)).toBe('GET http://***@cam:81/*** failed');
});
