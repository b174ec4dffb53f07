import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { RecordingHost, useConfiguredDevice } from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();
const TAKEN = new AgentError('http_listen', 'port 9090 is in use');

const stateFiles = (): readonly string[] =>
  readdirSync(device.statePath('.')).filter((name) => name.startsWith('config-overlay'));

it('of confirmed settings: starts with the local ones, and sets the overlay aside after the start', async () => {
  const confirmed = device.start();
  await device.applyPatch(confirmed, { http: { port: 9090 } });
  confirmed.attach(device.host, confirmed.settings);
  confirmed.confirm(null);
  const configuration = device.open();
  expect(configuration.isRemote).toBe(true);
  expect(configuration.handleStartFailure(TAKEN)).toBe(true);
  expect(configuration.settings.http.port).toBe(8080);
  // The local settings may fail too: then the overlay is not at fault.
  expect(stateFiles()).toEqual(['config-overlay.json']);
  expect(configuration.handleStartFailure(TAKEN)).toBe(false);

  const host = new RecordingHost();
  configuration.attach(host, configuration.settings);
  const [file = ''] = stateFiles();
  expect(file).toMatch(/^config-overlay\.broken-\d+\.json$/);
  expect(readFileSync(device.statePath(file), 'utf8')).toContain('9090');
  expect(host.events).toEqual([
    expect.objectContaining({
      type: 'config_overlay_dropped',
      context: { file, reason: 'the agent does not start with it: port 9090 is in use' },
    }),
  ]);
  expect(configuration.view().overlay).toEqual({});
});

it('after a restart: the same, and a second attach raises no second event', async () => {
  const configuration = device.start();
  await device.applyPatch(configuration, { http: { port: 9090 } });
  configuration.attach(device.host, configuration.settings);
  configuration.confirm(null);
  expect(configuration.handleStartFailure(TAKEN)).toBe(true);
  const host = new RecordingHost();
  configuration.attach(host, configuration.settings);
  configuration.attach(host, configuration.settings);
  expect(host.events.map(({ type }) => type)).toEqual(['config_overlay_dropped']);
});

it('of the store, or without remote settings: changes nothing', async () => {
  const configuration = device.start();
  expect(configuration.handleStartFailure(TAKEN)).toBe(false);
  await device.applyPatch(configuration, { logLevel: 'debug' });
  configuration.confirm(null);
  for (const code of ['store_locked', 'store_failed'] as const)
    expect(configuration.handleStartFailure(new AgentError(code, 'the store'))).toBe(false);
  expect(configuration.settings.logLevel).toBe('debug');
});
