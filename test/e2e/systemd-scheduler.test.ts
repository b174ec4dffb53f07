import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleDir } from '../fixtures/bundles.ts';
import { FIRST_BOOT_TIMEOUT_MS, InstalledSystem } from '../fixtures/installed-system.ts';

const CONFIGURATION = `
cameras:
  - { id: share, kind: directory, path: /srv/camera, replay: loop, schedule: { everyS: 2 }, timeoutS: 1, burst: { frames: 1, intervalS: 0.5 } }
`;

/**
 * A directory camera on a network mount whose server stops to answer: reads never return, whatever deadline they have. Here
 * the server is a FUSE file system that gets SIGSTOP.
 */
describe('the installed service when a schedule hangs', () => {
  const home = mkdtempSync(join(tmpdir(), 'swellsight-share-'));
  const mount = join(home, 'mount');
  let server: ChildProcess;
  let device: InstalledSystem;

  beforeAll(async () => {
    const images = join(home, 'images');
    for (const directory of [images, mount]) mkdirSync(directory);
    for (const n of [1, 2])
      copyFileSync(join(bundleDir('heads'), 'golden', `picture-${n}.png`), join(images, `${n}.png`));
    server = spawn('bindfs', ['-f', '--no-allow-other', '-o', 'allow_other', images, mount], {
      stdio: 'inherit',
    });
    device = await InstalledSystem.boot({ configuration: CONFIGURATION, binds: { '/srv/camera': mount } });
  }, FIRST_BOOT_TIMEOUT_MS);
  afterAll(async () => {
    server.kill('SIGCONT');
    await device[Symbol.asyncDispose]();
    execFileSync('umount', ['--lazy', mount]);
    server.kill('SIGKILL');
    rmSync(home, { recursive: true, force: true });
  });

  it('is restarted by the watchdog, and observes again when the server answers', async () => {
    await device.until('an observation', () => device.observations().length > 0);
    server.kill('SIGSTOP');
    await device.until('a restart', () => device.show('NRestarts') === '1');
    server.kill('SIGCONT');
    const before = device.observations().length;
    await device.until('an observation', () => device.observations().length > before);
    await device.until('the events', () => device.events('service_stopped').length > 0);
    expect(device.events('service_stopped').map(({ code }) => code)).toEqual(['watchdog']);
    expect(device.events('no_progress').map(({ context }) => context)).toEqual([{ parts: ['scheduler'] }]);
  });
});
