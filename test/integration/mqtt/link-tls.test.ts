import { appendFileSync, copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:tls';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, type CertificateFiles } from '../../fixtures/certificates.ts';
import { linkOptions, topics } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { freePort, until, type Mosquitto, type Message } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';

const LOCAL = 'DNS:localhost,IP:127.0.0.1';
/** The link reads files one second after their change. */
const SETTLED_MS = 1200;

let authority: Authority;
let server: CertificateFiles;
beforeAll(() => {
  authority = new Authority();
  server = authority.issue({ name: 'localhost', names: LOCAL });
});
afterAll(() => authority.remove());

const bed = new LinkTestBed();

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function otherAuthority(): Authority {
  const other = new Authority('other');
  bed.defer(() => other.remove());
  return other;
}

/** A broker with a plain listener for the test, and one with TLS for the device. */
async function tlsBroker(
  certificate: CertificateFiles,
  lines: readonly string[] = [],
): Promise<{ url: string; port: number; mosquitto: Mosquitto }> {
  const port = await freePort();
  const mosquitto = await bed.broker({
    lines: [
      `listener ${port} 127.0.0.1`,
      `certfile ${certificate.cert}`,
      `keyfile ${certificate.key}`,
      `cafile ${authority.ca}`,
      ...lines,
    ],
  });
  return { url: `mqtts://localhost:${port}`, port, mosquitto };
}

const MUTUAL = ['require_certificate true', 'use_identity_as_username true'];

/** Certificate files of a device, which a test replaces while the device runs. */
function deviceFiles(from: CertificateFiles): CertificateFiles & { replace(by: CertificateFiles): void } {
  const dir = tempDir('swellsight-tls-');
  bed.defer(() => dir.remove());
  const files = { cert: join(dir.path, 'device.crt'), key: join(dir.path, 'device.key') };
  const replace = (by: CertificateFiles): void => {
    copyFileSync(by.key, files.key);
    copyFileSync(by.cert, files.cert);
  };
  replace(from);
  return { ...files, replace };
}

const statesOf = (messages: readonly Message[]): unknown[] =>
  messages.map(({ payload }) => (JSON.parse(payload.toString()) as { state: unknown }).state);

describe('MqttLink with TLS', () => {
  it('presents its certificate when the broker requires one, in 5 and 3.1.1, and is refused without it', async () => {
    const { url } = await tlsBroker(server, MUTUAL);
    const own = authority.issue({ name: 'dev1' });
    for (const protocolVersion of [5, 4] as const) {
      const { births, link } = bed.link(linkOptions(url, { ca: authority.ca, ...own, protocolVersion }));
      await until(() => births.length === 1, 'the birth');
      expect(link.stats().faults).toEqual([]);
      await link.stop();
    }
    const without = bed.link(linkOptions(url, { ca: authority.ca, clientId: 'bare' }));
    await until(() => without.events.length > 0, 'the event');
    expect(without.events).toMatchObject([{ type: 'mqtt_refused' }]);
    expect(without.link.stats().faults).toEqual(['link_refused']);
    expect(without.births).toEqual([]);
  });

  it.each([
    ['another CA', () => ({ ca: otherAuthority().ca, host: 'localhost', certificate: server })],
    [
      'an expired certificate',
      () => ({
        ca: authority.ca,
        host: 'localhost',
        certificate: authority.issue({ name: 'localhost', names: LOCAL, fromDays: -30, untilDays: -1 }),
      }),
    ],
    [
      'another host name',
      () => ({
        ca: authority.ca,
        host: 'localhost',
        certificate: authority.issue({ name: 'elsewhere', names: 'DNS:elsewhere.test' }),
      }),
    ],
  ])(
    'does not connect to a broker with %s, retries slowly, and raises one event and a degraded code',
    async (_what, make) => {
      const { ca, host, certificate } = make();
      const { port, mosquitto } = await tlsBroker(certificate);
      const seen = await mosquitto.record('#');
      const { events, births, link } = bed.link(
        linkOptions(`mqtts://${host}:${port}`, {
          ca,
          username: 'u',
          password: 'secret',
          tuning: { refusedBackoff: { minMs: 100, maxMs: 150, resetAfterMs: 0 } },
        }),
      );
      await until(() => events.length > 0, 'the event');
      await wait(400);
      expect(events).toMatchObject([{ type: 'mqtt_refused', message: 'the certificate was not accepted' }]);
      expect(link.stats().faults).toEqual(['link_refused']);
      expect(births).toEqual([]);
      expect(seen).toEqual([]);
      expect(JSON.stringify(events)).not.toContain('secret');
    },
  );

  it('connects over WebSocket with TLS, and checks the CA', async () => {
    const { port } = await tlsBroker(server, ['protocol websockets']);
    const trusting = bed.link(linkOptions(`wss://localhost:${port}`, { ca: authority.ca }));
    await until(() => trusting.births.length === 1, 'the birth');
    const untrusting = bed.link(linkOptions(`wss://localhost:${port}`, { clientId: 'untrusting' }));
    await until(() => untrusting.events.length > 0, 'the event');
    expect(untrusting.events).toMatchObject([{ type: 'mqtt_refused' }]);
  });

  it('tries the next broker when one does not answer after the TLS handshake', async () => {
    let handshakes = 0;
    const silent = createTlsServer(
      { cert: readFileSync(server.cert), key: readFileSync(server.key) },
      (socket) => {
        handshakes += 1;
        socket.on('error', () => undefined).resume();
      },
    ).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    bed.defer(() => silent.close());
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { mosquitto } = await tlsBroker(server);
    const { births, link } = bed.link(
      linkOptions([`mqtts://localhost:${port}`, mosquitto.url], {
        ca: authority.ca,
        tuning: { connectTimeoutMs: 400 },
      }),
    );
    await until(() => births.length === 1, 'the next broker');
    expect(handshakes).toBe(1);
    expect(link.stats().broker).toBe(`127.0.0.1:${mosquitto.port}`);
  });

  it('uses a new certificate for the next connection, but not an incomplete one', async () => {
    const dir = tempDir('swellsight-log-');
    bed.defer(() => dir.remove());
    const logFile = join(dir.path, 'log');
    const { url, mosquitto } = await tlsBroker(server, [
      ...MUTUAL,
      `log_dest file ${logFile}`,
      'log_type notice',
    ]);
    const names = (): unknown[] =>
      [...readFileSync(logFile, 'utf8').matchAll(/ as swellsight-test-dev1 .*u'(\w+)'/g)].map(
        ([, name]) => name,
      );
    const files = deviceFiles(authority.issue({ name: 'first' }));
    const { births, link, events } = bed.link(linkOptions(url, { ca: authority.ca, ...files }));
    await until(() => births.length === 1, 'the birth');
    const second = authority.issue({ name: 'second' });
    // First only the new key, then half of its certificate.
    copyFileSync(second.key, files.key);
    await wait(SETTLED_MS);
    await restartBroker(mosquitto, births, 2);
    writeFileSync(files.cert, readFileSync(second.cert, 'utf8').slice(0, 300));
    await wait(SETTLED_MS);
    await restartBroker(mosquitto, births, 3);
    copyFileSync(second.cert, files.cert);
    await wait(SETTLED_MS);
    await restartBroker(mosquitto, births, 4);
    expect(link.connected).toBe(true);
    await until(() => names().length === 4, 'the log of the broker');
    expect(names()).toEqual(['first', 'first', 'first', 'second']);
    expect(events).toEqual([]);
  });

  it('reconnects with a new certificate when the old one expires soon, and warns before', async () => {
    const { url, mosquitto } = await tlsBroker(server, MUTUAL);
    const files = deviceFiles(authority.issue({ name: 'dev1', fromDays: -60, untilDays: 5 }));
    const seen = await mosquitto.record(topics.status);
    const { births, link, events } = bed.link(
      linkOptions(url, { ca: authority.ca, ...files, tuning: { checkEveryMs: 100 } }),
    );
    await until(() => births.length === 1, 'the birth');
    await until(() => events.length === 1, 'the warning');
    expect(events).toMatchObject([
      { type: 'mqtt_certificate_expiring', severity: 'warning', context: { whose: 'device' } },
    ]);
    expect(link.stats().faults).toEqual(['certificate_expiring:device']);
    files.replace(authority.issue({ name: 'dev1' }));
    const published = Array.from({ length: 20 }, (_, n) =>
      link.publish(`event/n${n}`, '{}', { qos: 1, retain: false }),
    );
    await Promise.all(published);
    await until(() => births.length === 2, 'the new connection');
    await until(() => link.stats().faults?.length === 0, 'the end of the warning');
    await until(() => statesOf(seen).length >= 4, 'online');
    expect(statesOf(seen)).toEqual(['starting', 'online', 'offline', 'online']);
    await wait(400);
    expect(births).toHaveLength(2);
    expect(events).toHaveLength(1);
  });

  it('warns before the certificate of the broker expires', async () => {
    const { url } = await tlsBroker(
      authority.issue({ name: 'localhost', names: LOCAL, fromDays: -60, untilDays: 3 }),
    );
    const { link, events } = bed.link(linkOptions(url, { ca: authority.ca }));
    await until(() => events.length === 1, 'the warning');
    expect(events).toMatchObject([{ type: 'mqtt_certificate_expiring', context: { whose: 'broker' } }]);
    expect(link.stats().faults).toEqual(['certificate_expiring:broker']);
  });

  it('keeps the old certificate when the broker refuses the new one', async () => {
    const { url, mosquitto } = await tlsBroker(server, MUTUAL);
    const files = deviceFiles(authority.issue({ name: 'dev1', fromDays: -60, untilDays: 5 }));
    const { births, events, link } = bed.link(
      linkOptions(url, { ca: authority.ca, ...files, tuning: { checkEveryMs: 100 } }),
    );
    await until(() => births.length === 1, 'the birth');
    const unknownAuthority = otherAuthority();
    files.replace(unknownAuthority.issue({ name: 'dev1' }));
    await until(() => births.length === 2, 'the link with the old certificate');
    await until(() => events.some(({ type }) => type === 'mqtt_refused'), 'the event');
    await wait(500);
    expect(births).toHaveLength(2);
    files.replace(authority.issue({ name: 'dev1' }));
    await until(() => births.length === 3, 'the link with the right certificate');
    await until(() => link.stats().faults?.length === 0, 'the end of the faults');
    await restartBroker(mosquitto, births, 4);
  });

  it('reads the password again when its file changes: early after a refusal, and never half of it', async () => {
    const mosquitto = await bed.broker({ users: { dev1: 'second' } });
    const dir = tempDir('swellsight-pw-');
    bed.defer(() => dir.remove());
    const passwordFile = join(dir.path, 'password');
    writeFileSync(passwordFile, 'first\n');
    const { births, events } = bed.link(
      linkOptions(mosquitto.url, {
        username: 'dev1',
        password: 'first',
        passwordFile,
        tuning: { refusedBackoff: { minMs: 120_000, maxMs: 240_000, resetAfterMs: 0 }, checkEveryMs: 300 },
      }),
    );
    await until(() => events.length === 1, 'the refusal');
    truncateSync(passwordFile);
    await wait(100);
    appendFileSync(passwordFile, 'second\n');
    // At the next check, and not after two minutes.
    await until(() => births.length === 1, 'the birth', 60_000);
    truncateSync(passwordFile);
    await wait(SETTLED_MS);
    await restartBroker(mosquitto, births, 2);
    expect(events).toHaveLength(1);
  });
});

/** Restarts the broker and waits for the next birth. */
async function restartBroker(mosquitto: Mosquitto, births: readonly number[], wanted: number): Promise<void> {
  await mosquitto.down('SIGKILL');
  await mosquitto.up();
  await until(() => births.length === wanted, `birth ${wanted}`);
}
