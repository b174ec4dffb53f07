import { describe, expect, it } from 'vitest';
import { Discovery } from '../../../../src/mqtt/discovery/discovery.ts';
import type { Link, LinkStats, PublishOptions } from '../../../../src/mqtt/types.ts';
import type { KeyValue } from '../../../../src/store/types.ts';
import { DISCOVERY_INPUT as INPUT, discoveryTopics as topics } from '../../../fixtures/discovery-input.ts';
import { HomeAssistant } from '../../../fixtures/home-assistant.ts';
import { ManualClock } from '../../../fixtures/manual-clock.ts';
import { silentLog } from '../../../fixtures/store.ts';

const TOPIC = /^homeassistant\/device\/swellsight_home_pi-4_[0-9a-f]{8}\/config$/;

/** A link to a broker that keeps retained messages. The test sets `connected`. */
class FakeLink implements Link {
  connected = true;
  readonly maxPayloadBytes = 1_000_000;
  readonly sent: { topic: string; text: string }[] = [];
  readonly states = new Map<string, string>();
  readonly retained = new Map<string, string>();

  setState(topic: string, payload: unknown, options: { readonly absolute?: boolean } = {}): void {
    expect(options.absolute).toBe(true);
    const text = payload === null ? '' : JSON.stringify(payload);
    this.states.set(topic, text);
    if (this.connected) this.#send(topic, text);
  }

  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    expect(options).toMatchObject({ qos: 1, retain: true, absolute: true });
    if (!this.connected) return Promise.reject(new Error('no link'));
    this.#send(topic, String(payload));
    return Promise.resolve();
  }

  /** Connects and publishes all states, as the link does after CONNACK. */
  birth(): void {
    this.connected = true;
    for (const [topic, text] of this.states) this.#send(topic, text);
  }

  stats = (): LinkStats => ({
    connectedSinceMs: null,
    reconnects1h: 0,
    rttMs: null,
    broker: null,
    protocolVersion: 5,
  });

  #send(topic: string, text: string): void {
    this.sent.push({ topic, text });
    if (text === '') this.retained.delete(topic);
    else this.retained.set(topic, text);
  }
}

class Memory implements KeyValue {
  readonly values = new Map<string, string>();
  writes = 0;
  get = (key: string): string | null => this.values.get(key) ?? null;
  set = (key: string, value: string): void => {
    if (this.values.get(key) !== value) this.writes += 1;
    this.values.set(key, value);
  };
  delete = (key: string): void => void this.values.delete(key);
}

const REMOVAL_NOTICE_MS = 60_000;

/** Starts discovery as one run of the agent does. */
function startRun(
  memory: KeyValue,
  overrides: { link?: FakeLink; cameras?: string[]; enabled?: boolean; prefix?: string } = {},
) {
  const link = overrides.link ?? new FakeLink();
  const clock = new ManualClock();
  const settings = { enabled: overrides.enabled ?? true, prefix: overrides.prefix ?? 'homeassistant' };
  const input = { ...INPUT, cameras: overrides.cameras ?? INPUT.cameras };
  const discovery = new Discovery(
    { settings: () => settings, describe: () => input },
    { topics, link, memory, clock, log: silentLog },
  );
  discovery.start(new AbortController().signal);
  return { link, clock, settings, input, discovery };
}

