import { readdirSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RunningAgent } from '../../fixtures/agent.ts';
import { readExposition, valueOf } from '../../fixtures/exposition.ts';
import { form, image, post } from '../../fixtures/form.ts';
import { jpegOf } from '../../fixtures/jpeg.ts';
import { freePort } from '../../fixtures/mosquitto.ts';

const CAMERA = {
  id: 'sim',
  kind: 'directory',
  path: join(import.meta.dirname, '../../fixtures/sea'),
  replay: 'loop',
  schedule: { everyS: 3600 },
  burst: { frames: 1, intervalS: 0 },
};

async function startAgent(stateDir?: string): Promise<RunningAgent> {
  const agent = await RunningAgent.start(
    { mqtt: { embedded: { port: await freePort() } }, cameras: [CAMERA] },
    { steered: {}, ...(stateDir === undefined ? {} : { stateDir }) },
  );
  await agent.observation();
  return agent;
}

async function ask(agent: RunningAgent, bytes: Uint8Array, query = ''): Promise<Record<string, unknown>> {
  const { status, json } = await post(
    Number(new URL(agent.url).port),
    `/api/v1/analyze${query}`,
    form([image(bytes)]),
  );
  expect([status, json['code']]).toEqual([200, undefined]);
  return json;
}

/** Without the fields that differ from call to call. */
const stableFields = (answer: Record<string, unknown>): Record<string, unknown> => ({
  ...answer,
  cached: null,
  processing_time_seconds: null,
});

async function figure(agent: RunningAgent, name: string): Promise<number | undefined> {
  const text = await (await fetch(`${agent.url}/metrics`)).text();
  return valueOf(readExposition(text), `swellsight_analysis_${name}`);
}

const answersOf = async (agent: RunningAgent): Promise<(number | undefined)[]> => [
  await figure(agent, 'cache_hits_total'),
  await figure(agent, 'cache_misses_total'),
];

describe('an image that is uploaded again', () => {
  it('is answered from the cache, also after a restart, until the calibration changes', async () => {
    const frame = await jpegOf(2, { width: 320, height: 180 });
    let agent = await startAgent();
    const { stateDir } = agent;
    try {
      const first = await ask(agent, frame, '?camera=sim');
      expect(first['cached']).toBe(false);
      const second = await ask(agent, frame, '?camera=sim');
      expect(second['cached']).toBe(true);
      expect(stableFields(second)).toEqual(stableFields(first));
      expect(await answersOf(agent)).toEqual([1, 1]);
      await agent.stop();

      agent = await startAgent(stateDir);
      const third = await ask(agent, frame, '?camera=sim');
      expect(third['cached']).toBe(true);
      expect(stableFields(third)).toEqual(stableFields(first));
      expect(await answersOf(agent)).toEqual([1, 0]);
      expect(await figure(agent, 'cache_entries')).toBe(1);
      // Without the camera's calibration the conditions differ.
      expect((await ask(agent, frame))['cached']).toBe(false);

      const { observations } = (await agent.json('/api/v1/observations?status=measured')) as {
        observations: { id: string }[];
      };
      const labelled = await fetch(`${agent.url}/api/v1/cameras/sim/labels`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ observation_id: observations[0]?.id, height_m: 1.5 }),
      });
      expect(labelled.status).toBe(201);
      expect((await ask(agent, frame, '?camera=sim'))['cached']).toBe(false);
      expect((await ask(agent, frame, '?camera=sim'))['cached']).toBe(true);
      expect((await ask(agent, frame))['cached']).toBe(true);
      agent.signal('SIGKILL');
      await agent.exited;

      // A truncated cache file costs an analysis, and nothing else.
      const file = join(stateDir, 'var', 'swellsight.cache.db');
      truncateSync(file, 5000);
      agent = await startAgent(stateDir);
      expect(await ask(agent, frame)).toMatchObject({ cached: false, status: 'measured' });
      expect(readdirSync(join(stateDir, 'var')).some((name) => name.includes('broken'))).toBe(false);
    } finally {
      await agent.stop();
      rmSync(stateDir, { recursive: true, force: true });
    }
  });
});
