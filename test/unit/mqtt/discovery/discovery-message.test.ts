import { describe, expect, it } from 'vitest';
import { HomeAssistantDevice } from '../../../../src/contract/home-assistant.ts';
import { CommandReader } from '../../../../src/mqtt/commands/command-reader.ts';
import type { DiscoveryInput } from '../../../../src/mqtt/discovery/entities.ts';
import { createDiscoveryMessage } from '../../../../src/mqtt/discovery/discovery-message.ts';
import { Topics } from '../../../../src/mqtt/topics.ts';
import { CannedAgent, observation, install, seaState } from '../../../fixtures/agent-api.ts';
import { contractFault } from '../../../fixtures/contract.ts';
import { DISCOVERY_INPUT as INPUT, discoveryTopics as topics } from '../../../fixtures/discovery-input.ts';
import { discoveryFaults, HomeAssistant } from '../../../fixtures/home-assistant.ts';

describe('createDiscoveryMessage', () => {
  const message = createDiscoveryMessage(INPUT, topics);

  it('creates a message that Home Assistant accepts without ignored options', () => {
    expect(discoveryFaults('homeassistant/device/n/config', { ...message })).toEqual([]);
  });

  it('conforms to the contract', () => {
    expect(HomeAssistantDevice.$id).toBe('swellsight.home_assistant_device/1');
    expect(contractFault('homeassistant/device/n/config', Buffer.from(JSON.stringify(message)))).toBeNull();
  });

  it('is checked for unit, unique_id, topic and options of the platform', () => {
    const faultsWith = (more: object): string[] => {
      const height = { ...message.components['north.height'], ...more };
      return discoveryFaults('homeassistant/device/n/config', {
        ...message,
        components: { height: height },
      });
    };
    expect(faultsWith({ unit_of_measurement: 'kg' }).join()).toContain('not measured in');
    expect(faultsWith({ unique_id: undefined, state_topic: 'a/#' }).join()).toMatch(
      /state_topic cannot.*unique_id cannot/,
    );
    expect(faultsWith({ command_template: '{{ 1 }}' })).toEqual(['height: no option command_template']);
    expect(faultsWith({ options: [], device_class: 'enum' }).join()).toContain('empty options');
    expect(discoveryFaults('homeassistant/device/a.b/config', { ...message }).join()).toContain('illegal');
  });

  it('contains the entities of every camera, and buttons only for supported commands', () => {
    const minimal = createDiscoveryMessage(
      { ...INPUT, cameras: ['north'], commands: ['ping'], pageUrl: null },
      topics,
    );
    const platforms = Object.values(minimal.components).map(({ platform }) => platform);
    expect(platforms).not.toContain('button');
    expect(platforms).not.toContain('image');
    expect(minimal.device).not.toHaveProperty('configuration_url');
    const componentIds = Object.keys(message.components);
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
        expect(componentIds).toContain(`${camera}.${id}`);
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
      expect(componentIds).toContain(id);
  });

  it('has a different node id for each combination of site and device', () => {
    const nodeIds = [
      ['a_b', 'c'],
      ['a', 'b_c'],
      ['a.b', 'c'],
    ].map(([site = '', device = '']) => {
      const own = new Topics({ base: 'swellsight/v1', site, device });
      return createDiscoveryMessage({ ...INPUT, site, device }, own).device.identifiers[0];
    });
    expect(new Set(nodeIds).size).toBe(3);
  });
});

it('finds states and attributes that Home Assistant would refuse', () => {
  const home = new HomeAssistant();
  const json_attributes_template = "{{ {'state': 1} | tojson }}";
  const entity = {
    platform: 'sensor',
    unique_id: 'u',
    state_topic: 't',
    value_template: '{{ value_json.a }}',
  };
  const { device, origin } = createDiscoveryMessage(INPUT, topics);
  const components = { x: { ...entity, json_attributes_topic: 't', json_attributes_template } };
  const receive = (topic: string, message: object): void =>
    home.receive({ topic, payload: Buffer.from(JSON.stringify(message)) });
  receive('homeassistant/device/n/config', { device, origin, components });
  receive('t', { a: 'x'.repeat(256) });
  expect(home.faults).toEqual(['u: the state is too long', 'u: ignored attributes state']);
});

