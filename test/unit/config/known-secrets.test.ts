import { expect, it } from 'vitest';
import { KnownSecrets } from '../../../src/config/known-secrets.ts';
import { loadSettings } from '../../../src/config/load.ts';
import type { Settings } from '../../../src/config/schema.ts';

const PASSWORD = 'swordfish';
const load = (ids: readonly string[]): Settings =>
  loadSettings({
    file: null,
    env: {},
    cwd: '/',
    overlay: {
      mqtt: { url: 'mqtt://a.example', password: PASSWORD },
      cameras: ids.map((id) => ({ id, kind: 'simulated' })),
    },
  });
const LOCAL = load(['north']);
const TEXT = `Camera ${PASSWORD} is up.`;

it('removes a secret of the settings', () => {
  expect(new KnownSecrets().redact(TEXT, [LOCAL])).toBe('Camera *** is up.');
});

it('keeps the id of a camera on trial, and of a former trial: nobody learns whether it is a secret', () => {
  const secrets = new KnownSecrets();
  expect(secrets.redact(TEXT, [LOCAL, load([PASSWORD])])).toBe(TEXT);
  expect(secrets.redact(TEXT, [LOCAL])).toBe(TEXT);
});

it('keeps names that are in no settings any more', () => {
  const secrets = new KnownSecrets();
  secrets.allow([`cameras.${PASSWORD}`]);
  expect(secrets.redact(TEXT, [LOCAL])).toBe(TEXT);
});

it('knows the secrets of the settings in force after any number of trials', () => {
  const secrets = new KnownSecrets();
  for (let count = 0; count < 10; count += 1) {
    const trial = loadSettings({ file: null, env: {}, cwd: '/', overlay: { logLevel: 'debug' } });
    expect(secrets.redact(TEXT, [LOCAL, trial])).toBe('Camera *** is up.');
  }
});
