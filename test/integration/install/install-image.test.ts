import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hostArchitecture } from '../../../scripts/package/platform.ts';
import { smallPackage } from '../../fixtures/small-package.ts';

const INSTALLER = join(import.meta.dirname, '../../../scripts/install.sh');
const UNITS = 'etc/systemd/system';
const BEFORE_250 = `${UNITS}/swellsight.service.d/80-secrets.conf`;
const SINCE_254 = `${UNITS}/swellsight.service.d/80-restart-delay.conf`;

describe('Installer in the file system of an image', () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-image-'));
  const root = join(home, 'root');
  let archive = '';

  beforeAll(async () => {
    const systemd = join(import.meta.dirname, '../../../systemd');
    const dropIns = ['before-250', 'since-254', 'jetson'].flatMap((kind) =>
      readdirSync(join(systemd, kind), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.conf'))
        .map((name) => join(kind, name)),
    );
    const files = Object.fromEntries(
      dropIns.map((name) => [`systemd/${name}`, readFileSync(join(systemd, name), 'utf8')]),
    );
    archive = await smallPackage(home, { version: '1.0.0', files });
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));
  beforeEach(() => {
    rmSync(root, { recursive: true, force: true });
    write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n');
    write('etc/group', 'root:x:0:\nvideo:x:44:\n');
    write('etc/shadow', '');
    write('etc/gshadow', '');
    setSystemd('252.39-1');
  });

  function write(path: string, text: string): void {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  function setSystemd(version: string): void {
    const entry = (name: string, of: string): string =>
      `Package: ${name}\nStatus: install ok installed\nArchitecture: ${hostArchitecture()}\nVersion: ${of}\nDescription: -\n\n`;
    write(
      'var/lib/dpkg/status',
      entry('dpkg', '1.21') + entry('libc6', '2.36-9') + entry('systemd', version),
    );
  }
  const has = (path: string): boolean => existsSync(join(root, path));
  function install(...args: readonly string[]): { code: number | null; stdout: string; stderr: string } {
    const { status, stdout, stderr } = spawnSync('sh', [INSTALLER, '--root', root, ...args], {
      encoding: 'utf8',
    });
    return { code: status, stdout, stderr };
  }
  const passwd = (): string => readFileSync(join(root, 'etc/passwd'), 'utf8');

  it.each([
    ['249.11-0ubuntu3.12', true, false],
    ['252.39-1', false, false],
    ['257.9-1', false, true],
  ])('chooses the drop-ins for systemd %s', (version, copiesSecrets, growsDelay) => {
    setSystemd(version);
    expect(install(archive)).toMatchObject({ code: 0, stderr: '' });
    expect([has(BEFORE_250), has(SINCE_254)]).toEqual([copiesSecrets, growsDelay]);
  });

  it('replaces the drop-in after an upgrade of systemd', () => {
    setSystemd('249.11');
    install(archive);
    setSystemd('255.4');
    expect(install(archive)).toMatchObject({ code: 0, stderr: '' });
    expect([has(BEFORE_250), has(SINCE_254)]).toEqual([false, true]);
  });

  it.each([
    ['a person', '1001', '/var/lib/swellsight'],
    ['another service', '123', '/srv/swellsight'],
  ])('refuses the account of %s, and keeps it when it purges', (_, uid, directory) => {
    const account = `swellsight:x:${uid}:${uid}::${directory}:/bin/bash\n`;
    appendFileSync(join(root, 'etc/passwd'), account);
    expect(install(archive)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^install\.sh: there is another account swellsight; .*\n$/) as string,
    });
    expect(has('opt/swellsight')).toBe(false);
    const purged = install('--uninstall', '--purge');
    expect(purged).toMatchObject({ code: 0, stderr: '' });
    expect(purged.stdout).toContain('kept the account swellsight');
    expect(passwd()).toContain(account);
  });

  it('removes the state of the updater, and prints the drop-ins that it keeps', () => {
    install(archive);
    write('var/lib/swellsight-updater/trial.json', '{}');
    write('var/lib/swellsight/data', '');
    write(`${UNITS}/swellsight.service.d/override.conf`, '[Service]\n');
    const { code, stdout } = install('--uninstall');
    expect(code).toBe(0);
    expect(stdout).toContain('kept your drop-in');
    expect(stdout).toContain('swellsight.service.d/override.conf');
    expect([has('var/lib/swellsight-updater'), has('opt/swellsight')]).toEqual([false, false]);
    expect([has('var/lib/swellsight/data'), has('etc/swellsight/swellsight.yaml')]).toEqual([true, true]);
    expect(install(archive)).toMatchObject({ code: 0, stderr: '' });
  });

  it('installs in spite of a trial that a removed agent has left', () => {
    write('var/lib/swellsight-updater/trial.json', '{}');
    expect(install(archive)).toMatchObject({ code: 0, stderr: '' });
    expect(has('var/lib/swellsight-updater/trial.json')).toBe(false);
  });

  it('purges after a removal, and follows no link out of the image', () => {
    install(archive);
    install('--uninstall');
    const outside = join(home, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'file'), '');
    rmSync(join(root, 'var/lib/swellsight'), { recursive: true });
    symlinkSync(outside, join(root, 'var/lib/swellsight'));
    write('var/cache/swellsight/cuda/kernel', '');
    expect(install('--uninstall', '--purge')).toMatchObject({ code: 0, stderr: '' });
    expect(readdirSync(join(root, 'var/lib'))).toEqual(['dpkg']);
    expect([has('etc/swellsight'), has('var/cache/swellsight'), has('opt/swellsight')]).toEqual([
      false,
      false,
      false,
    ]);
    expect(passwd()).not.toContain('swellsight');
    expect(existsSync(join(outside, 'file'))).toBe(true);
  });
});
