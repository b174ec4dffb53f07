import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { probeBroker } from '../../../src/mqtt/probe.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { freePort, type Mosquitto } from '../../fixtures/mosquitto.ts';

const bed = new LinkTestBed();

async function tlsBroker(): Promise<{ url: string; ca: string; mosquitto: Mosquitto }> {
  const mosquitto = await bed.broker({ users: { station: 'secret' }, tls: true });
  const ca = join(mosquitto.dir, 'probe-ca.pem');
  writeFileSync(ca, mosquitto.ca ?? '');
  return { url: mosquitto.url, ca, mosquitto };
}
const mqttSettings = (mqtt: object) =>
  loadSettings({ file: null, env: {}, cwd: '/', overlay: { mqtt } }).mqtt;

describe('probeBroker', () => {
  it('connects with TLS and password, in 5 and 3.1.1, and publishes nothing', async () => {
    const { url, ca, mosquitto } = await tlsBroker();
    const seen = await mosquitto.record('#', { username: 'station', password: 'secret' });
    for (const protocolVersion of [5, 4]) {
      const mqtt = mqttSettings({ url, ca, username: 'station', password: 'secret', protocolVersion });
      await expect(probeBroker(url, mqtt, 5000)).resolves.toBeUndefined();
    }
    expect(seen).toEqual([]);
  });

  it('distinguishes a wrong password and an unknown certificate from an unreachable broker', async () => {
    const { url, ca } = await tlsBroker();
    const login = { url, username: 'station' };
    const wrong = mqttSettings({ ...login, ca, password: 'wrong' });
    await expect(probeBroker(url, wrong, 5000)).rejects.toMatchObject({ code: 'mqtt_refused' });
    const unknown = mqttSettings({ ...login, password: 'secret' });
    await expect(probeBroker(url, unknown, 5000)).rejects.toMatchObject({ code: 'mqtt_refused' });
    const nowhere = `mqtt://127.0.0.1:${String(await freePort())}`;
    await expect(probeBroker(nowhere, mqttSettings({ url: nowhere }), 5000)).rejects.toMatchObject({
      code: 'mqtt_unreachable',
    });
  });
});
