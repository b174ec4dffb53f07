// Longer than 300 lines because one boot of the system serves all these tests.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BootedSystem, type CommandResult } from '../../fixtures/booted-system.ts';
import { copyRoot, debianRoot, dirWithRoom } from '../../fixtures/debian-root.ts';
import { FIRST_BOOT_TIMEOUT_MS } from '../../fixtures/installed-system.ts';
import { smallPackage, type SmallPackageOptions } from '../../fixtures/small-package.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..', '..');
const INTERRUPTIONS = 15;

describe('Installer in a booted Debian 12', () => {
  const home = mkdtempSync(join(dirWithRoom(1e9), 'swellsight-installer-'));
  const root = join(home, 'root');
  let system: BootedSystem;

  beforeAll(async () => {
    copyRoot(debianRoot(), root);
    mkdirSync(join(root, 'root/files'));
    copyFileSync(join(CHECKOUT, 'scripts/install.sh'), join(root, 'root/files/install.sh'));
    system = await BootedSystem.boot(root);
  }, FIRST_BOOT_TIMEOUT_MS);
  afterAll(async () => {
    await system.kill();
    rmSync(home, { recursive: true, force: true });
  });
  beforeEach(() => {
    install('--uninstall --purge');
    system.must('rm -f /usr/local/sbin/* /root/files/*.tar.gz*');
  });

  function install(args: string): CommandResult {
    return system.run(`sh install.sh ${args}`, { cwd: '/root/files' });
  }
  /** Puts an archive into the system. Returns its name. */
  async function put(options: SmallPackageOptions): Promise<string> {
    return basename(await smallPackage(join(root, 'root/files'), options));
  }
  const current = (): string => system.run('readlink /opt/swellsight/current').stdout.trim();
  const mainPid = (): string => system.must('systemctl show --value --property MainPID swellsight').trim();

  it('installs, and changes nothing when it is run again', async () => {
    const archive = await put({ version: '1.0.0' });
    const first = install(archive);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(current()).toMatch(/^versions\/1\.0\.0-[0-9a-f]{12}$/);
    expect(system.must('systemctl is-active swellsight; systemctl is-enabled swellsight')).toBe(
      'active\nenabled\n',
    );
    expect(
      system.must('stat -c "%U:%G %a %n" /etc/swellsight/* /var/lib/swellsight /opt/swellsight/versions/*'),
    ).toBe(
      [
        'root:root 700 /etc/swellsight/secrets',
        'root:swellsight 640 /etc/swellsight/swellsight.yaml',
        'swellsight:swellsight 750 /var/lib/swellsight',
        `root:root 755 /opt/swellsight/${current()}`,
        '',
      ].join('\n'),
    );
    expect(system.must('id -Gn swellsight').trim().split(' ')).toContain('video');
    const pid = mainPid();
    system.must('echo "# mine" >> /etc/swellsight/swellsight.yaml');
    expect(install(archive)).toMatchObject({ code: 0, stderr: '' });
    expect(mainPid()).toBe(pid);
    expect(system.must('tail -n 1 /etc/swellsight/swellsight.yaml')).toBe('# mine\n');
  });

  it('runs the command line as the user of the service', async () => {
    install(await put({ version: '1.0.0' }));
    expect(system.must('swellsight whoami').trim()).toBe('swellsight');
  });

  it('copies the secrets for the service, as on systemd before 250', async () => {
    const dropIn = 'swellsight.service.d/80-secrets.conf';
    const text = readFileSync(join(CHECKOUT, 'systemd/before-250', dropIn), 'utf8');
    const archive = await put({ version: '1.0.0', files: { [`systemd/${dropIn}`]: text } });
    install(`--no-start ${archive}`);
    system.must('umask 077; cd /etc/swellsight/secrets; echo secret > camera; touch .hidden');
    expect(install(archive)).toMatchObject({ code: 0, stderr: '' });
    const copy = '/run/swellsight-secrets';
    expect(system.must(`stat -c "%U:%G %a" ${copy} ${copy}/camera; ls -A ${copy}`)).toBe(
      'swellsight:swellsight 700\nswellsight:swellsight 400\ncamera\n',
    );
    expect(system.must(`tr '\\0' '\\n' </proc/${mainPid()}/environ | grep CREDENTIALS`)).toBe(
      `CREDENTIALS_DIRECTORY=${copy}\n`,
    );
    system.must('echo changed > /etc/swellsight/secrets/camera; systemctl restart swellsight');
    expect(system.must(`cat ${copy}/camera`)).toBe('changed\n');
  });

  it('repairs a damaged version', async () => {
    const archive = await put({ version: '1.0.0' });
    install(archive);
    system.must(
      'cd /opt/swellsight/current; echo x > dist/main.js; rm node_modules/p7/index.js; chmod 600 package.json',
    );
    expect(install(archive).stdout).toContain('repairing');
    expect(
      system.run(`tar --compare -zf ${archive} -C /opt/swellsight/current`, { cwd: '/root/files' }).code,
    ).toBe(0);
  });

  it('upgrades beside the former version, keeps two, and removes files that the new version does not have', async () => {
    const unit = '[Service]\nExecStart=/bin/true\n';
    install(await put({ version: '1.0.0', files: { 'systemd/swellsight-old.service': unit } }));
    expect(existsSync(join(root, 'etc/systemd/system/swellsight-old.service'))).toBe(true);
    install(await put({ version: '1.1.0' }));
    expect(install(await put({ version: '1.2.0' }))).toMatchObject({ code: 0 });
    expect(current()).toContain('/1.2.0-');
    expect(system.must('ls /opt/swellsight/versions')).toMatch(/^1\.1\.0-\w+\n1\.2\.0-\w+\n$/);
    expect(existsSync(join(root, 'etc/systemd/system/swellsight-old.service'))).toBe(false);
  });

  it('returns to the former version when the service of the new one does not start', async () => {
    install(await put({ version: '1.0.0' }));
    const result = install(await put({ version: '1.1.0', isBroken: true }));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(
      /install\.sh: version 1\.1\.0 does not start, so 1\.0\.0-\w+ runs again; see journalctl/,
    );
    expect(current()).toContain('/1.0.0-');
    expect(system.must('systemctl is-active swellsight')).toBe('active\n');
  });

  it('returns the units of the former version too', async () => {
    const unit = (text: string): Record<string, string> => ({
      'systemd/swellsight-extra.service': `[Service]\nExecStart=/bin/echo ${text}\n`,
    });
    install(await put({ version: '1.0.0', files: unit('former') }));
    expect(install(await put({ version: '1.1.0', isBroken: true, files: unit('new') })).code).toBe(1);
    expect(system.must('cat /etc/systemd/system/swellsight-extra.service')).toContain('/bin/echo former');
  });

  it('returns to the version that ran last, also when the power failed between the switch and the start', async () => {
    install(await put({ version: '1.0.0' }));
    const former = current();
    const broken = await put({ version: '1.1.0', isBroken: true });
    // The installer ends right after the switch.
    system.must(`sed 's/^  install_updater$/  exit 9/' install.sh > cut.sh`, { cwd: '/root/files' });
    expect(system.run(`sh cut.sh ${broken}`, { cwd: '/root/files' }).code).toBe(9);
    expect(current()).toContain('/1.1.0-');
    expect(install(broken).stderr).toMatch(/version 1\.1\.0 does not start, so 1\.0\.0-\w+ runs again/);
    expect(current()).toBe(former);
    expect(system.must('systemctl is-active swellsight')).toBe('active\n');
  });

  it('does not switch to a version that refuses the configuration', async () => {
    install(await put({ version: '1.0.0' }));
    const pid = mainPid();
    const { code, stderr } = install(await put({ version: '1.1.0', refusesConfiguration: true }));
    expect(code).toBe(1);
    expect(stderr).toContain('site: wrong');
    expect(stderr).toContain('does not accept /etc/swellsight/swellsight.yaml; correct the keys above');
    expect(current()).toContain('/1.0.0-');
    expect(mainPid()).toBe(pid);
  });

  it(`can be killed at ${INTERRUPTIONS} random moments: what runs is complete, and the next run continues`, async () => {
    const archives = [
      await put({ version: '1.0.0', fillers: 400 }),
      await put({ version: '1.1.0', fillers: 400 }),
    ];
    const startedMs = performance.now();
    install(archives[0]!);
    const wholeMs = performance.now() - startedMs;
    for (let n = 0; n < INTERRUPTIONS; n += 1) {
      const archive = archives[(n + 1) % 2]!;
      const seconds = ((Math.random() * wholeMs * 1.1) / 1000).toFixed(3);
      system.run(`timeout --signal=KILL ${seconds} sh install.sh ${archive}`, { cwd: '/root/files' });
      const version = /\/(1\.[01]\.0)-/.exec(current())?.[1] ?? '';
      const compare = `tar --compare -zf swellsight-${version}.tar.gz -C /opt/swellsight/current`;
      expect(system.run(compare, { cwd: '/root/files' }), `after ${seconds} s`).toMatchObject({ code: 0 });
      expect(system.must('swellsight whoami')).toBe('swellsight\n');
      if (n % 5 === 4) {
        expect(install(archive), `after ${seconds} s`).toMatchObject({ code: 0, stderr: '' });
        expect(system.must('systemctl is-active swellsight')).toBe('active\n');
        // The running process is that of the current version, also if the interruption came before the restart.
        expect(current()).toContain(archive.replace(/^swellsight-(.*)\.tar\.gz$/, '/$1-'));
      }
    }
    expect(system.must('ls -A /opt/swellsight/versions').trim().split('\n')).toHaveLength(2);
  });

  it('installs the updater beside the versions, and keeps its root of trust at an upgrade', async () => {
    const files = { 'dist/updater/main.js': 'first', 'systemd/count-start': '#!/bin/sh\n' };
    writeFileSync(join(root, 'root/files/1.root.json'), '{"signed":{}}');
    const first = await put({ version: '1.0.0', files });
    expect(install(`--trust-root 1.root.json ${first}`)).toMatchObject({ code: 0, stderr: '' });
    const second = await put({ version: '1.1.0', files: { ...files, 'dist/updater/main.js': 'second' } });
    expect(install(second)).toMatchObject({ code: 0, stderr: '' });
    const updater = '/opt/swellsight/updater';
    expect(system.must(`cat ${updater}/agent-root.json ${updater}/dist/updater/main.js`)).toBe(
      '{"signed":{}}second',
    );
    expect(system.must(`stat -c '%U %a' ${updater}/run ${updater}/count-start`)).toBe('root 755\nroot 755\n');
  });

  it('refuses while an update is on trial', async () => {
    const archive = await put({ version: '1.0.0' });
    install(archive);
    system.must('echo {} > /var/lib/swellsight-updater/trial.json');
    expect(install(await put({ version: '1.1.0' })).stderr).toMatch(
      /^install\.sh: an update is on trial; .*\n$/,
    );
    expect(current()).toContain('/1.0.0-');
  });

  it('refuses a damaged archive, and one for another system', async () => {
    const archive = await put({ version: '1.0.0' });
    const wrong = `${'0'.repeat(64)}  ${archive}\n`;
    writeFileSync(join(root, 'root/files', `${archive}.sha256`), wrong);
    expect(install(archive).stderr).toMatch(
      /^install\.sh: .* is damaged: its SHA-256 is not that of .*; copy both files again\n$/,
    );
    rmSync(join(root, 'root/files', `${archive}.sha256`));
    system.must(`head -c 300 ${archive} > short.tar.gz`, { cwd: '/root/files' });
    expect(install('short.tar.gz').stderr).toMatch(/^install\.sh: .*\n$/);
    expect(install('missing.tar.gz').stderr).toMatch(/^install\.sh: missing\.tar\.gz does not exist; .*\n$/);
    const foreign = await put({ version: '2.0.0', release: { arch: 'riscv64' } });
    expect(install(foreign).stderr).toMatch(
      /^install\.sh: this archive is for riscv64, and this system is \w+; .*\n$/,
    );
    const newer = await put({ version: '3.0.0', release: { glibc: '9.1' } });
    expect(install(newer).stderr).toMatch(
      /^install\.sh: the C library is 2\.36, and the agent needs glibc 9\.1; .*\n$/,
    );
    expect(system.run('ls /opt/swellsight/versions').stdout).toBe('');
    expect(system.run('id swellsight').code).toBe(1);
  });

  it('refuses a system with 32-bit programs, whatever the kernel has', async () => {
    system.must('printf "#!/bin/sh\\necho armhf\\n" > /usr/local/sbin/dpkg; chmod +x /usr/local/sbin/dpkg');
    expect(install(await put({ version: '1.0.0' })).stderr).toMatch(
      /^install\.sh: the programs of this system have 32 bits \(armhf\), whatever its kernel has; install the 64-bit edition of the system\n$/,
    );
  });

  it('refuses a disk without space before it changes anything', async () => {
    const archive = await put({ version: '1.0.0' });
    system.must('mkdir -p /opt/swellsight; mount -t tmpfs -o size=20m tmpfs /opt/swellsight');
    const { stderr } = install(archive);
    system.must('umount /opt/swellsight');
    expect(stderr).toMatch(/^install\.sh: \/opt\/swellsight has \d+ MB free, and this needs \d+ MB; .*\n$/);
    expect(system.run('id swellsight').code).toBe(1);
  });

  it('refuses a second installation at the same time', async () => {
    const archive = await put({ version: '1.0.0' });
    install(archive);
    const { stderr } = system.run(`flock /opt/swellsight/.lock sh install.sh ${archive}`, {
      cwd: '/root/files',
    });
    expect(stderr).toMatch(/^install\.sh: another installation runs; .*\n$/);
  });

  it('installs without starting, and into the file system of an image', async () => {
    const archive = await put({ version: '1.0.0' });
    expect(install(`--no-start ${archive}`)).toMatchObject({ code: 0, stderr: '' });
    expect(system.run('systemctl is-active swellsight').stdout).toBe('inactive\n');
    copyRoot(debianRoot(), join(root, 'root/image'));
    expect(install(`--root /root/image ${archive}`)).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(join(root, 'root/image/etc/passwd'), 'utf8')).toContain('swellsight:');
    expect(existsSync(join(root, 'root/image/opt/swellsight/current/dist/main.js'))).toBe(true);
    expect(system.must('ls /root/image/etc/systemd/system/multi-user.target.wants')).toContain(
      'swellsight.service',
    );
    system.must('rm -rf /root/image');
  });

  it('purges a state directory that is a link, and one that is a mount point', async () => {
    const archive = await put({ version: '1.0.0' });
    install(archive);
    system.must(
      'systemctl stop swellsight; mv /var/lib/swellsight /srv/state; ln -s /srv/state /var/lib/swellsight; touch /srv/state/data',
    );
    const linked = install('--uninstall --purge');
    expect(linked).toMatchObject({ code: 0, stderr: '' });
    expect(linked.stdout).toContain('removed the link /var/lib/swellsight to /srv/state');
    expect(system.must('ls -A /srv/state; rmdir /srv/state')).toBe('');
    system.must('mkdir /var/lib/swellsight; mount -t tmpfs tmpfs /var/lib/swellsight');
    install(archive);
    system.must('touch /var/lib/swellsight/data');
    const mounted = install('--uninstall --purge');
    expect(mounted).toMatchObject({ code: 0, stderr: '' });
    expect(mounted.stdout).toContain('kept /var/lib/swellsight, which is a mount point');
    expect(
      system.must('ls -A /var/lib/swellsight; umount /var/lib/swellsight; rmdir /var/lib/swellsight'),
    ).toBe('');
    expect(system.run('id swellsight').code).toBe(1);
  });

  it('keeps state and configuration when it removes the agent, unless they are purged', async () => {
    install(await put({ version: '1.0.0' }));
    system.must('touch /var/lib/swellsight/data');
    expect(install('--uninstall')).toMatchObject({ code: 0, stderr: '' });
    expect(system.run('systemctl cat swellsight').code).toBe(1);
    expect(system.must('ls /etc/swellsight /var/lib/swellsight')).toMatch(/swellsight\.yaml[\s\S]*data/);
    expect(system.run('ls /opt/swellsight /usr/local/bin/swellsight').stdout).toBe('');
    expect(install('--uninstall --purge')).toMatchObject({ code: 0, stderr: '' });
    expect(system.run('ls -d /etc/swellsight /var/lib/swellsight*').stdout).toBe('');
    expect(system.run('id swellsight').code).toBe(1);
    expect(install('--uninstall')).toMatchObject({ code: 0, stderr: '' });
  });
});
