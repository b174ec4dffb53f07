import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BootedSystem } from '../fixtures/booted-system.ts';
import { commandsBelow } from '../fixtures/documents.ts';
import { copyRoot, debianRoot, REMOVE_ADDITIONS } from '../fixtures/debian-root.ts';
import { FIRST_BOOT_TIMEOUT_MS } from '../fixtures/installed-system.ts';
import { packagedArchive } from '../fixtures/package.ts';

const GUIDE = 'docs/install.md';

describe('Installation guide on an empty Debian 12 without a network', () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-install-guide-'));
  const root = join(home, 'root');
  let system: BootedSystem;

  /** Runs the commands of a section in a directory that contains only the archive. */
  const follow = (heading: string): string =>
    system.must(commandsBelow(GUIDE, heading), { cwd: '/root/download', timeoutMs: 180_000 });

  beforeAll(async () => {
    copyRoot(debianRoot(), root);
    const archive = packagedArchive();
    const download = join(root, 'root/download');
    mkdirSync(download);
    for (const file of [archive, `${archive}.sha256`]) copyFileSync(file, join(download, basename(file)));
    system = await BootedSystem.boot(root);
    system.must(REMOVE_ADDITIONS);
  }, FIRST_BOOT_TIMEOUT_MS);

  afterAll(async () => {
    await system.stop();
    rmSync(home, { recursive: true, force: true });
  });

  it('has no network', () => {
    expect(system.must('ls /sys/class/net').trim()).toBe('lo');
  });

  it('leads to stored observations', () => {
    const output = follow('Install');
    expect(output).toMatch(/^active$/m);
    expect(output).toMatch(/\bsim\b/);
  });

  it('sets a secret, checks the configuration and restarts the service', () => {
    follow('Set your camera');
    expect(system.must('systemctl is-active swellsight').trim()).toBe('active');
    expect(system.must('stat -c "%U %a" /etc/swellsight/secrets')).toBe('root 700\n');
  });

  it('starts the agent again after a restart of the machine', async () => {
    await system.stop();
    system = await BootedSystem.boot(root);
    expect(system.must('systemctl is-active swellsight').trim()).toBe('active');
    expect(system.must('sudo swellsight observations --json --limit 1')).toContain('"sim"');
  });

  it('updates by hand, and keeps the state', () => {
    const before = system.must('stat -c %i /var/lib/swellsight/*.db');
    expect(follow('Update by hand')).toContain('runs');
    expect(system.must('stat -c %i /var/lib/swellsight/*.db')).toBe(before);
  });

  it('makes a backup, and restores it in place of another state', () => {
    const newest = (): string =>
      (JSON.parse(system.must('sudo swellsight observations --json --limit 1')) as { id: string }[])[0]?.id ??
      '';
    const before = newest();
    follow('Make a backup');
    expect(system.must('stat -c %a /root/download/swellsight-backup.tar.gz')).toBe('600\n');
    system.must('systemctl stop swellsight && rm -rf /var/lib/swellsight/* /etc/swellsight/swellsight.yaml');
    follow('Restore a backup');
    expect(system.must('systemctl is-active swellsight').trim()).toBe('active');
    expect(system.must('stat -c %U /var/lib/swellsight/swellsight.db')).toBe('swellsight\n');
    expect(system.must('sudo swellsight observations --json --limit 1000')).toContain(before);
  });

  it('removes the agent, and keeps the configuration and the state', () => {
    follow('Remove');
    expect(system.run('systemctl status swellsight').code).toBe(4);
    expect(system.must('ls /etc/swellsight')).toContain('swellsight.yaml');
    expect(system.run('ls /opt/swellsight /usr/local/bin/swellsight').stdout).toBe('');
    expect(system.must('ls /var/lib/swellsight')).not.toBe('');
  });
});
