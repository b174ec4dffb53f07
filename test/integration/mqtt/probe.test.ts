import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { loadSettings } from '../../../src/config/load.ts';
import { probeBroker } from '../../../src/mqtt/probe.ts';
import { freePort, Mosquitto } from '../../fixtures/mosquitto.ts';

const brokers: Mosquitto[] = [];
afterEach(async () => {
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()));
});

async function broker(): Promise<{ url: string; ca: string; watch: Mosquitto }> {
  const watch = await Mosquitto.start({ users: { station: 'secret' }, tls: true });
  brokers.push(watch);
  const ca = join(watch.dir, 'probe-ca.pem');
  writeFileSync(ca, watch.ca ?? '');
  return { url: watch.url, ca, watch };
}
const mqttSettings = (mqtt: object) =>
  loadSettings({ file: null, env: {}, cwd: '/', overlay: { mqtt } }).mqtt;

describe('probeBroker', () => {
  it('is let in with TLS and password, in 5 and in 3.1.1, and says nothing on any topic', async () => {
    const { url, ca, watch } = await broker();
    const seen = await watch.record('#', { username: 'station', password: 'secret' });
    for (const protocolVersion of [5, 4]) {
      const mqtt = mqttSettings({ url, ca, username: 'station', password: 'secret', protocolVersion });
      await expect(probeBroker(url, mqtt, 5000)).resolves.toBeUndefined();
    }
    expect(seen).toEqual([]);
  });

  it('tells a wrong password and an unknown certificate from a broker that is not there', async () => {
    const { url, ca } = await broker();
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
