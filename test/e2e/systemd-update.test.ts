import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { UpdaterState } from '../../src/contract/update-files.ts';
import { initTestRepository } from '../fixtures/agent-repository.ts';
import { InstalledSystem, SEA_CAMERA } from '../fixtures/installed-system.ts';
import { packagedArchive } from '../fixtures/package.ts';
import { packFakeVersion, PREFLIGHT_OK } from '../fixtures/updater/fake-version.ts';
import { packageVariant } from '../fixtures/updater/package-variant.ts';

const CONFIGURATION = `
cameras:
  - ${SEA_CAMERA}
update:
  repository: 'http://127.0.0.1:8123/'
  trustRoot: /etc/swellsight/agent-root.json
  probation: { observations: 2, minutes: 0.1 }
`;
const WEB_SERVER = `
import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
createServer((request, response) =>
  createReadStream('/srv/repo/repo' + request.url)
    .on('error', () => response.writeHead(404).end())
    .pipe(response),
).listen(8123, '127.0.0.1');
`;
/** In place of Node: ends at once, except in the preflight. */
const CRASHES = `#!/bin/sh
case "$*" in *preflight*) ${PREFLIGHT_OK} ;; *) exit 1 ;; esac
`;
/**
 * The main loop blocks for ever as soon as systemd has received READY=1. Only as the service: the preflight and other
 * commands work.
 */
const HANGS = `
import { spawnSync } from 'node:child_process';
const isActive = () => spawnSync('systemctl', ['is-active', '--quiet', 'swellsight']).status === 0;
if (process.argv[2] === 'run') setInterval(() => { while (isActive()); }, 500);`;
/** The service has a minute; the test need not wait that long for each of the starts. */
const SHORT_WATCHDOG = '[Service]\nWatchdogSec=8s\n';
const FILES = '/opt/swellsight';
const WAIT_MS = 600_000;

describe('updates in a booted systemd', () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-systemd-update-'));
  let device: InstalledSystem;

  beforeAll(async () => {
    chmodSync(home, 0o755);
    const repository = await initTestRepository(home);
    const archive = packagedArchive();
    const variants = [
      packageVariant(archive, { version: '9.1.0' }, home),
      // What it contains does not matter, and each real version takes half a minute.
      (await packFakeVersion(home, { version: '9.2.0', files: { 'node/bin/node': CRASHES } })).file,
      packageVariant(archive, { version: '9.3.0', before: HANGS }, home),
    ];
    await repository.publish(variants);
    for (const variant of variants) rmSync(variant);
    writeFileSync(join(home, 'server.mjs'), WEB_SERVER);
    device = await InstalledSystem.boot({
      configuration: CONFIGURATION,
      binds: { '/srv/repo': home },
      versions: 3,
    });
    device.system.must(`
      install -m 0644 /srv/repo/repo/metadata/1.root.json /etc/swellsight/agent-root.json
      install -m 0644 /srv/repo/repo/metadata/1.root.json ${FILES}/updater/agent-root.json
      systemd-run --quiet --unit=repository ${FILES}/current/node/bin/node /srv/repo/server.mjs
    `);
    await device.observesAgain();
  }, WAIT_MS);
  afterAll(async () => {
    await device[Symbol.asyncDispose]();
    rmSync(home, { recursive: true, force: true });
  });

  const state = (): UpdaterState =>
    JSON.parse(device.system.must('cat /var/lib/swellsight-updater/state.json')) as UpdaterState;
  const install = (version: string): void => {
    device.system.must(`swellsight agent install ${version} 2>&1`);
  };
  /** Fails with what both sides of the update say. */
  const untilEnded = async (version: string): Promise<void> => {
    const isEnded = ended(version);
    try {
      await device.until(`the end of the update to ${version}`, isEnded);
    } catch {
      const { stdout } = device.system.run(
        'swellsight agent list; cat /var/lib/swellsight-updater/state.json; journalctl -u swellsight-update -n 40 -o cat --no-pager; ls -la /var/lib/swellsight/update',
      );
      throw new Error(stdout);
    }
  };
  const ended = (version: string) => () => {
    const { trial, last_result } = state();
    return trial === null && last_result?.version === version;
  };
  const running = (): string => device.system.must(`readlink ${FILES}/current`).trim();

  it('installs a version, proves it, and confirms it', { timeout: WAIT_MS }, async () => {
    install('9.1.0');
    await untilEnded('9.1.0');
    expect(
      state().last_result,
      device.system.run('journalctl -u swellsight-update -o cat --no-pager').stdout,
    ).toMatchObject({ status: 'committed' });
    expect(running()).toMatch(/^versions\/9\.1\.0-/);
    await device.observesAgain();
  });

  it('returns from a version that ends at once, and bans it', { timeout: WAIT_MS }, async () => {
    install('9.2.0');
    await untilEnded('9.2.0');
    expect(state().last_result).toMatchObject({ status: 'returned', code: 'update_crash_loop' });
    expect(state().banned).toMatchObject([{ version: '9.2.0' }]);
    expect(running()).toMatch(/^versions\/9\.1\.0-/);
    await device.observesAgain();
    expect(device.system.run('swellsight agent install 9.2.0 2>&1').stdout).toMatch(
      /update_banned|failed on this device/,
    );
  });

  it(
    'returns from a version that hangs after it has reported READY, and bans it',
    { timeout: WAIT_MS },
    async () => {
      const dropIn = '/run/systemd/system/swellsight.service.d/short-watchdog.conf';
      device.system.must(`
      mkdir -p $(dirname ${dropIn})
      printf '${SHORT_WATCHDOG.replaceAll('\n', '\\n')}' >${dropIn}
      systemctl daemon-reload
    `);
      install('9.3.0');
      await untilEnded('9.3.0');
      const journal = device.system.run('journalctl -u swellsight -o cat --no-pager').stdout;
      expect(journal.match(/Watchdog timeout/g)?.length ?? 0).toBeGreaterThanOrEqual(2);
      expect(state().last_result).toMatchObject({ status: 'returned' });
      expect(state().banned).toMatchObject([{ version: '9.2.0' }, { version: '9.3.0' }]);
      expect(running()).toMatch(/^versions\/9\.1\.0-/);
      device.system.must(`rm ${dropIn}; systemctl daemon-reload`);
      await device.observesAgain();
    },
  );

  it('loses no observation in all updates', () => {
    const numbers = [...new Set(device.observations().map(({ seq }) => seq))].toSorted((a, b) => a - b);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
  });

  it('starts the service although the updater is broken', { timeout: WAIT_MS }, async () => {
    device.system.must(`
      rm -r ${FILES}/updater/node ${FILES}/updater/count-start
      systemctl restart swellsight
    `);
    await device.observesAgain();
  });
});
