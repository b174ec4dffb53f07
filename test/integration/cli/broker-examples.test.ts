import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import {
  BROKER_EXAMPLES,
  BROKER_FILE_EXAMPLES,
  HOST_EXAMPLE,
} from '../../../scripts/generate/broker-examples.ts';
import { checkBroker } from '../../../src/cli/doctor/broker.ts';
import { processTerminal } from '../../../src/cli/terminal.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { Topics } from '../../../src/mqtt/topics.ts';
import { ZooBroker, type Quirk } from '../../fixtures/broker-zoo.ts';
import { Authority } from '../../fixtures/certificates.ts';
import { runCli } from '../../fixtures/cli.ts';
import { sendRequest, startServer } from '../../fixtures/http-server.ts';
import { linkOptions } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { freePort, until, type MosquittoOptions } from '../../fixtures/mosquitto.ts';

const bed = new LinkTestBed();
const dir = mkdtempSync(join(tmpdir(), 'swellsight-examples-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Mqtt = Record<string, unknown>;
const STATUS = 'swellsight/v1/bay/north/status';

const mosquitto = async (options: MosquittoOptions, mqtt: Mqtt = {}): Promise<Mqtt> => {
  const { url } = await bed.broker(options);
  return { url, ...mqtt };
};
const zoo = async (quirk: Quirk, mqtt: Mqtt = {}): Promise<Mqtt> => {
  const broker = await ZooBroker.start(quirk);
  bed.defer(() => broker.stop());
  return { url: broker.url, ...mqtt };
};
const refusing = (code: number): Quirk => ({
  onPacket: (packet, client) => packet.cmd === 'connect' && client.refuse(code),
});

/** Makes each situation, and returns the settings of `mqtt` with which doctor meets it. */
const SITUATIONS: Readonly<Record<keyof typeof BROKER_EXAMPLES, () => Promise<Mqtt>>> = {
  'nothing listens there': async () => ({ url: `mqtt://127.0.0.1:${String(await freePort())}` }),
  'the host name is wrong': () => Promise.resolve({ url: 'mqtt://broker.invalid' }),
  'mqtts:// to a port without TLS, or mqtt:// to a port with TLS': async () => {
    const { port } = await bed.broker();
    return { url: `mqtts://127.0.0.1:${String(port)}` };
  },
  'wrong user or password': () =>
    mosquitto({ users: { north: 'right' } }, { username: 'north', password: 'wrong' }),
  'the authority of its certificate is not trusted': () => mosquitto({ tls: true }),
  'its certificate is for another host name': async () => {
    using authority = new Authority();
    const { cert, key } = authority.issue({ name: 'broker', names: 'DNS:broker.example.org' });
    const ca = join(dir, 'other-ca.crt');
    copyFileSync(authority.ca, ca);
    const { port } = await bed.broker({ lines: [`certfile ${cert}`, `keyfile ${key}`] });
    return { url: `mqtts://127.0.0.1:${String(port)}`, ca };
  },
  'QoS 0 only': () => mosquitto({ lines: ['max_qos 0'] }),
  'small packets only': () => mosquitto({ lines: ['max_packet_size 1400'] }),
  'no retained messages': () => mosquitto({ lines: ['retain_available false'] }),
  'refused subscriptions': () => mosquitto({ refusesSubscriptions: true }),
  'refused messages': () => mosquitto({ acl: ['pattern read #'] }),
  'the broker has moved': () => zoo(refusing(157)),
  'mqtt.protocolVersion 4, and the broker has MQTT 5 only': () =>
    zoo({ versions: [5] }, { protocolVersion: 4 }),
  'mqtt.clientId is not accepted': () => zoo(refusing(133)),
  'an agent on another machine has the same site and device': async () => {
    const { url } = await bed.broker();
    const topics = new Topics({ base: 'swellsight/v1', site: 'bay', device: 'north' });
    const options = linkOptions(url, { clientId: 'swellsight-bay-north', session: 'elsewhere' });
    const { births } = bed.link(options, { topics });
    await until(() => births.length === 1, 'the other agent');
    return { url };
  },
  'a stale status': async () => {
    const broker = await bed.broker();
    const status = JSON.stringify({ state: 'online', session: 'dead', at: '2026-01-01T00:00:00.000Z' });
    await (await broker.client()).publishAsync(STATUS, status, { qos: 1, retain: true });
    return { url: broker.url };
  },
  'the port of the embedded broker is in use': async () => {
    const { port } = await bed.broker();
    return { embedded: { port } };
  },
};

/** The lines of doctor, with the address of the example. */
async function linesOf(mqtt: Mqtt): Promise<string[]> {
  const overlay = { site: 'bay', device: 'north', stateDir: dir, http: { port: await freePort() }, mqtt };
  const settings = loadSettings({ file: null, env: {}, cwd: dir, overlay });
  const lines: string[] = [];
  for await (const { state, detail, mend } of checkBroker({
    settings,
    terminal: processTerminal({}, new AbortController().signal),
  }))
    lines.push(`${state === 'fail' ? 'FAIL' : state} ${detail}${mend === null ? '' : ` -> ${mend}`}`);
  return lines.map((line) =>
    line
      .replaceAll(/(127\.0\.0\.1|localhost):\d+/g, '10.0.0.9:1883')
      // The end of a connection has several names, and so has a name server that does not answer.
      .replace(/(?<=without an answer \().*?(?=\) \[)/, 'read ECONNRESET')
      .replace('EAI_AGAIN', 'ENOTFOUND'),
  );
}

describe('the examples of docs/errors.md for the broker', () => {
  it.each(Object.entries(BROKER_EXAMPLES))(
    '%s',
    async (situation, lines) => {
      const mqtt = await SITUATIONS[situation as keyof typeof SITUATIONS]();
      expect(await linesOf(mqtt)).toEqual(lines);
    },
    60_000,
  );

  it('are the lines of check-config for these files', async () => {
    using authority = new Authority();
    const [own, other] = [authority.issue({ name: 'pi' }), authority.issue({ name: 'pi' })];
    const files = {
      'pi.crt': readFileSync(own.cert),
      'pi.key': readFileSync(own.key),
      'other.key': readFileSync(other.key),
      'ca.der': new X509Certificate(readFileSync(authority.ca)).raw,
      'half.crt': readFileSync(own.cert).subarray(0, -40),
      empty: '',
    };
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(dir, name), bytes);
    for (const [settings, line] of BROKER_FILE_EXAMPLES) {
      const mqtt = settings.replace('{', "{ url: 'mqtts://10.0.0.9',");
      writeFileSync(join(dir, 'bad.yaml'), `mqtt: ${mqtt}\n`);
      const { code, stderr } = await runCli(['check-config', '--config', 'bad.yaml'], { cwd: dir });
      expect(code).toBe(78);
      expect(stderr.replaceAll(dir, '/etc/swellsight').split('\n')).toContain(line);
    }
  }, 60_000);

  it('is the answer behind a proxy', async () => {
    await using site = await startServer({ allowedHosts: [] });
    const headers = { host: 'gauge.example.org' };
    const refused = await sendRequest({
      ...{ port: site.port, method: 'GET', path: '/api/v1/status', headers },
    });
    expect(refused.status).toBe(403);
    expect(refused.json()).toMatchObject(HOST_EXAMPLE);
  });
});
