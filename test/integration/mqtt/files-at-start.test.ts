import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Health } from '../../../src/contract/health.ts';
import { RunningAgent } from '../../fixtures/agent.ts';
import { Authority, type CertificateFiles } from '../../fixtures/certificates.ts';
import { runCli } from '../../fixtures/cli.ts';
import { freePort, Mosquitto } from '../../fixtures/mosquitto.ts';
import { imagesOf } from '../../fixtures/sea-camera.ts';

const CAMERA = imagesOf('sea', 5);
const TIMEOUT_MS = 240_000;

/** An interrupted renewal may leave each of these. `null`: the file is missing. */
const LEFTOVERS: Readonly<
  Record<string, Partial<Record<'ca' | 'cert' | 'key' | 'password', string | null>>>
> = {
  'the key of another certificate': { key: 'other' },
  'an empty certificate': { cert: '' },
  'half a certificate': { cert: 'half' },
  'no key': { key: null },
  'an empty password': { password: '' },
  'no password and no authority': { password: null, ca: null },
};

// The agents mostly wait for the files.
describe.concurrent('an agent that finds unusable files for the broker at its start', () => {
  let authority: Authority;
  let broker: Mosquitto;
  let own: CertificateFiles;
  let other: CertificateFiles;

  beforeAll(async () => {
    authority = new Authority();
    const server = authority.issue({ name: 'localhost', names: 'DNS:localhost,IP:127.0.0.1' });
    own = authority.issue({ name: 'pi' });
    other = authority.issue({ name: 'pi' });
    const port = await freePort();
    broker = await Mosquitto.start({
      port,
      users: { pi: 'secret' },
      lines: [
        ...[`cafile ${authority.ca}`, `certfile ${server.cert}`, `keyfile ${server.key}`],
        'require_certificate true',
      ],
    });
  });
  afterAll(async () => {
    await broker.stop();
    authority[Symbol.dispose]();
  });

  it.each(Object.entries(LEFTOVERS))(
    'observes, reports them, and connects when they are complete: %s',
    async (_, leftovers) => {
      const dir = mkdtempSync(join(tmpdir(), 'swellsight-files-'));
      using _dir = { [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
      const path = (name: string): string => join(dir, name);
      const good = { ca: authority.ca, cert: own.cert, key: own.key };
      const texts = {
        ...Object.fromEntries(Object.entries(good).map(([name, file]) => [name, readFileSync(file, 'utf8')])),
        password: 'secret',
      } as Record<'ca' | 'cert' | 'key' | 'password', string>;
      for (const [name, text] of Object.entries(texts)) {
        const leftover = leftovers[name as keyof typeof texts];
        if (leftover === null) continue;
        const replaced: Record<string, string> = {
          other: readFileSync(other.key, 'utf8'),
          half: text.slice(0, text.length / 2),
        };
        writeFileSync(path(name), leftover === undefined ? text : (replaced[leftover] ?? leftover));
      }
      const config = {
        mqtt: {
          url: `mqtts://localhost:${String(broker.port)}`,
          username: 'pi',
          password_file: path('password'),
          ...{ ca: path('ca'), cert: path('cert'), key: path('key') },
        },
        cameras: [CAMERA],
        heartbeat: { intervalS: 1 },
      };
      await using agent = await RunningAgent.start(config);
      await agent.waitFor('the fault', ({ msg }) => msg?.startsWith('no connection to the broker') === true);
      await agent.observation();
      await agent.waitFor('the refusal', ({ code }) => code === 'mqtt_refused');
      const health = (await agent.json('/api/v1/status'))['health'] as Health;
      expect(health.outbox.depth).toBeGreaterThan(0);

      const checked = await runCli(['check-config', '--config', join(agent.stateDir, 'test-config.json')]);
      expect(checked.code).toBe(78);
      expect(checked.stderr).toMatch(/^mqtt\.(ca|cert|key|password_file): given/);

      for (const [name, text] of Object.entries(texts)) writeFileSync(path(name), text);
      await agent.waitFor('the connection', ({ msg }) => msg === 'connected');
    },
    TIMEOUT_MS,
  );

  it(
    'reports them as degraded',
    // A concurrent test needs an `expect` of its own to poll.
    async ({ expect }) => {
      const config = {
        mqtt: { url: `mqtts://localhost:${String(broker.port)}`, cert: own.cert, key: other.key },
        cameras: [CAMERA],
        heartbeat: { intervalS: 1 },
      };
      await using agent = await RunningAgent.start(config);
      await agent.waitFor('start', ({ msg }) => msg === 'agent started');
      const degraded = async (): Promise<readonly string[]> =>
        ((await agent.json('/api/v1/status'))['health'] as Health).degraded;
      await expect
        .poll(degraded, { timeout: 120_000, interval: 500 })
        .toEqual(expect.arrayContaining(['credentials_unusable']));
    },
    TIMEOUT_MS,
  );
});
