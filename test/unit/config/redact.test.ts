import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { computeConfigDigest, redactSettings } from '../../../src/config/redact.ts';

const load = (overlay: unknown) => loadSettings({ file: null, env: {}, cwd: '/', overlay });
const SECRET = 'hunter2';
const secrets = (secret: string) => ({
  mqtt: { url: `mqtts://user:${secret}@h:8883`, username: 'u', password: secret },
  http: { token: secret },
  model: { repository: `https://u:${secret}@h/` },
  update: { repository: `https://u:${secret}@h/` },
  cameras: [
    { id: 'a', kind: 'rtsp', url: `rtsp://u:${secret}@h/1?token=${secret}` },
    { id: 'b', kind: 'http', url: 'http://h/', username: 'u', password: secret },
    { id: 'c', kind: 'command', command: ['curl', `http://u:${secret}@h/x`] },
  ],
});

describe('redactSettings', () => {
  it('masks every secret, and keeps null where there is none', () => {
    const redacted = redactSettings(load(secrets(SECRET)));
    expect(JSON.stringify(redacted)).not.toContain(SECRET);
    expect(redacted.mqtt.password).toBe('***');
    expect(redactSettings(load({})).mqtt.password).toBeNull();
  });
});

describe('computeConfigDigest', () => {
  it('changes with a setting, and does not depend on secrets', () => {
    const base = computeConfigDigest(load(secrets(SECRET)));
    expect(base).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(computeConfigDigest(load(secrets('other')))).toBe(base);
    expect(computeConfigDigest(load({ ...secrets(SECRET), site: 'x' }))).not.toBe(base);
  });

  it('does not depend on the order of keys or on the source of a value', () => {
    const a = load({ site: 'x', heartbeat: { intervalS: 5 } });
    const b = loadSettings({
      file: null,
      env: { SWELLSIGHT_HEARTBEAT_INTERVAL_S: '5' },
      cwd: '/',
      overlay: { site: 'x' },
    });
    expect(computeConfigDigest(a)).toBe(computeConfigDigest(b));
  });
});
