import { expect, describe, it } from 'vitest';
import {
  CAMERAS,
  FASTER,
  everyS,
  thrownCode,
  useConfiguredDevice,
} from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();

describe('restart', () => {
  it('reads the local file again, and restarts after the answer', async () => {
    const configuration = device.start();
    device.writeFile({ logLevel: 'warn' });
    const { answer, begin } = configuration.restart();
    expect([answer, device.host.restarts]).toEqual([{ restarting: true }, 0]);
    begin();
    begin();
    await device.clock.pass(5000);
    expect([device.host.restarts, configuration.settings.logLevel]).toEqual([1, 'warn']);
  });

  it('is refused when the local file has become invalid', () => {
    const configuration = device.start();
    device.writeFile({ logLevel: 'loud' });
    expect(thrownCode(() => configuration.restart())).toBe('config_invalid');
  });

  it('is needed for a change of the local file: a remote change does not load it', async () => {
    const configuration = device.start();
    device.writeFile({ site: 'elsewhere' });
    await device.applyPatch(configuration, FASTER);
    expect(configuration.settings.site).toBe('local');
    expect(device.host.changes[0]?.keys).toEqual(['cameras.north.schedule']);
  });

  it('undoes a trial, so that new local masks are in force', async () => {
    const configuration = device.start();
    await device.applyPatch(configuration, FASTER);
    const mask = [[0, 0], [1, 0], [1, 1]]; // prettier-ignore
    device.writeFile({ cameras: [{ ...CAMERAS[0], privacyMasks: [mask] }] });
    configuration.restart().begin();
    expect(device.host.restarts).toBe(1);
    expect(configuration.settings.cameras[0]?.privacyMasks).toEqual([mask]);
    expect(everyS(configuration.settings)).toBe(60);
    expect(device.host.events.map(({ context }) => context['reason'])).toEqual(['interrupted']);
    expect(thrownCode(() => configuration.confirm(null))).toBe('config_trial_unknown');
    // The parts are stopped and started, and change no more.
    expect(device.host.changes).toHaveLength(1);
  });

  it('keeps a trial when the local file is invalid', async () => {
    const configuration = device.start();
    const id = await device.applyPatch(configuration, FASTER);
    device.writeFile({ logLevel: 'loud' });
    expect(thrownCode(() => configuration.restart())).toBe('config_invalid');
    configuration.confirm(id);
    expect(everyS(configuration.settings)).toBe(20);
  });

  it('keeps a change that is confirmed before the restart begins', async () => {
    const configuration = device.start();
    const { begin } = configuration.restart();
    await device.applyPatch(configuration, FASTER);
    configuration.confirm(null);
    begin();
    expect(everyS(configuration.settings)).toBe(20);
    expect(configuration.view().overlay).toEqual(FASTER);
  });

  it('happens when the local file has become invalid after the command', () => {
    const configuration = device.start();
    const { begin } = configuration.restart();
    device.writeFile({ logLevel: 'loud' });
    begin();
    expect([device.host.restarts, configuration.settings.logLevel]).toEqual([1, 'info']);
  });
});
