import { appendFileSync, copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:tls';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Authority, type CertificateFiles } from '../../fixtures/certificates.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { freePort, Mosquitto, until, type Message } from '../../fixtures/mosquitto.ts';
import { tempDir } from '../../fixtures/store.ts';

const LOCAL = 'DNS:localhost,IP:127.0.0.1';
/** Files are left alone for a second after they changed. */
const SETTLED_MS = 1200;

let authority: Authority;
let server: CertificateFiles;
beforeAll(() => {
  authority = new Authority();
  server = authority.issue({ name: 'localhost', names: LOCAL });
});
afterAll(() => authority.remove());

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function started(...args: Parameters<typeof startLink>): ReturnType<typeof startLink> {
  const running = startLink(...args);
  cleanups.push(() => running.link.stop());
  return running;
}

function otherAuthority(): Authority {
  const other = new Authority('other');
  cleanups.push(() => other.remove());
  return other;
}

/** A plain listener to watch by, and one with TLS. */
async function broker(
  certificate: CertificateFiles,
  lines: readonly string[] = [],
): Promise<{ url: string; port: number; mosquitto: Mosquitto }> {
  const port = await freePort();
  const mosquitto = await Mosquitto.start({
    lines: [
      `listener ${port} 127.0.0.1`,
      `certfile ${certificate.cert}`,
      `keyfile ${certificate.key}`,
      `cafile ${authority.ca}`,
      ...lines,
    ],
  });
  cleanups.push(() => mosquitto.stop());
  return { url: `mqtts://localhost:${port}`, port, mosquitto };
}

const MUTUAL = ['require_certificate true', 'use_identity_as_username true'];

/** Files of a device, to be replaced while it runs. */
function deviceFiles(from: CertificateFiles): CertificateFiles & { replace(by: CertificateFiles): void } {
  const dir = tempDir('swellsight-tls-');
  cleanups.push(() => dir.remove());
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
  it('shows its own certificate where the broker wants one, in 5 and 3.1.1, and is refused without it', async () => {
    const { url } = await broker(server, MUTUAL);
    const own = authority.issue({ name: 'dev1' });
    for (const protocolVersion of [5, 4] as const) {
      const { ups, link } = started(linkOptions(url, { ca: authority.ca, ...own, protocolVersion }));
      await until(() => ups.length === 1, 'the birth');
      expect(link.stats().faults).toEqual([]);
      await link.stop();
    }
    const without = started(linkOptions(url, { ca: authority.ca, clientId: 'bare' }));
    await until(() => without.events.length > 0, 'the event');
    expect(without.events).toMatchObject([{ type: 'mqtt_refused' }]);
    expect(without.link.stats().faults).toEqual(['link_refused']);
    expect(without.ups).toEqual([]);
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
    'does not speak to a broker with %s: slowly, with one event and a degraded code',
    async (_what, make) => {
      const { ca, host, certificate } = make();
      const { port, mosquitto } = await broker(certificate);
      const seen = await mosquitto.record('#');
      const { events, ups, link } = started(
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
      expect(ups).toEqual([]);
      expect(seen).toEqual([]);
      expect(JSON.stringify(events)).not.toContain('secret');
    },
  );

  it('speaks over WebSocket with TLS, by its CA', async () => {
    const { port } = await broker(server, ['protocol websockets']);
    const trusting = started(linkOptions(`wss://localhost:${port}`, { ca: authority.ca }));
    await until(() => trusting.ups.length === 1, 'the birth');
    const wary = started(linkOptions(`wss://localhost:${port}`, { clientId: 'wary' }));
    await until(() => wary.events.length > 0, 'the event');
    expect(wary.events).toMatchObject([{ type: 'mqtt_refused' }]);
  });

  it('gives up on a broker that says nothing after the TLS handshake', async () => {
    let handshakes = 0;
    const silent = createTlsServer(
      { cert: readFileSync(server.cert), key: readFileSync(server.key) },
      (socket) => {
        handshakes += 1;
        socket.on('error', () => undefined).resume();
      },
    ).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    cleanups.push(() => silent.close());
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { mosquitto } = await broker(server);
    const { ups, link } = started(
      linkOptions([`mqtts://localhost:${port}`, mosquitto.url], {
        ca: authority.ca,
        tuning: { connectTimeoutMs: 400 },
      }),
    );
    await until(() => ups.length === 1, 'the next broker');
    expect(handshakes).toBe(1);
    expect(link.stats().broker).toBe(`127.0.0.1:${mosquitto.port}`);
  });

  it('takes a new certificate for the next connection, and none that is not whole', async () => {
    const dir = tempDir('swellsight-log-');
    cleanups.push(() => dir.remove());
    const logFile = join(dir.path, 'log');
    const { url, mosquitto } = await broker(server, [
      ...MUTUAL,
      `log_dest file ${logFile}`,
      'log_type notice',
    ]);
    const names = (): unknown[] =>
      [...readFileSync(logFile, 'utf8').matchAll(/ as swellsight-test-dev1 .*u'(\w+)'/g)].map(
        ([, name]) => name,
      );
    const files = deviceFiles(authority.issue({ name: 'first' }));
    const { ups, link, events } = started(linkOptions(url, { ca: authority.ca, ...files }));
    await until(() => ups.length === 1, 'the birth');
    const second = authority.issue({ name: 'second' });
    // The key has come, its certificate not yet; then half of it.
    copyFileSync(second.key, files.key);
    await wait(SETTLED_MS);
    await again(mosquitto, ups, 2);
    writeFileSync(files.cert, readFileSync(second.cert, 'utf8').slice(0, 300));
    await wait(SETTLED_MS);
    await again(mosquitto, ups, 3);
    copyFileSync(second.cert, files.cert);
    await wait(SETTLED_MS);
    await again(mosquitto, ups, 4);
    expect(link.connected).toBe(true);
    await until(() => names().length === 4, 'the log of the broker');
    expect(names()).toEqual(['first', 'first', 'first', 'second']);
    expect(events).toEqual([]);
  });

  it('replaces a certificate that expires soon as soon as there is a new one, and warns before', async () => {
    const { url, mosquitto } = await broker(server, MUTUAL);
    const files = deviceFiles(authority.issue({ name: 'dev1', fromDays: -60, untilDays: 5 }));
    const seen = await mosquitto.record(topics.status);
    const { ups, link, events } = started(
      linkOptions(url, { ca: authority.ca, ...files, tuning: { checkEveryMs: 100 } }),
    );
    await until(() => ups.length === 1, 'the birth');
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
    await until(() => ups.length === 2, 'the new connection');
    await until(() => link.stats().faults?.length === 0, 'the end of the warning');
    await until(() => statesOf(seen).length >= 4, 'online');
    expect(statesOf(seen)).toEqual(['starting', 'online', 'offline', 'online']);
    await wait(400);
    expect(ups).toHaveLength(2);
    expect(events).toHaveLength(1);
  });

  it('warns before the certificate of the broker expires', async () => {
    const { url } = await broker(
      authority.issue({ name: 'localhost', names: LOCAL, fromDays: -60, untilDays: 3 }),
    );
    const { link, events } = started(linkOptions(url, { ca: authority.ca }));
    await until(() => events.length === 1, 'the warning');
    expect(events).toMatchObject([{ type: 'mqtt_certificate_expiring', context: { whose: 'broker' } }]);
    expect(link.stats().faults).toEqual(['certificate_expiring:broker']);
  });

  it('goes on with the old certificate when the broker refuses the new one', async () => {
    const { url, mosquitto } = await broker(server, MUTUAL);
    const files = deviceFiles(authority.issue({ name: 'dev1', fromDays: -60, untilDays: 5 }));
    const { ups, events, link } = started(
      linkOptions(url, { ca: authority.ca, ...files, tuning: { checkEveryMs: 100 } }),
    );
    await until(() => ups.length === 1, 'the birth');
    const stranger = otherAuthority();
    files.replace(stranger.issue({ name: 'dev1' }));
    await until(() => ups.length === 2, 'the link by the old certificate');
    await until(() => events.some(({ type }) => type === 'mqtt_refused'), 'the event');
    await wait(500);
    expect(ups).toHaveLength(2);
    files.replace(authority.issue({ name: 'dev1' }));
    await until(() => ups.length === 3, 'the link by the right certificate');
    await until(() => link.stats().faults?.length === 0, 'no trouble');
    await again(mosquitto, ups, 4);
  });

  it('reads the password again when its file changes: at once when it was refused, never half of it', async () => {
    const mosquitto = await Mosquitto.start({ users: { dev1: 'second' } });
    cleanups.push(() => mosquitto.stop());
    const dir = tempDir('swellsight-pw-');
    cleanups.push(() => dir.remove());
    const passwordFile = join(dir.path, 'password');
    writeFileSync(passwordFile, 'first\n');
    const { ups, events } = started(
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
    // Within one look, and not after the two minutes.
    await until(() => ups.length === 1, 'the birth', 60_000);
    truncateSync(passwordFile);
    await wait(SETTLED_MS);
    await again(mosquitto, ups, 2);
    expect(events).toHaveLength(1);
  });
});

/** Kills the broker and waits for the next birth. */
async function again(mosquitto: Mosquitto, ups: readonly number[], wanted: number): Promise<void> {
  await mosquitto.down('SIGKILL');
  await mosquitto.up();
  await until(() => ups.length === wanted, `birth ${wanted}`);
}
