import { expect, it } from 'vitest';
import { createArchiveRedactor } from '../../../../src/cli/diagnostics/redactor.ts';
import { makeFileTree } from '../../../fixtures/file-tree.ts';

const SECRETS = [
  'camera pass"word#1',
  'broker-pass',
  'file-secret',
  'variable-token',
  'option-token',
  'sid=abcdefgh',
  '/key/7',
];

it('finds the secrets of a configuration that is invalid', () => {
  const { path, write } = makeFileTree();
  write('secret', 'file-secret\n');
  write(
    'agent.yaml',
    [
      'unknown: 1',
      'cameras: [',
      '  - password: camera pass"word#1',
      '    url: rtsp://cam.example/key/7',
      '    headers: { Cookie: sid=abcdefgh }',
      'mqtt: { url: mqtt://u:broker-pass@broker.example, password_file: secret, password: null }',
      'http: { token_file: /dev/zero }',
    ].join('\n'),
  );
  const redact = createArchiveRedactor({
    options: { config: 'agent.yaml', token: 'option-token' },
    settings: null,
    terminal: { cwd: path, env: { SWELLSIGHT_HTTP_TOKEN: 'variable-token' } },
  });
  for (const secret of SECRETS) {
    expect(redact(`before ${secret} after`)).toBe('before *** after');
    expect(redact(`at ${encodeURIComponent(secret)}.`)).toBe('at ***.');
    expect(redact(JSON.stringify({ secret }))).toBe('{"secret":"***"}');
  }
  expect(redact('null of mqtt://u:other@host:1883?key=abc')).toBe('null of mqtt://***@host:1883/***');
  expect(redact('Authorization: Basic abc=')).toBe('Authorization: ***');
});
