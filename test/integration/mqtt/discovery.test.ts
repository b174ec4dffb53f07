import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { Discovery } from '../../../src/mqtt/discovery/discovery.ts';
import { DISCOVERY_INPUT } from '../../fixtures/discovery-input.ts';
import { HomeAssistant } from '../../fixtures/home-assistant.ts';
import { linkOptions, startLink, topics } from '../../fixtures/link.ts';
import { Mosquitto, until, type Message } from '../../fixtures/mosquitto.ts';
import { openStore, silentLog, tempDir } from '../../fixtures/store.ts';

/** Discovery with the real link, broker and store. */
describe('Discovery on mosquitto', () => {
  const dir = tempDir();
  let broker: Mosquitto;
  let messages: Message[];
  const home = new HomeAssistant();
  let readCount = 0;
  const passMessages = (): HomeAssistant => {
    for (; readCount < messages.length; readCount += 1) home.receive(messages[readCount] as Message);
    return home;
  };
  const configs = (): Message[] => messages.filter(({ topic }) => topic.endsWith('/config'));

  /** Starts one run of the agent, with its own connection to the store. */
  const startRun = (cameras: string[], enabled = true) => {
    const store = openStore(dir.path, systemClock);
    const ended = new AbortController();
    const settings = { enabled, prefix: 'homeassistant' };
    const input = { ...DISCOVERY_INPUT, site: 'test', device: 'dev1', cameras };
    const { link } = startLink(linkOptions(broker.url), { onConnected: () => discovery.linkUp() });
    const discovery: Discovery = new Discovery(
      { settings: () => settings, describe: () => input, removalNoticeMs: 300 },
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

  it('publishes removed entities as removed, then omits them, and leaves the rest retained', async () => {
    const first = startRun(['a', 'b']);
    await until(() => passMessages().entities.size > 30, 'the device');
    await first.stop();

    const second = startRun(['a']);
    await until(() => configs().length >= 3, 'the removal notice and the next message');
    await second.stop();
    const [, notice, rest] = configs().map(
      ({ payload }) => (JSON.parse(payload.toString()) as { components: Record<string, object> }).components,
    );
    expect(notice?.['b.height']).toEqual({ platform: 'sensor' });
    expect(Object.keys(rest ?? {}).filter((id) => id.startsWith('b.'))).toEqual([]);
    expect([...passMessages().entities.keys()].filter((id) => id.includes('_b.'))).toEqual([]);
    const retained = await broker.record('homeassistant/#');
    await until(() => retained.length > 0, 'the retained message');
    expect(retained.map(({ retain, payload }) => [retain, payload.toString()])).toEqual([
      [true, configs()[2]?.payload.toString()],
    ]);
  });

  it('publishes again after the broker lost its retained messages, and not without a change', async () => {
    const { stop, discovery, link } = startRun(['a']);
    const before = configs().length;
    await until(() => configs().length > before, 'the birth');
    await broker.down('SIGKILL');
    await until(() => !link.connected, 'the lost connection');
    await broker.up();
    // The broker has no persistence. The recorder reconnects automatically.
    await until(() => configs().length > before + 1, 'the next birth');
    for (let i = 0; i < 10; i += 1) discovery.refresh();
    await systemClock.sleep(200);
    expect(configs().length).toBe(before + 2);
    await stop();
  });

  it('removes the device when discovery is disabled at runtime', async () => {
    const { stop, discovery, settings } = startRun(['a']);
    await until(() => passMessages().entities.size > 10, 'the device');
    settings.enabled = false;
    discovery.refresh();
    await until(() => passMessages().entities.size === 0, 'an empty registry');
    await stop();
    expect(home.faults).toEqual([]);
  });
});
