import { describe, expect, it } from 'vitest';
import { COMMAND_ARGS } from '../../../../src/contract/command.ts';
import { HomeAssistantDevice } from '../../../../src/contract/home-assistant.ts';
import { CommandReader } from '../../../../src/mqtt/commands/command-reader.ts';
import { Discovery } from '../../../../src/mqtt/discovery/discovery.ts';
import type { DiscoveryInput } from '../../../../src/mqtt/discovery/drafts.ts';
import { describeForHomeAssistant } from '../../../../src/mqtt/discovery/entities.ts';
import { Topics } from '../../../../src/mqtt/topics.ts';
import type { Link, LinkStats, PublishOptions } from '../../../../src/mqtt/types.ts';
import type { KeyValue } from '../../../../src/store/types.ts';
import { CannedAgent, observation, install } from '../../../fixtures/agent-api.ts';
import { contractFault } from '../../../fixtures/contract.ts';
import { discoveryFaults, HomeAssistant } from '../../../fixtures/home-assistant.ts';
import { ManualClock, silentLog } from '../../../fixtures/store.ts';

const topics = new Topics({ base: 'swellsight/v1', site: 'home', device: 'pi.4' });
const INPUT: DiscoveryInput = {
  site: 'home',
  device: 'pi.4',
  version: '0.1.0',
  model: 'Raspberry Pi 4 Model B',
  cameras: ['north', 'south.pier'],
  commands: Object.keys(COMMAND_ARGS),
  heartbeatIntervalS: 30,
  pageUrl: 'http://192.168.1.9:8080/',
};
const TOPIC = /^homeassistant\/device\/swellsight_home_pi-4_[0-9a-f]{8}\/config$/;

/** A broker that keeps what is retained, with a wire that can be cut. */
class Wire implements Link {
  connected = true;
  readonly maxPayloadBytes = 1_000_000;
  readonly said: { topic: string; text: string }[] = [];
  readonly states = new Map<string, string>();
  readonly retained = new Map<string, string>();

  setState(topic: string, payload: unknown, options: { readonly absolute?: boolean } = {}): void {
    expect(options.absolute).toBe(true);
    const text = payload === null ? '' : JSON.stringify(payload);
    this.states.set(topic, text);
    if (this.connected) this.#take(topic, text);
  }

  publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    expect(options).toMatchObject({ qos: 1, retain: true, absolute: true });
    if (!this.connected) return Promise.reject(new Error('no link'));
    this.#take(topic, String(payload));
    return Promise.resolve();
  }

  /** As the link does at each CONNACK. */
  birth(): void {
    this.connected = true;
    for (const [topic, text] of this.states) this.#take(topic, text);
  }

  stats = (): LinkStats => ({
    connectedSinceMs: null,
    reconnects1h: 0,
    rttMs: null,
    broker: null,
    protocolVersion: 5,
  });

  #take(topic: string, text: string): void {
    this.said.push({ topic, text });
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

