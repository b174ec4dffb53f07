import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { COMMAND_ARGS } from '../../../src/contract/command.ts';
import { Discovery } from '../../../src/mqtt/discovery/discovery.ts';
import { HomeAssistant } from '../../fixtures/home-assistant.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { Mosquitto, until, type Message } from '../../fixtures/mosquitto.ts';
import { openStore, silentLog, tempDir } from '../../fixtures/store.ts';

/** Discovery over the real link and a real broker, remembered in a real store. */
describe('discovery', () => {
  const dir = tempDir();
  let broker: Mosquitto;
  let messages: Message[];
  const home = new HomeAssistant();
  let read = 0;
  const listen = (): HomeAssistant => {
    for (; read < messages.length; read += 1) home.receive(messages[read] as Message);
    return home;
  };
  const configs = (): Message[] => messages.filter(({ topic }) => topic.endsWith('/config'));

  /** One run of the agent: the store is opened and closed again by it. */
  const run = (cameras: string[], enabled = true) => {
    const store = openStore(dir.path, systemClock);
    const ended = new AbortController();
    const settings = { enabled, prefix: 'homeassistant' };
    const input = {
      site: 'test',
      device: 'dev1',
      version: '0.1.0',
      model: null,
      cameras,
      commands: Object.keys(COMMAND_ARGS),
      heartbeatIntervalS: 30,
      pageUrl: null,
    };
    const { link } = startLink(linkOptions(broker.url), { onConnected: () => discovery.linkUp() });
    const discovery: Discovery = new Discovery(
      { settings: () => settings, describe: () => input, farewellMs: 300 },
      { topics, link, memory: store.keyValue, clock: systemClock, log: silentLog },
    );
    discovery.start(ended.signal);
    const stop = async (): Promise<void> => {
      ended.abort();
      await link.stop();
      store.close();
    };
    return { discovery, input, settings, link, stop };
  };

  beforeAll(async () => {
    broker = await Mosquitto.start();
    messages = await broker.record('homeassistant/#');
  });

  afterAll(async () => {
    await broker.stop();
    dir.remove();
  });

  it('names what is gone once, then leaves it out, and the broker keeps the rest', async () => {
    const first = run(['a', 'b']);
    await until(() => listen().entities.size > 30, 'the device');
    await first.stop();

    const second = run(['a']);
    await until(() => configs().length >= 3, 'the farewell and what follows');
    await second.stop();
    const [, farewell, rest] = configs().map(
      ({ payload }) => (JSON.parse(payload.toString()) as { components: Record<string, object> }).components,
    );
    expect(farewell?.['b.height']).toEqual({ platform: 'sensor' });
    expect(Object.keys(rest ?? {}).filter((id) => id.startsWith('b.'))).toEqual([]);
    expect([...listen().entities.keys()].filter((id) => id.includes('_b.'))).toEqual([]);
    const kept = await broker.record('homeassistant/#');
    await until(() => kept.length > 0, 'the retained message');
    expect(kept.map(({ retain, payload }) => [retain, payload.toString()])).toEqual([
      [true, configs()[2]?.payload.toString()],
    ]);
  });

  it('says it all again to a broker that lost everything, and nothing twice to one that did not', async () => {
    const { stop, discovery, link } = run(['a']);
    const before = configs().length;
    await until(() => configs().length > before, 'the birth');
    await broker.down('SIGKILL');
    await until(() => !link.connected, 'the loss');
    await broker.up();
    // Without persistence it knows nothing; the recorder comes back by itself.
    await until(() => configs().length > before + 1, 'the next birth');
    for (let i = 0; i < 10; i += 1) discovery.refresh();
    await systemClock.sleep(200);
    expect(configs().length).toBe(before + 2);
    await stop();
  });

  it('takes the device back when it is switched off while it runs', async () => {
    const { stop, discovery, settings } = run(['a']);
    await until(() => listen().entities.size > 10, 'the device');
    settings.enabled = false;
    discovery.refresh();
    await until(() => listen().entities.size === 0, 'an empty registry');
    await stop();
    expect(home.faults).toEqual([]);
  });
});
