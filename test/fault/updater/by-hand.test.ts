import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { InstalledVersion } from '../../../src/contract/update-files.ts';
import { versionPath } from '../../../src/updater/paths.ts';
import { Device, FACTORY } from '../../fixtures/updater/device.ts';
import { installFakeVersion } from '../../fixtures/updater/fake-version.ts';

/** What scripts/install.sh does: unpacks the version and changes the link. */
function installByHand(device: Device, version: string, digest?: string): InstalledVersion {
  const { root } = device.paths;
  let installed = installFakeVersion(root, { version });
  if (digest !== undefined) {
    const from = join(root, versionPath(installed));
    installed = { version, digest };
    renameSync(from, join(root, versionPath(installed)));
    writeFileSync(join(root, versionPath(installed), 'archive.sha256'), `${digest}\n`);
  }
  rmSync(join(root, 'current'));
  symlinkSync(versionPath(installed), join(root, 'current'));
  return installed;
}

const versionsOf = (installed: readonly InstalledVersion[]): string[] =>
  installed.map(({ version }) => version);

describe('the updater after a change by hand', () => {
  it('keeps the version that ran before an upgrade, for a rollback', async () => {
    const device = await Device.create();
    await device.update();
    const second = installByHand(device, '1.1.0');
    expect((await device.update()).last_good).toEqual(device.factory);
    const third = installByHand(device, '1.2.0');
    const state = await device.update();
    expect(state).toMatchObject({ running: third, last_good: second, factory: device.factory });
    expect(versionsOf(state.installed)).toEqual([FACTORY, '1.1.0', '1.2.0']);
    device.requestRollback();
    expect((await device.update()).trial).toMatchObject({ version: '1.1.0' });
  });

  it('does not keep a banned version for a rollback', async () => {
    const device = await Device.create();
    const { version } = await device.putOnTrial({ version: '1.1.0', behaviour: 'bad' }, 4);
    expect(versionsOf((await device.update()).banned)).toEqual(['1.1.0']);
    // The operator insists on the version, and gives it up later.
    const insisted = installByHand(device, '1.1.0', version.digest);
    expect((await device.update()).running).toEqual(insisted);
    const good = installByHand(device, '1.2.0');
    const state = await device.update();
    expect(state.running).toEqual(good);
    expect(state.last_good).toEqual(device.factory);
  });

  it('takes the oldest installed version as the factory version when the stored one is gone', async () => {
    const device = await Device.create();
    await device.update();
    const second = installByHand(device, '1.1.0');
    rmSync(join(device.paths.root, versionPath(device.factory)), { recursive: true });
    const state = await device.update();
    expect(state).toMatchObject({ running: second, factory: second, last_good: null });
    device.requestRollback();
    expect((await device.update()).last_result).toMatchObject({ code: 'update_no_previous' });
  });
});