/** A clock whose sleepers wait for the test. */
class HeldClock extends ManualClock {
  #wake: (() => void)[] = [];
  override sleep(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }
  async pass(): Promise<void> {
    for (const wake of this.#wake.splice(0)) wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** One run of the agent. */
function run(
  memory: KeyValue,
  over: { wire?: Wire; cameras?: string[]; enabled?: boolean; prefix?: string } = {},
) {
  const wire = over.wire ?? new Wire();
  const clock = new HeldClock();
  const settings = { enabled: over.enabled ?? true, prefix: over.prefix ?? 'homeassistant' };
  const input = { ...INPUT, cameras: over.cameras ?? INPUT.cameras };
  const discovery = new Discovery(
    { settings: () => settings, describe: () => input },
    { topics, link: wire, memory, clock, log: silentLog },
  );
  discovery.start(new AbortController().signal);
  return { wire, clock, settings, input, discovery };
}

const componentsOf = (text: string | undefined): Record<string, object> =>
  (JSON.parse(text ?? '{}') as { components: Record<string, object> }).components;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the discovery message', () => {
  const payload = describeForHomeAssistant(INPUT, topics);

  it('is what Home Assistant takes, with nothing left over', () => {
    expect(discoveryFaults('homeassistant/device/n/config', { ...payload })).toEqual([]);
  });

  it('is what the contract says', () => {
    expect(HomeAssistantDevice.$id).toBe('swellsight.home_assistant_device/1');
    expect(contractFault('homeassistant/device/n/config', Buffer.from(JSON.stringify(payload)))).toBeNull();
  });

  it('would be refused with a unit that does not fit, a missing unique_id, an option of another platform', () => {
    const spoil = (more: object): string[] => {
      const height = { ...payload.components['north.height'], ...more };
      return discoveryFaults('homeassistant/device/n/config', {
        ...payload,
        components: { height: height },
      });
    };
    expect(spoil({ unit_of_measurement: 'kg' }).join()).toContain('not measured in');
    expect(spoil({ unique_id: undefined, state_topic: 'a/#' }).join()).toMatch(
      /state_topic cannot.*unique_id cannot/,
    );
    expect(spoil({ command_template: '{{ 1 }}' })).toEqual(['height: no option command_template']);
    expect(discoveryFaults('homeassistant/device/a.b/config', { ...payload }).join()).toContain('illegal');
  });

  it('shows every camera, and no button for a command that is not there', () => {
    const few = describeForHomeAssistant(
      { ...INPUT, cameras: ['north'], commands: ['ping'], pageUrl: null },
      topics,
    );
    const platforms = Object.values(few.components).map(({ platform }) => platform);
    expect(platforms).not.toContain('button');
    expect(platforms).not.toContain('image');
    expect(few.device).not.toHaveProperty('configuration_url');
    const all = Object.keys(payload.components);
    for (const camera of INPUT.cameras)
      for (const id of [
        'height',
        'direction',
        'breaking',
        'period',
        'quality',
        'state',
        'frame_age',
        'capture',
      ])
        expect(all).toContain(`${camera}.${id}`);
    for (const id of [
      'cpu_temperature',
      'load',
      'memory',
      'disk_free',
      'outbox',
      'started',
      'degraded',
      'model',
    ])
      expect(all).toContain(id);
  });

  it('has another name for each device, however site and device are cut', () => {
    const names = [
      ['a_b', 'c'],
      ['a', 'b_c'],
      ['a.b', 'c'],
    ].map(([site = '', device = '']) => {
      const own = new Topics({ base: 'swellsight/v1', site, device });
      return describeForHomeAssistant({ ...INPUT, site, device }, own).device.identifiers[0];
    });
    expect(new Set(names).size).toBe(3);
  });
});

describe('what Home Assistant shows', () => {
  const agent = new CannedAgent();
  const home = new HomeAssistant();
  const tell = (topic: string, message: unknown): void =>
    home.receive({ topic, payload: Buffer.from(JSON.stringify(message)) });
  const state = (component: string): string | undefined => home.states.get(home.find(component));
  tell('homeassistant/device/n/config', describeForHomeAssistant(INPUT, topics));
  const cameras = [{ id: 'north', state: 'up', last_frame_age_s: 2.5, failures_1h: 0, next_run_at: null }];
  const health = { ...agent.health(), cameras };

  it('a record', () => {
    tell(topics.absolute('camera/north/latest'), observation);
    expect([state('north.height'), state('north.height_low'), state('north.height_high')]).toEqual([
      '1.2',
      '0.9',
      '1.5',
    ]);
    expect(state('north.quality')).toBe('100');
    expect(state('north.observation')).toBe('measured');
    expect(home.attributes.get(home.find('north.observation'))).toMatchObject({
      id: observation.id,
      labels: 3,
    });
    // Not known on the wire: null, which is never shown as a number.
    expect([state('north.period'), state('north.direction'), state('north.confidence')]).toEqual(
      Array(3).fill('unknown'),
    );
    expect(home.faults).toEqual([]);
  });

  it('a record without a measurement', () => {
    const wave = { ...observation.wave, height_m: null, height_low_m: null, direction: 'LEFT' };
    const quality = { ...observation.quality, score: null };
    tell(topics.absolute('camera/north/latest'), { ...observation, status: 'failed', wave, quality });
    expect([state('north.height'), state('north.height_low'), state('north.quality')]).toEqual(
      Array(3).fill('unknown'),
    );
    expect(state('north.direction')).toBe('LEFT');
    expect(home.faults).toEqual([]);
  });

  it('a heartbeat', () => {
    tell(topics.absolute('health'), { ...health, degraded: ['link_flapping'] });
    expect([state('outbox'), state('memory'), state('degraded')]).toEqual(['0', '90', 'ON']);
    expect(home.attributes.get(home.find('degraded'))).toEqual({ codes: ['link_flapping'] });
    expect(state('north.frame_age')).toBe('2.5');
    // A camera that the heartbeat does not know yet.
    expect(state('south.pier.frame_age')).toBe('unknown');
    expect(state('cpu_temperature')).toBe('unknown');
    tell(topics.absolute('health'), health);
    expect(state('degraded')).toBe('OFF');
    expect(home.faults).toEqual([]);
  });

  it('one time of the start, though the uptime counts whole seconds', () => {
    const shown = new Set<string | undefined>();
    for (let beat = 1; beat <= 50; beat += 1) {
      const at = new Date(Date.UTC(2026, 4, 1, 12, 0, 0, 700) + beat * 30_123).toISOString();
      tell(topics.absolute('health'), { ...health, at, uptime_s: Math.round(beat * 30.123) });
      shown.add(state('started'));
    }
    expect(shown.size).toBe(1);
    const [started = ''] = shown;
    expect(Math.abs(Date.parse(started) - Date.UTC(2026, 4, 1, 12))).toBeLessThan(2000);
    // After a restart it is another.
    tell(topics.absolute('health'), { ...health, at: '2026-05-02T00:00:00.000Z', uptime_s: 60 });
    expect(state('started')).toBe('2026-05-01T23:59:00.000+00:00');
  });

  it('the model, and one that is on its way', () => {
    const { model } = agent.status();
    tell(topics.absolute('model/state'), model);
    expect(JSON.parse(state('model') ?? '')).toEqual({
      installed_version: '1.0.0',
      latest_version: '1.0.0',
      title: 'gauge',
      in_progress: false,
      update_percentage: null,
    });
    tell(topics.absolute('model/state'), { ...model, install: { ...install, percent: 40 } });
    expect(JSON.parse(state('model') ?? '')).toMatchObject({
      installed_version: '1.0.0',
      latest_version: '1.1.0',
      in_progress: true,
      update_percentage: 40,
    });
    const failed = { ...install, phase: 'failed', in_progress: false };
    tell(topics.absolute('model/state'), { ...model, install: failed });
    expect(JSON.parse(state('model') ?? '')).toMatchObject({ latest_version: '1.0.0', in_progress: false });
    tell(topics.absolute('model/state'), { ...model, active: null });
    expect(state('model')).toBe('');
    expect(home.faults).toEqual([]);
  });

  it.each(['starting', 'online', 'stopped', 'offline'])('%s: there only when it is online', (said) => {
    tell(topics.status, { state: said, session: 's', at: observation.captured_at });
    expect(home.availability.get(topics.status)).toBe(said === 'online' ? 'online' : 'offline');
  });

  it('a button: a command that the device takes, with another id at each press', () => {
    const reader = new CommandReader();
    for (const component of ['north.capture', 'south.pier.capture', 'north.take_image', 'restart']) {
      const presses = [1, 2, 3].map(() => home.press(home.find(component)));
      expect(new Set(presses.map(({ payload }) => payload)).size).toBe(3);
      for (const { topic, payload } of presses) {
        const name = topics.commandName(topic) ?? '';
        const input = reader.read(name, Buffer.from(payload));
        expect(input, payload).toMatchObject({ ok: true });
        if (component.endsWith('capture'))
          expect(JSON.parse(payload)).toMatchObject({ args: { camera: component.replace('.capture', '') } });
        const { expires_at } = JSON.parse(payload) as { expires_at: string };
        expect(Date.parse(expires_at) - Date.now()).toBeGreaterThan(60_000);
      }
    }
  });
});

describe('clean-up', () => {
  it('says nothing, and writes nothing, when it is not wanted and never was', () => {
    const memory = new Memory();
    const { wire, discovery } = run(memory, { enabled: false });
    discovery.linkUp();
    expect(wire.said).toEqual([]);
    expect(memory.writes).toBe(0);
  });

  it('says it once, however often it is asked', () => {
    const memory = new Memory();
    const { wire, discovery } = run(memory);
    for (let i = 0; i < 5; i += 1) discovery.refresh();
    discovery.linkUp();
    expect(wire.said.length).toBe(1);
    expect(wire.said[0]?.topic).toMatch(TOPIC);
    expect(memory.writes).toBe(1);
  });

  it('a camera that is gone after a restart: named once with its platform alone, then left out', async () => {
    const memory = new Memory();
    run(memory);
    const { wire, clock, discovery } = run(memory, { cameras: ['north'] });
    discovery.linkUp();
    const [topic = ''] = wire.retained.keys();
    const farewell = componentsOf(wire.retained.get(topic));
    expect(farewell['south.pier.height']).toEqual({ platform: 'sensor' });
    expect(farewell['south.pier.capture']).toEqual({ platform: 'button' });
    expect(farewell['north.height']).toHaveProperty('unique_id');
    await clock.pass();
    const after = componentsOf(wire.retained.get(topic));
    expect(Object.keys(after).filter((id) => id.startsWith('south'))).toEqual([]);
    expect(after['north.height']).toEqual(farewell['north.height']);
    // And the next run knows nothing of it.
    const next = run(memory, { cameras: ['north'] });
    expect(componentsOf([...next.wire.retained.values()][0])).toEqual(after);
  });

  it('a power cut before the farewell is over: the next run says it again', () => {
    const memory = new Memory();
    run(memory);
    run(memory, { cameras: ['north'] });
    const { wire } = run(memory, { cameras: ['north'] });
    expect(componentsOf([...wire.retained.values()][0])['south.pier.height']).toEqual({ platform: 'sensor' });
  });

  it('without a link the farewell waits for the next birth, and begins anew there', async () => {
    const memory = new Memory();
    const { wire, clock, input, discovery } = run(memory);
    wire.connected = false;
    Object.assign(input, { cameras: ['north'] });
    discovery.refresh();
    await clock.pass();
    const [topic = ''] = wire.states.keys();
    expect(componentsOf(wire.states.get(topic))).toMatchObject({
      'south.pier.height': { platform: 'sensor' },
    });
    wire.birth();
    discovery.linkUp();
    expect(componentsOf(wire.retained.get(topic))['south.pier.height']).toEqual({ platform: 'sensor' });
    wire.connected = false;
    await clock.pass();
    expect(componentsOf(wire.states.get(topic))['south.pier.height']).toEqual({ platform: 'sensor' });
    wire.birth();
    discovery.linkUp();
    await clock.pass();
    expect(componentsOf(wire.retained.get(topic))['south.pier.height']).toBeUndefined();
  });

  it('a camera that comes back during its farewell is whole again', async () => {
    const memory = new Memory();
    const { wire, clock, input, discovery } = run(memory);
    Object.assign(input, { cameras: ['north'] });
    discovery.refresh();
    Object.assign(input, { cameras: INPUT.cameras });
    discovery.refresh();
    await clock.pass();
    const components = componentsOf([...wire.retained.values()][0]);
    expect(components['south.pier.height']).toHaveProperty('unique_id');
  });

  it('switched off after a restart: the whole device is taken back, once', async () => {
    const memory = new Memory();
    const { wire: broker } = run(memory);
    const [topic = ''] = broker.retained.keys();
    const { wire, discovery } = run(memory, {
      enabled: false,
      wire: Object.assign(new Wire(), { connected: false }),
    });
    expect(wire.said).toEqual([]);
    wire.birth();
    discovery.linkUp();
    await settled();
    expect(wire.said).toEqual([{ topic, text: '' }]);
    wire.birth();
    discovery.linkUp();
    await settled();
    expect(wire.said.length).toBe(1);
  });

  it('another prefix: the old topic is emptied, the new one holds the device', async () => {
    const memory = new Memory();
    const { wire, settings, discovery } = run(memory);
    const [old = ''] = wire.retained.keys();
    settings.prefix = 'ha';
    discovery.refresh();
    await settled();
    expect([...wire.retained.keys()]).toEqual([old.replace('homeassistant', 'ha')]);
    settings.prefix = 'homeassistant';
    discovery.refresh();
    await settled();
    wire.birth();
    discovery.linkUp();
    await settled();
    expect([...wire.retained.keys()]).toEqual([old]);
  });

  it('switched off without a link: never said again at a birth, and taken back then', async () => {
    const memory = new Memory();
    const { wire, settings, discovery } = run(memory);
    wire.connected = false;
    settings.enabled = false;
    discovery.refresh();
    wire.birth();
    discovery.linkUp();
    await settled();
    expect([...wire.retained.keys()]).toEqual([]);
    expect(wire.said.slice(1).map(({ text }) => text)).toEqual(wire.said.slice(1).map(() => ''));
  });

  it('goes on with a memory that is damaged or cannot be written', () => {
    const memory = new Memory();
    memory.values.set('home_assistant.published', '{"components"');
    memory.set = () => {
      throw new Error('disk full');
    };
    expect(run(memory).wire.retained.size).toBe(1);
  });

  it('leaves nothing behind in Home Assistant', async () => {
    const memory = new Memory();
    const home = new HomeAssistant();
    const first = run(memory);
    const second = run(memory, { cameras: ['north'] });
    second.discovery.linkUp();
    await second.clock.pass();
    const third = run(memory, { enabled: false });
    third.discovery.linkUp();
    await settled();
    const counts = [first, second, third].map(({ wire }) => {
      for (const { topic, text } of wire.said) home.receive({ topic, payload: Buffer.from(text) });
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
