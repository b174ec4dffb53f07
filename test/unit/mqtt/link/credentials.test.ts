import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CredentialWatch, LinkCredentials } from '../../../../src/mqtt/link/credentials.ts';
import { LinkFaults } from '../../../../src/mqtt/link/faults.ts';
import { NO_CREDENTIALS } from '../../../fixtures/link.ts';
import { ManualClock, tempDir } from '../../../fixtures/store.ts';

const DAY_MS = 86_400_000;

describe('LinkCredentials', () => {
  let dir: ReturnType<typeof tempDir>;
  let passwordFile: string;
  let clock: ManualClock;
  beforeEach(() => {
    dir = tempDir();
    passwordFile = join(dir.path, 'pw');
    clock = new ManualClock(Date.now());
  });
  afterEach(() => dir.remove());

  const writePassword = (text: string): void => writeFileSync(passwordFile, text);
  const make = (): LinkCredentials => new LinkCredentials({ ...NO_CREDENTIALS, passwordFile }, clock);

  it('uses a change after it has settled, and keeps the last complete set until then', () => {
    writePassword('one');
    const credentials = make();
    expect(credentials.next().password).toBe('one');
    writePassword('tw');
    expect(credentials.next().password).toBe('one');
    writePassword('two!');
    clock.advance(5000);
    expect(credentials.next().password).toBe('two!');
    writePassword('');
    clock.advance(5000);
    expect(credentials.next().password).toBe('two!');
    expect(credentials.fault).toMatchObject({ code: 'mqtt_refused' });
    rmSync(passwordFile);
    clock.advance(5000);
    expect(credentials.next().password).toBe('two!');
    writePassword('three');
    clock.advance(5000);
    expect(credentials.next().password).toBe('three');
    expect(credentials.fault).toBeNull();
  });

  it('throws before the first complete set, and uses the first one at once', () => {
    const credentials = make();
    expect(() => credentials.next()).toThrow(expect.objectContaining({ code: 'mqtt_refused' }));
    expect(credentials.fault).toMatchObject({ code: 'mqtt_refused' });
    writePassword('one');
    chmodSync(passwordFile, 0o600);
    expect(credentials.next().password).toBe('one');
    expect(credentials.fault).toBeNull();
  });

  it('uses the older set when the broker refuses the newest, and starts with the newest after both were refused', () => {
    writePassword('old');
    const credentials = make();
    const old = credentials.next();
    credentials.accepted(old);
    writePassword('new!');
    clock.advance(5000);
    const newer = credentials.next();
    expect(newer.password).toBe('new!');
    expect(credentials.refused(newer)).toBe(true);
    expect(credentials.next().password).toBe('old');
    expect(credentials.fault?.message).toBe('the broker refused the new credentials');
    // Connected with the old set: the newest is not tried at each connection.
    credentials.accepted(old);
    expect(credentials.next().password).toBe('old');
    // The old set is no longer valid. Both are refused: wait, and start with the newest.
    expect(credentials.refused(old)).toBe(false);
    expect(credentials.next().password).toBe('new!');
    expect(credentials.refused(newer)).toBe(true);
    expect(credentials.refused(old)).toBe(false);
    credentials.accepted(newer);
    expect(credentials.fault).toBeNull();
    expect(credentials.refused(newer)).toBe(false);
  });
});

describe('CredentialWatch', () => {
  it('waits for the whole delay, unless the clock is set', async () => {
    const clock = new ManualClock();
    const credentials = new LinkCredentials(NO_CREDENTIALS, clock);
    credentials.refresh();
    const faults = new LinkFaults('id', { clock, raise: () => undefined });
    const watch = new CredentialWatch(30_000, { clock, credentials, faults });
    const { signal } = new AbortController();
    const beganMs = clock.monoMs();
    await watch.waitForRetry(62_000, signal);
    expect(clock.monoMs() - beganMs).toBe(62_000);
    // The clock is set during the third check.
    const sleep = clock.sleep.bind(clock);
    let checks = 0;
    clock.sleep = (ms) => {
      checks += 1;
      if (checks === 3) clock.wallMs += 400 * DAY_MS;
      return sleep(ms);
    };
    await watch.waitForRetry(600_000, signal);
    expect(checks).toBe(3);
    await watch.waitForRetry(0, signal);
    expect(checks).toBe(3);
  });
});
