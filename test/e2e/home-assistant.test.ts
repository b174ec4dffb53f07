import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { identifiedSchemas } from '../../src/contract/emit-schemas.ts';
import { RunningAgent } from '../fixtures/agent.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { readExposition, valueOf } from '../fixtures/exposition.ts';
import { HomeAssistant } from '../fixtures/home-assistant.ts';
import { Mosquitto, until } from '../fixtures/mosquitto.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { seaCamera } from '../fixtures/sea-camera.ts';

/** The built program, a broker, and a registry that follows discovery as Home Assistant does. */
describe('Home Assistant discovery of a running agent', () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'swellsight-home-'));
  const home = new HomeAssistant();
  let sea: TestServer;
  let broker: Mosquitto;
  let recorder: Recorder;
  let agent: RunningAgent | null = null;
  let readCount = 0;

  const start = async (cameras: readonly string[], homeAssistant: object): Promise<RunningAgent> => {
    agent = await RunningAgent.start(
      {
        mqtt: { url: broker.url, homeAssistant },
        heartbeat: { intervalS: 2 },
        cameras: cameras.map((id) => ({
          id,
          kind: 'http',
          url: `${sea.url}/${id}.jpg`,
          schedule: { everyS: 2 },
          burst: { frames: 1 },
        })),
      },
      { stateDir },
    );
    return agent;
  };
  /** Passes the new messages to Home Assistant. */
  const passMessages = (): void => {
    while (readCount < recorder.messages.length) {
      const message = recorder.messages[readCount++];
      if (message) home.receive(message);
    }
  };
  const state = (component: string): string | undefined => home.states.get(home.find(component));
  const press = async (component: string): Promise<{ id: string; topic: string }> => {
    const { topic, payload } = home.press(home.find(component));
    const client = await broker.client();
    await client.publishAsync(topic, payload, { qos: 1 });
    return { id: (JSON.parse(payload) as { id: string }).id, topic };
  };
  const answersTo = (id: string): Record<string, unknown>[] =>
    recorder.messages
      .filter(({ topic }) => topic.includes('/cmdres/'))
      .map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>)
      .filter((answer) => answer['id'] === id);

  beforeAll(async () => {
    sea = await seaCamera();
    broker = await Mosquitto.start();
    recorder = await Recorder.start(broker.url, { filters: ['swellsight/v1/#', 'homeassistant/#'] });
    const first = await start(['north', 'south'], { enabled: true });
    for (const id of ['north', 'south'])
      await first.observation((line) => line['camera'] === id && line['status'] === 'measured', 60_000);
  }, 240_000);

  afterAll(async () => {
    await agent?.stop();
    recorder.finish();
    await broker.stop();
    await sea.stop();
    rmSync(stateDir, { recursive: true, force: true });
  });

  it('publishes discovery after info and before the states', () => {
    const topics = recorder.messages.map(({ topic }) => topic.replace('swellsight/v1/test/dev/', ''));
    const discovery = topics.findIndex((topic) => topic.startsWith('homeassistant/device/'));
    expect(topics.indexOf('info')).toBeGreaterThanOrEqual(0);
    expect(discovery).toBeGreaterThan(topics.indexOf('info'));
    expect(topics.indexOf('model/state')).toBeGreaterThan(discovery);
    const online = recorder.messages.findIndex(
      ({ topic, payload }) => topic.endsWith('/status') && payload.includes('"online"'),
    );
    expect(online).toBeGreaterThan(topics.indexOf('model/state'));
  });

  it('lists its schemas in info', () => {
    expect(recorder.json('info')[0]?.['schemas']).toEqual([...identifiedSchemas().keys()].sort());
  });

  it('gives every entity a value from real messages', async () => {
    const entitiesWithoutState = (): string[] => {
      passMessages();
      return [...home.entities].flatMap(([id, entity]) =>
        entity['state_topic'] === undefined || home.states.has(id) ? [] : [id],
      );
    };
    await expect.poll(entitiesWithoutState, { timeout: 60_000 }).toEqual([]);
    const shown = [...home.states.values()];
    expect(shown.length).toBeGreaterThan(35);
    expect(home.availability.get('swellsight/v1/test/dev/status')).toBe('online');
    // Unknown until the first measurement and the first frame.
    for (const component of ['north.quality', 'north.frame_age'])
      await expect
        .poll(() => (passMessages(), Number(state(component))), { timeout: 60_000 })
        .toBeGreaterThan(0);
    await expect.poll(() => (passMessages(), state('south.state')), { timeout: 60_000 }).toBe('up');
    expect(Math.abs(Date.parse(state('started') ?? '') - Date.now())).toBeLessThan(120_000);
    expect(JSON.parse(state('model') ?? '{}')).toMatchObject({
      title: 'swellsight-factory',
      in_progress: false,
    });
    expect(home.faults).toEqual([]);
  }, 240_000);

  it('handles each button press as a separate command', async () => {
    const first = await press('north.capture');
    const second = await press('north.capture');
    for (const { id } of [first, second]) {
      await until(
        () => answersTo(id).some((answer) => answer['status'] === 'succeeded'),
        'the answer',
        60_000,
      );
      expect(answersTo(id).map(({ status, duplicate }) => [status, duplicate])).toEqual([
        ['accepted', undefined],
        ['succeeded', undefined],
      ]);
    }
    const image = await press('south.take_image');
    await until(
      () => answersTo(image.id).some((answer) => answer['status'] === 'succeeded'),
      'the image',
      60_000,
    );
    passMessages();
    expect(state('south.image')).toMatch(/^\d{4,} bytes$/);
  }, 240_000);

  it('exports the same values to Prometheus', async () => {
    const answer = await fetch(`${agent?.url ?? ''}/metrics`, { signal: AbortSignal.timeout(5000) });
    const families = readExposition(await answer.text());
    expect(
      valueOf(families, 'swellsight_observations_total', { camera: 'north', status: 'measured' }),
    ).toBeGreaterThan(0);
    expect(valueOf(families, 'swellsight_delivered_messages_total', { kind: 'live' })).toBeGreaterThan(1);
    expect(valueOf(families, 'swellsight_delivery_duration_seconds_count')).toBeGreaterThan(1);
    expect(valueOf(families, 'swellsight_camera_state', { camera: 'south', state: 'up' })).toBe(1);
    expect(valueOf(families, 'swellsight_link_connected')).toBe(1);
    expect(valueOf(families, 'swellsight_model_info', { name: 'swellsight-factory' })).toBe(1);
  });

  it('is unavailable after it has stopped', async () => {
    expect(await agent?.stop()).toBe(0);
    await expect
      .poll(() => (passMessages(), home.availability.get('swellsight/v1/test/dev/status')), {
        timeout: 60_000,
      })
      .toBe('offline');
  });

  it('removes only the entities of a camera that is missing after a restart', async () => {
    const before = home.entities.size;
    await start(['north'], { enabled: true });
    const countSouthEntities = (): number => (
      passMessages(),
      [...home.entities.keys()].filter((id) => id.includes('_south.')).length
    );
    expect(countSouthEntities()).toBeGreaterThan(10);
    await expect.poll(countSouthEntities, { timeout: 60_000 }).toBe(0);
    expect(home.entities.size).toBeGreaterThan(before / 2);
    expect(await agent?.stop()).toBe(0);
  });

  it('removes all entities when discovery is switched off', async () => {
    await start(['north'], { enabled: false });
    await expect.poll(() => (passMessages(), home.entities.size), { timeout: 60_000 }).toBe(0);
    const later = await Recorder.start(broker.url, { filters: ['homeassistant/#', 'swellsight/v1/#'] });
    await until(() => later.messages.some(({ topic }) => topic.endsWith('/info')), 'the retained messages');
    expect(later.messages.filter(({ topic }) => topic.startsWith('homeassistant/'))).toEqual([]);
    later.finish();
    expect(home.faults).toEqual([]);
  });
});
