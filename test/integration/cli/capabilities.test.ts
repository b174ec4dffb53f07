import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NOBODY } from '../../fixtures/updater/limited.ts';

const CHECKOUT = join(import.meta.dirname, '../../..');

/** bin/swellsight.sh with an unprivileged user and other directories, in the place of the installed ones. */
describe.runIf(process.getuid?.() === 0)('the installed command line as root', () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-wrapper-'));
  const wrapper = join(home, 'swellsight.sh');
  const secrets = join(home, 'secrets');
  const status = join(home, 'state/status');

  beforeAll(() => {
    chmodSync(home, 0o755);
    for (const dir of ['current/node/bin', 'current/dist', 'state'])
      mkdirSync(join(home, dir), { recursive: true });
    chownSync(join(home, 'state'), NOBODY.uid, NOBODY.gid);
    symlinkSync(process.execPath, join(home, 'current/node/bin/node'));
    symlinkSync(join(CHECKOUT, 'src/main.ts'), join(home, 'current/dist/main.js'));
    mkdirSync(secrets, { mode: 0o700 });
    writeFileSync(join(secrets, 'broker'), 'a-password', { mode: 0o600 });
    const text = readFileSync(join(CHECKOUT, 'bin/swellsight.sh'), 'utf8')
      .replace('/opt/swellsight/current', join(home, 'current'))
      .replaceAll('=swellsight', '=nobody')
      .replace('--regid=nobody', `--regid=${NOBODY.gid}`)
      .replace('passwd swellsight', 'passwd nobody')
      .replace('/etc/swellsight/secrets', secrets)
      .replace('/var/lib/swellsight', join(home, 'state'));
    writeFileSync(wrapper, text);
    writeFileSync(join(home, 'camera'), `#!/bin/sh\ncat /proc/self/status >'${status}'\nexit 1\n`, {
      mode: 0o755,
    });
    writeFileSync(
      join(home, 'swellsight.yaml'),
      `site: test
device: box
stateDir: ${join(home, 'state')}
mqtt: { url: 'mqtt://127.0.0.1:1', username: box, password_file: broker }
cameras:
  - { id: program, kind: command, command: ['${join(home, 'camera')}'] }
`,
    );
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  const swellsight = (...args: readonly string[]): SpawnSyncReturns<string> =>
    spawnSync('sh', [wrapper, ...args], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], SWELLSIGHT_CONFIG: join(home, 'swellsight.yaml') },
    });

  it('reads a secret that only root can read', () => {
    const { status: code, stdout, stderr } = swellsight('check-config');
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stderr: '' });
  });

  it('starts camera programs without capabilities, as an unprivileged user', () => {
    const { stdout, stderr } = swellsight('doctor');
    expect(existsSync(status), stdout + stderr).toBe(true);
    const child = readFileSync(status, 'utf8');
    expect(child).toMatch(new RegExp(`^Uid:\\t${NOBODY.uid}\\t`, 'm'));
    for (const set of ['CapPrm', 'CapEff', 'CapAmb'])
      expect(child).toMatch(new RegExp(`^${set}:\\t0+$`, 'm'));
  });
});