const componentsOf = (text: string | undefined): Record<string, object> =>
  (JSON.parse(text ?? '{}') as { components: Record<string, object> }).components;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Discovery', () => {
  it('publishes and stores nothing while it was never enabled', () => {
    const memory = new Memory();
    const { link, discovery } = startRun(memory, { enabled: false });
    discovery.linkUp();
    expect(link.sent).toEqual([]);
    expect(memory.writes).toBe(0);
  });

  it('publishes an unchanged message once', () => {
    const memory = new Memory();
    const { link, discovery } = startRun(memory);
    for (let i = 0; i < 5; i += 1) discovery.refresh();
    discovery.linkUp();
    expect(link.sent.length).toBe(1);
    expect(link.sent[0]?.topic).toMatch(TOPIC);
    expect(memory.writes).toBe(1);
  });

  it('publishes the entities of a removed camera with their platform only, then omits them', async () => {
    const memory = new Memory();
    startRun(memory);
    const { link, clock, discovery } = startRun(memory, { cameras: ['north'] });
    discovery.linkUp();
    const [topic = ''] = link.retained.keys();
    const notice = componentsOf(link.retained.get(topic));
    expect(notice['south.pier.height']).toEqual({ platform: 'sensor' });
    expect(notice['south.pier.capture']).toEqual({ platform: 'button' });
    expect(notice['north.height']).toHaveProperty('unique_id');
    await clock.pass(REMOVAL_NOTICE_MS);
    const after = componentsOf(link.retained.get(topic));
    expect(Object.keys(after).filter((id) => id.startsWith('south'))).toEqual([]);
    expect(after['north.height']).toEqual(notice['north.height']);
    // The next run does not publish the removed entities.
    const next = startRun(memory, { cameras: ['north'] });
    expect(componentsOf([...next.link.retained.values()][0])).toEqual(after);
  });

  it('repeats the removal notice after a power cut', () => {
    const memory = new Memory();
    startRun(memory);
    startRun(memory, { cameras: ['north'] });
    const { link } = startRun(memory, { cameras: ['north'] });
    expect(componentsOf([...link.retained.values()][0])['south.pier.height']).toEqual({ platform: 'sensor' });
  });

  it('starts the removal notice again at the next birth when the link was down', async () => {
    const memory = new Memory();
    const { link, clock, input, discovery } = startRun(memory);
    link.connected = false;
    Object.assign(input, { cameras: ['north'] });
    discovery.refresh();
    await clock.pass(REMOVAL_NOTICE_MS);
    const [topic = ''] = link.states.keys();
    expect(componentsOf(link.states.get(topic))).toMatchObject({
      'south.pier.height': { platform: 'sensor' },
    });
    link.birth();
    discovery.linkUp();
    expect(componentsOf(link.retained.get(topic))['south.pier.height']).toEqual({ platform: 'sensor' });
    link.connected = false;
    await clock.pass(REMOVAL_NOTICE_MS);
    expect(componentsOf(link.states.get(topic))['south.pier.height']).toEqual({ platform: 'sensor' });
    link.birth();
    discovery.linkUp();
    await clock.pass(REMOVAL_NOTICE_MS);
    expect(componentsOf(link.retained.get(topic))['south.pier.height']).toBeUndefined();
  });

  it('publishes a camera completely that returns during its removal notice', async () => {
    const memory = new Memory();
    const { link, clock, input, discovery } = startRun(memory);
    Object.assign(input, { cameras: ['north'] });
    discovery.refresh();
    Object.assign(input, { cameras: INPUT.cameras });
    discovery.refresh();
    await clock.pass(REMOVAL_NOTICE_MS);
    const components = componentsOf([...link.retained.values()][0]);
    expect(components['south.pier.height']).toHaveProperty('unique_id');
  });

  it('clears the topic once when discovery is disabled before a restart', async () => {
    const memory = new Memory();
    const { link: earlierLink } = startRun(memory);
    const [topic = ''] = earlierLink.retained.keys();
    const { link, discovery } = startRun(memory, {
      enabled: false,
      link: Object.assign(new FakeLink(), { connected: false }),
    });
    expect(link.sent).toEqual([]);
    link.birth();
    discovery.linkUp();
    await settled();
    expect(link.sent).toEqual([{ topic, text: '' }]);
    link.birth();
    discovery.linkUp();
    await settled();
    expect(link.sent.length).toBe(1);
  });

  it('clears the old topic when the prefix changes', async () => {
    const memory = new Memory();
    const { link, settings, discovery } = startRun(memory);
    const [old = ''] = link.retained.keys();
    settings.prefix = 'ha';
    discovery.refresh();
    await settled();
    expect([...link.retained.keys()]).toEqual([old.replace('homeassistant', 'ha')]);
    settings.prefix = 'homeassistant';
    discovery.refresh();
    await settled();
    link.birth();
    discovery.linkUp();
    await settled();
    expect([...link.retained.keys()]).toEqual([old]);
  });

  it('clears the topic at the next birth when discovery is disabled without a link', async () => {
    const memory = new Memory();
    const { link, settings, discovery } = startRun(memory);
    link.connected = false;
    settings.enabled = false;
    discovery.refresh();
    link.birth();
    discovery.linkUp();
    await settled();
    expect([...link.retained.keys()]).toEqual([]);
    expect(link.sent.slice(1).map(({ text }) => text)).toEqual(link.sent.slice(1).map(() => ''));
  });

  it('works with a damaged or read-only memory', () => {
    const memory = new Memory();
    memory.values.set('home_assistant.published', '{"components"');
    memory.set = () => {
      throw new Error('disk full');
    };
    expect(startRun(memory).link.retained.size).toBe(1);
  });

  it('leaves no entity in Home Assistant', async () => {
    const memory = new Memory();
    const home = new HomeAssistant();
    const first = startRun(memory);
    const second = startRun(memory, { cameras: ['north'] });
    second.discovery.linkUp();
    await second.clock.pass(REMOVAL_NOTICE_MS);
    const third = startRun(memory, { enabled: false });
    third.discovery.linkUp();
    await settled();
    const counts = [first, second, third].map(({ link }) => {
      for (const { topic, text } of link.sent) home.receive({ topic, payload: Buffer.from(text) });
      return (
        [...home.entities.keys()].filter((id) => id.includes('south')).length * 1000 + home.entities.size
      );
    });
    expect(counts[0]).toBeGreaterThan(10_000);
    expect(counts[1]).toBeGreaterThan(10);
    expect(counts[1]).toBeLessThan(1000);
    expect(counts[2]).toBe(0);
    expect(home.faults).toEqual([]);
  });
});