describe('Home Assistant entities', () => {
  const agent = new CannedAgent();
  const home = new HomeAssistant();
  const publish = (topic: string, message: unknown): void =>
    home.receive({ topic, payload: Buffer.from(JSON.stringify(message)) });
  const state = (component: string): string | undefined => home.states.get(home.find(component));
  publish('homeassistant/device/n/config', createDiscoveryMessage(INPUT, topics));
  const cameras = [{ id: 'north', state: 'up', last_frame_age_s: 2.5, failures_1h: 0, next_run_at: null }];
  const health = { ...agent.health(), cameras };

  it('show an observation', () => {
    publish(topics.absolute('camera/north/latest'), observation);
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
    // Null values are shown as unknown, never as a number.
    expect([state('north.period'), state('north.direction'), state('north.confidence')]).toEqual(
      Array(3).fill('unknown'),
    );
    expect(home.faults).toEqual([]);
  });

  it('show the period of observations and the newest clip of a camera that takes clips, and let them expire', () => {
    const { components } = createDiscoveryMessage(INPUT, topics);
    const geometryIds = ['breaker_height', 'breaker_height_low', 'breaker_height_high', 'tide'];
    const ids = [
      ...['period', 'period_low', 'period_high', 'second_period', ...geometryIds],
      ...['breakers', 'white_water', 'set_interval', 'clip_started', 'sea_state', 'measure_sea_state'],
    ];
    expect(ids.filter((id) => `north.${id}` in components)).toEqual(ids);
    expect(ids.filter((id) => `south.pier.${id}` in components)).toEqual(['period']);
    for (const id of ids.slice(0, -1))
      expect(components[`north.${id}`]).toMatchObject({ expire_after: 3600 });
    const period = { period_s: 13.7, period_low_s: 12.6, period_high_s: 14.5 };
    const wave = { ...observation.wave, ...period };
    publish(topics.absolute('camera/north/latest'), { ...observation, wave, simulated: true });
    const breaker = { height_m: 1.6, low_m: 1.2, high_m: 2.1, count: 23, tide_m: -0.4, reason: null };
    const clip = { ...seaState, breaker, simulated: true };
    publish(topics.absolute('camera/north/sea_state/latest'), {
      ...clip,
      period: { ...seaState.period, second_s: 7.2, mixed_sea: true },
      breaking: { ...seaState.breaking, sets: 4, set_interval_s: 118 },
    });
    const shown = Object.fromEntries(ids.slice(0, -1).map((id) => [id, state(`north.${id}`)]));
    expect(shown).toEqual({
      ...{ period: '13.7', period_low: '12.6', period_high: '14.5', second_period: '7.2' },
      ...{ breaker_height: '1.6', breaker_height_low: '1.2', breaker_height_high: '2.1', tide: '-0.4' },
      ...{ breakers: '7.5', white_water: '12', set_interval: '118' },
      ...{ clip_started: seaState.captured_at, sea_state: 'measured' },
    });
    expect(home.attributes.get(home.find('north.sea_state'))).toMatchObject({
      ...{ simulated: true, mixed_sea: true, sets: 4, breakers: 23, no_breaker_height: null },
    });
    expect(home.attributes.get(home.find('north.observation'))).toMatchObject({ simulated: true });
    publish(topics.absolute('camera/north/sea_state/latest'), {
      ...seaState,
      breaking: { white_share: null, per_minute: null, sets: null, set_interval_s: null },
    });
    for (const id of [...geometryIds, 'second_period', 'breakers', 'white_water', 'set_interval'])
      expect(state(`north.${id}`), id).toBe('unknown');
    expect(home.attributes.get(home.find('north.sea_state'))).toMatchObject({
      no_breaker_height: 'no_geometry',
    });
    expect(home.faults).toEqual([]);
  });

  it('of a camera go away with its clips and its geometry', () => {
    const idsWith = (clips: DiscoveryInput['clips']): string[] =>
      Object.keys(createDiscoveryMessage({ ...INPUT, clips }, topics).components);
    const all = idsWith(INPUT.clips);
    const withoutGeometry = idsWith({ north: { maxAgeS: 3600, hasGeometry: false } });
    expect(all.filter((id) => !withoutGeometry.includes(id))).toEqual([
      ...['north.breaker_height', 'north.breaker_height_low', 'north.breaker_height_high', 'north.tide'],
    ]);
    expect(withoutGeometry.filter((id) => !idsWith({}).includes(id))).toEqual([
      ...['north.period_low', 'north.period_high', 'north.second_period', 'north.breakers'],
      ...['north.white_water', 'north.set_interval', 'north.clip_started', 'north.sea_state'],
      'north.measure_sea_state',
    ]);
  });

  it('show an observation without a measurement as unknown', () => {
    const wave = { ...observation.wave, height_m: null, height_low_m: null, direction: 'LEFT' };
    const quality = { ...observation.quality, score: null };
    publish(topics.absolute('camera/north/latest'), { ...observation, status: 'failed', wave, quality });
    expect([state('north.height'), state('north.height_low'), state('north.quality')]).toEqual(
      Array(3).fill('unknown'),
    );
    expect(state('north.direction')).toBe('LEFT');
    expect(home.faults).toEqual([]);
  });

  it('show a heartbeat', () => {
    publish(topics.absolute('health'), { ...health, degraded: ['link_flapping'] });
    expect([state('outbox'), state('memory'), state('degraded')]).toEqual(['0', '90', 'ON']);
    expect(home.attributes.get(home.find('degraded'))).toEqual({ codes: ['link_flapping'] });
    expect(state('north.frame_age')).toBe('2.5');
    // A camera that is not in the heartbeat yet.
    expect(state('south.pier.frame_age')).toBe('unknown');
    expect(state('cpu_temperature')).toBe('unknown');
    publish(topics.absolute('health'), health);
    expect(state('degraded')).toBe('OFF');
    expect(home.faults).toEqual([]);
  });

  it('show a constant start time although the uptime is rounded to seconds', () => {
    const shown = new Set<string | undefined>();
    for (let beat = 1; beat <= 50; beat += 1) {
      const at = new Date(Date.UTC(2026, 4, 1, 12, 0, 0, 700) + beat * 30_123).toISOString();
      publish(topics.absolute('health'), { ...health, at, uptime_s: Math.round(beat * 30.123) });
      shown.add(state('started'));
    }
    expect(shown.size).toBe(1);
    const [started = ''] = shown;
    expect(Math.abs(Date.parse(started) - Date.UTC(2026, 4, 1, 12))).toBeLessThan(2000);
    // A restart changes the start time.
    publish(topics.absolute('health'), { ...health, at: '2026-05-02T00:00:00.000Z', uptime_s: 60 });
    expect(state('started')).toBe('2026-05-01T23:59:00.000+00:00');
  });

  it('show the model and the progress of an install', () => {
    const { model } = agent.status();
    publish(topics.absolute('model/state'), model);
    expect(JSON.parse(state('model') ?? '')).toEqual({
      installed_version: '1.0.0',
      latest_version: '1.0.0',
      title: 'gauge',
      in_progress: false,
      update_percentage: null,
    });
    publish(topics.absolute('model/state'), { ...model, install: { ...install, percent: 40 } });
    expect(JSON.parse(state('model') ?? '')).toMatchObject({
      installed_version: '1.0.0',
      latest_version: '1.1.0',
      in_progress: true,
      update_percentage: 40,
    });
    const failed = { ...install, phase: 'failed', in_progress: false };
    publish(topics.absolute('model/state'), { ...model, install: failed });
    expect(JSON.parse(state('model') ?? '')).toMatchObject({ latest_version: '1.0.0', in_progress: false });
    publish(topics.absolute('model/state'), { ...model, active: null });
    expect(state('model')).toBe('');
    expect(home.faults).toEqual([]);
  });

  it.each(['starting', 'online', 'stopped', 'offline'])(
    'show the device as available only when online: %s',
    (state) => {
      publish(topics.status, { state, session: 's', at: observation.captured_at });
      expect(home.availability.get(topics.status)).toBe(state === 'online' ? 'online' : 'offline');
    },
  );

  it('send a valid command with a new id at each press of a button', () => {
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
