import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isExpiring, readCredentials } from '../../../../src/mqtt/link/credential-files.ts';
import { Authority, type CertificateFiles } from '../../../fixtures/certificates.ts';
import { NO_CREDENTIALS } from '../../../fixtures/link.ts';
import { tempDir } from '../../../fixtures/store.ts';

let authority: Authority;
let first: CertificateFiles;
let second: CertificateFiles;
beforeAll(() => {
  authority = new Authority();
  first = authority.issue({ name: 'first' });
  second = authority.issue({ name: 'second' });
});
afterAll(() => authority.remove());

let dir: ReturnType<typeof tempDir>;
beforeEach(() => {
  dir = tempDir();
});
afterEach(() => dir.remove());

const pathOf = (name: string): string => join(dir.path, name);
const write = (name: string, text: string | Buffer): string => {
  writeFileSync(pathOf(name), text);
  return pathOf(name);
};

describe('readCredentials', () => {
  it('reads a complete set, with the password from its file', () => {
    const read = readCredentials({
      ...NO_CREDENTIALS,
      username: 'u',
      password: 'old',
      passwordFile: write('pw', 'new\r\n'),
      ca: authority.ca,
      ...first,
    });
    expect(read).toMatchObject({ username: 'u', password: 'new' });
    expect(read.validity?.untilMs).toBeGreaterThan(Date.now());
    expect(readCredentials({ ...NO_CREDENTIALS }).validity).toBeNull();
  });

  it('refuses incomplete, empty, missing and unmatched files, and names only the file', () => {
    const pem = readFileSync(first.cert, 'utf8');
    const expectRefused = (sources: object, name: string): void => {
      expect(() => readCredentials({ ...NO_CREDENTIALS, ...sources })).toThrow(
        expect.objectContaining({
          code: 'mqtt_refused',
          context: expect.objectContaining({ file: pathOf(name) }),
        }),
      );
    };
    const incomplete = [pem.slice(0, -20), pem.slice(0, 60), '', 'no PEM', `${pem}${pem.slice(0, 100)}`];
    for (const text of incomplete) expectRefused({ ca: write('ca', text) }, 'ca');
    expectRefused({ cert: first.cert, key: write('key', readFileSync(second.key)) }, 'key');
    expectRefused({ cert: first.cert, key: write('key', readFileSync(first.key).subarray(0, 80)) }, 'key');
    for (const empty of ['', '\n']) expectRefused({ passwordFile: write('pw', empty) }, 'pw');
    expectRefused({ passwordFile: write('pw', 'x'.repeat(70_000)) }, 'pw');
    expectRefused({ passwordFile: pathOf('missing') }, 'missing');
    mkdirSync(pathOf('directory'));
    expectRefused({ ca: pathOf('directory') }, 'directory');
    try {
      readCredentials({ ...NO_CREDENTIALS, passwordFile: write('pw', 'x'.repeat(70_000)) });
    } catch (error) {
      expect(JSON.stringify(error)).not.toContain('xxxx');
    }
  });
});

describe('isExpiring', () => {
  const DAY_MS = 86_400_000;
  it.each([
    [365, 13, true],
    [365, 15, false],
    [90, 13, true],
    [90, 15, false],
    [1, 0.19, true],
    [1, 0.21, false],
    [365, -1, true],
  ])('for a certificate of %d days with %d days left: %s', (lifeDays, leftDays, expected) => {
    const untilMs = 1000 * DAY_MS;
    const validity = { fromMs: untilMs - lifeDays * DAY_MS, untilMs, fingerprint: '' };
    expect(isExpiring(validity, untilMs - leftDays * DAY_MS)).toBe(expected);
  });
});
