import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { describe, expect, it } from 'vitest';
import { runCli, type CliResult } from '../../fixtures/cli.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { linkOptions, topics as linkTopics } from '../../fixtures/link.ts';
import { until, type Mosquitto } from '../../fixtures/mosquitto.ts';
import { createNodeId } from '../../../src/mqtt/discovery/discovery-message.ts';
import { Topics } from '../../../src/mqtt/topics.ts';

const NAMES = { site: 'home', device: 'pi' };
const topics = new Topics({ base: 'swellsight/v1', ...NAMES });
const DISCOVERY = `homeassistant/device/${createNodeId(NAMES, topics)}/config`;
const OTHERS = [
  'swellsight/v1/home/pi2/status',
  'swellsight/v1/home/other/info',
  'homeassistant/device/x/config',
];
/** The command lines of docs/mqtt.md: the first one lists, the second one clears. */
const DOCS = readFileSync(join(import.meta.dirname, '../../../docs/mqtt.md'), 'utf8');
const [LIST = '', CLEAR = ''] = [...DOCS.matchAll(/^swellsight (fleet forget [^#\n]*)/gm)].map(
  ([, line]) => line ?? '',
);

describe('fleet forget', () => {
  const bed = new LinkTestBed();

  async function retain(client: MqttClient, names: readonly string[], text = '{}'): Promise<void> {
    for (const topic of names) await client.publishAsync(topic, text, { qos: 1, retain: true });
  }
  const forget = (broker: Mosquitto, ...args: string[]): Promise<CliResult> =>
    runCli(['fleet', 'forget', '--broker', broker.url, ...args]);
  const runDocs = (line: string, broker: Mosquitto, ...more: string[]): Promise<CliResult> =>
    runCli([...line.trim().replace('mqtt://localhost', broker.url).split(/ +/), ...more]);
  async function retained(broker: Mosquitto): Promise<string[]> {
    const kept = await broker.record('#');
    const client = await broker.client();
    await client.publishAsync('end', '1', { qos: 1 });
    await until(() => kept.some(({ topic }) => topic === 'end'), 'the end of the retained messages');
    return kept.filter((message) => message.retain).map(({ topic }) => topic);
  }

  it('lists what a device left, and clears exactly that with --yes', async () => {
    const broker = await bed.broker();
    const client = await broker.client();
    const left = [DISCOVERY, ...['info', 'camera/north/latest'].map((topic) => topics.absolute(topic))];
    await retain(client, [...OTHERS, ...left]);
    await retain(
      client,
      [topics.status],
      JSON.stringify({ state: 'offline', session: 's', at: '2026-01-01T00:00:00.000Z' }),
    );
    const listed = await runDocs(LIST, broker);
    expect([listed.code, listed.stderr]).toEqual([1, '']);
    for (const topic of [...left, topics.status, '--yes']) expect(listed.stdout).toContain(topic);
    expect(await retained(broker)).toHaveLength(OTHERS.length + left.length + 1);
    const cleared = await runDocs(CLEAR, broker, '--json');
    expect(cleared.json()).toEqual({
      device: 'home/pi',
      topics: [...left.toSorted(), topics.status],
      left: [],
    });
    expect(cleared.code).toBe(0);
    expect((await retained(broker)).toSorted()).toEqual(OTHERS.toSorted());
    const again = await runDocs(CLEAR, broker);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('retains nothing of home/pi')]);
  }, 60_000);

  it('refuses a device that is online; after --force, the device publishes all states again', async () => {
    const broker = await bed.broker();
    const { link, births } = bed.link(linkOptions(broker.url));
    link.setState('info', { n: 1 });
    await until(() => births.length === 1, 'the birth');
    const refused = await forget(broker, 'test/dev1', '--yes');
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('test/dev1 is online')]);
    const seen = await broker.record(linkTopics.absolute('info'));
    const forced = await forget(broker, 'test/dev1', '--yes', '--force', '--json');
    expect(forced.json()).toMatchObject({ topics: [linkTopics.absolute('info'), linkTopics.status] });
    await until(() => seen.length === 3, 'info: retained, cleared, and published again');
    expect(seen.map(({ payload }) => payload.toString())).toEqual(['{"n":1}', '', '{"n":1}']);
  }, 60_000);

  it('says that the broker refuses to clear, and asks for one device', async () => {
    const broker = await bed.broker({
      users: { dev: 'd', reader: 'r' },
      acl: ['user dev', 'topic write swellsight/#', 'user reader', 'topic read swellsight/#'],
    });
    await retain(await broker.client({ username: 'dev', password: 'd' }), [topics.status]);
    const url = broker.url.replace('://', '://reader:r@');
    const result = await runCli(['fleet', 'forget', 'home/pi', '--broker', url, '--yes']);
    expect([result.code, result.stderr]).toEqual([1, expect.stringContaining('such as `admin`')]);
    for (const [args, text] of [
      [['test/+'], 'is not one device'],
      [['test/dev1', '--base', '+'], '--base +: wanted'],
      [['test/dev1', '--home-assistant-prefix', '#'], '--home-assistant-prefix #: wanted'],
    ] as const) {
      const pattern = await forget(broker, ...args, '--yes');
      expect([pattern.code, pattern.stderr]).toEqual([2, expect.stringContaining(text)]);
    }
  }, 60_000);
});
