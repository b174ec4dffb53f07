import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LinkCredentials } from '../../../../src/mqtt/link/credentials.ts';
import { readCredentials } from '../../../../src/mqtt/link/files.ts';
import { isExpiring } from '../../../../src/mqtt/link/validity.ts';
import { Authority } from '../../../fixtures/certificates.ts';
import { ManualClock, tempDir } from '../../../fixtures/store.ts';

let authority: Authority;
let first: { cert: string; key: string };
let second: { cert: string; key: string };
beforeAll(() => {
  authority = new Authority();
  first = authority.issue({ name: 'first' });
  second = authority.issue({ name: 'second' });
});
afterAll(() => authority.remove());

let dir: ReturnType<typeof tempDir>;
let at: (name: string) => string;
beforeEach(() => {
  dir = tempDir();
  at = (name) => join(dir.path, name);
});
afterEach(() => dir.remove());

const NONE = { username: null, password: null, ca: null, cert: null, key: null };
const put = (name: string, text: string | Buffer): string => {
  writeFileSync(at(name), text);
  return at(name);
};

describe('readCredentials', () => {
  it('reads a whole set, with the password of its file', () => {
    const read = readCredentials({
      ...NONE,
      username: 'u',
      password: 'old',
      passwordFile: put('pw', 'new\r\n'),
      ca: authority.ca,
      ...first,
    });
    expect(read).toMatchObject({ username: 'u', password: 'new' });
    expect(read.validity?.untilMs).toBeGreaterThan(Date.now());
    expect(readCredentials({ ...NONE }).validity).toBeNull();
  });

  it('refuses what is half, empty, not there, or does not belong together, and names the file alone', () => {
    const pem = readFileSync(first.cert, 'utf8');
    const refused = (sources: object, name: string): void => {
      expect(() => readCredentials({ ...NONE, ...sources })).toThrow(
        expect.objectContaining({
          code: 'mqtt_refused',
          context: expect.objectContaining({ file: at(name) }),
        }),
      );
    };
    for (const half of [pem.slice(0, -20), pem.slice(0, 60), '', 'no PEM', `${pem}${pem.slice(0, 100)}`])
      refused({ ca: put('ca', half) }, 'ca');
    refused({ cert: first.cert, key: put('key', readFileSync(second.key)) }, 'key');
    refused({ cert: first.cert, key: put('key', readFileSync(first.key).subarray(0, 80)) }, 'key');
    for (const empty of ['', '\n']) refused({ passwordFile: put('pw', empty) }, 'pw');
    refused({ passwordFile: put('pw', 'x'.repeat(70_000)) }, 'pw');
    refused({ passwordFile: at('nowhere') }, 'nowhere');
    mkdirSync(at('folder'));
    refused({ ca: at('folder') }, 'folder');
    try {
      readCredentials({ ...NONE, passwordFile: put('pw', 'x'.repeat(70_000)) });
    } catch (error) {
      expect(JSON.stringify(error)).not.toContain('xxxx');
    }
  });
});

describe('LinkCredentials', () => {
  const clockAtFiles = (): ManualClock => new ManualClock(Date.now());

  it('takes a change when it has settled, and keeps the last whole set meanwhile', () => {
    const clock = clockAtFiles();
    const credentials = new LinkCredentials({ ...NONE, passwordFile: put('pw', 'one') }, clock);
    expect(credentials.next().password).toBe('one');
    put('pw', 'tw');
    expect(credentials.next().password).toBe('one');
    put('pw', 'two!');
    clock.advance(5000);
    expect(credentials.next().password).toBe('two!');
    put('pw', '');
    clock.advance(5000);
    expect(credentials.next().password).toBe('two!');
    expect(credentials.fault).toMatchObject({ code: 'mqtt_refused' });
    rmSync(at('pw'));
    clock.advance(5000);
    expect(credentials.next().password).toBe('two!');
    put('pw', 'three');
    clock.advance(5000);
    expect(credentials.next().password).toBe('three');
    expect(credentials.fault).toBeNull();
  });

  it('throws when there never was a whole set, and takes the first one at once', () => {
    const credentials = new LinkCredentials({ ...NONE, passwordFile: at('pw') }, clockAtFiles());
    expect(() => credentials.next()).toThrow(expect.objectContaining({ code: 'mqtt_refused' }));
    expect(credentials.fault).toBeNull();
    put('pw', 'one');
    chmodSync(at('pw'), 0o600);
    expect(credentials.next().password).toBe('one');
  });

  it('shows older ones when the newest are refused, each once before it waits, and the newest again behind', () => {
    const clock = clockAtFiles();
    const credentials = new LinkCredentials({ ...NONE, passwordFile: put('pw', 'old') }, clock);
    const old = credentials.next();
    credentials.proved(old);
    put('pw', 'new!');
    clock.advance(5000);
    const newer = credentials.next();
    expect(newer.password).toBe('new!');
    expect(credentials.refused(newer)).toBe(true);
    expect(credentials.next().password).toBe('old');
    expect(credentials.fault?.message).toBe('the broker refuses them');
    // Connected by the old ones: the newest are not tried at each connection.
    credentials.proved(old);
    expect(credentials.next().password).toBe('old');
    // The old ones are no longer good: all are refused, so wait, and begin with the newest.
    expect(credentials.refused(old)).toBe(false);
    expect(credentials.next().password).toBe('new!');
    expect(credentials.refused(newer)).toBe(true);
    expect(credentials.refused(old)).toBe(false);
    credentials.proved(newer);
    expect(credentials.fault).toBeNull();
    expect(credentials.refused(newer)).toBe(false);
  });
});

describe('isExpiring', () => {
  const DAY = 86_400_000;
  it.each([
    [365, 13, true],
    [365, 15, false],
    [90, 13, true],
    [90, 15, false],
    [1, 0.19, true],
    [1, 0.21, false],
    [365, -1, true],
  ])('of a certificate for %d days with %d left: %s', (life, left, expected) => {
    const untilMs = 1000 * DAY;
    const validity = { fromMs: untilMs - life * DAY, untilMs, fingerprint: '' };
    expect(isExpiring(validity, untilMs - left * DAY)).toBe(expected);
  });
});
