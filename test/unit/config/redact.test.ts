import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { configDigest, redactedSettings } from '../../../src/config/redact.ts';

const load = (overlay: unknown) => loadSettings({ file: null, env: {}, cwd: '/', overlay });
const SECRET = 'hunter2';
const secrets = (secret: string) => ({
  mqtt: { url: `mqtts://user:${secret}@h:8883`, username: 'u', password: secret },
  http: { token: secret },
  model: { repository: `https://u:${secret}@h/` },
  cameras: [
    { id: 'a', kind: 'rtsp', url: `rtsp://u:${secret}@h/1?token=${secret}` },
    { id: 'b', kind: 'http', url: 'http://h/', username: 'u', password: secret },
    { id: 'c', kind: 'command', command: ['curl', `http://u:${secret}@h/x`] },
  ],
});

describe('redactedSettings', () => {
  it('holds no secret, and says where there is one', () => {
    const shown = redactedSettings(load(secrets(SECRET)));
    expect(JSON.stringify(shown)).not.toContain(SECRET);
    expect(shown.mqtt.password).toBe('***');
    expect(redactedSettings(load({})).mqtt.password).toBeNull();
  });
});

describe('configDigest', () => {
  it('changes with a setting, and does not give a secret away', () => {
    const base = configDigest(load(secrets(SECRET)));
    expect(base).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(configDigest(load(secrets('other')))).toBe(base);
    expect(configDigest(load({ ...secrets(SECRET), site: 'x' }))).not.toBe(base);
  });

  it('does not depend on the order of keys, or on where a value came from', () => {
    const a = load({ site: 'x', heartbeat: { intervalS: 5 } });
    const b = loadSettings({
      file: null,
      env: { SWELLSIGHT_HEARTBEAT_INTERVAL_S: '5' },
      cwd: '/',
      overlay: { site: 'x' },
    });
    expect(configDigest(a)).toBe(configDigest(b));
  });
});
