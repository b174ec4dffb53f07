import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningAgent } from '../fixtures/agent.ts';
import { freePort } from '../fixtures/mosquitto.ts';
import { raiseClipPriority } from '../fixtures/raised-priority.ts';
import { Recorder } from '../fixtures/recorder.ts';

interface ReceivedMessage {
  readonly topic: string;
  readonly isRetained: boolean;
  readonly payload: string;
}

/** Subscribes with the users' program: `mosquitto_sub -t 'swellsight/v1/#'`. */
function subscribe(port: number): { readonly received: ReceivedMessage[]; stop(): Promise<void> } {
  const received: ReceivedMessage[] = [];
  const child = spawn(
    'mosquitto_sub',
    ['-p', String(port), '-t', 'swellsight/v1/#', '-q', '1', '-F', '%r %t %p'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, retained = '0', topic = '', payload = ''] = /^(\d) (\S+) (.*)$/.exec(line) ?? [];
      received.push({ topic, isRetained: retained === '1', payload });
    }
  });
  return {
    received,
    stop: async () => {
      if (child.exitCode === null && child.kill()) await once(child, 'exit');
    },
  };
}

const TOPICS_OF_CONTRACT = [
  'status',
  'info',
  'health',
  'model/state',
  'camera/sim/state',
  'camera/sim/latest',
  'camera/sim/observation',
  'camera/sim/sea_state/latest',
  'camera/sim/sea_state',
];

describe('First start with default settings', () => {
  let agent: RunningAgent;
  let subscriber: ReturnType<typeof subscribe>;
  let recorder: Recorder;
  let raised: Disposable;

  beforeAll(async () => {
    raised = raiseClipPriority();
    const port = await freePort();
    agent = await RunningAgent.start({
      mqtt: { embedded: { port } },
      heartbeat: { intervalS: 5 },
      inference: {},
      cameras: [
        {
          ...{ id: 'sim', kind: 'simulated', schedule: { everyS: 2 }, burst: { frames: 1 } },
          // As in the default configuration.
          seaState: { schedule: { everyS: 600 }, durationS: 256 },
        },
      ],
    });
    await agent.waitFor('start', (line) => line.msg === 'agent started');
    subscriber = subscribe(port);
    recorder = await Recorder.start(`mqtt://127.0.0.1:${port}`, { protocolVersion: 4 });
  });

  afterAll(async () => {
    raised[Symbol.dispose]();
    recorder.finish();
    await subscriber.stop();
    await agent[Symbol.asyncDispose]();
  });

  it('observes the simulated sea within a minute (15 s on an idle machine)', async () => {
    const line = await agent.observation((one) => one['status'] === 'measured', 60_000);
    expect(line['truth_m']).toBeGreaterThan(0);
  });

  // An idle machine takes 40 s: the clip starts with the agent, and its scene runs 8 times faster than the clock.
  it('measures the wave period of the first clip, and shows it beside the truth', async () => {
    const line = await agent.waitFor('a clip', ({ msg }) => msg === 'sea state', 240_000);
    console.log(
      `period ${String(line['period_s'])} s (${String(line['low_s'])} - ${String(line['high_s'])}), truth ${String(line['truth_s'])} s`,
    );
    expect(line).toMatchObject({ seq: 1, status: 'measured', simulated: true });
    const [periodS, truthS] = [Number(line['period_s']), Number(line['truth_s'])];
    expect(Math.abs(periodS - truthS)).toBeLessThan(0.1 * truthS + truthS ** 2 / 256);
    // The newest observation may have begun before the clip was measured.
    await expect
      .poll(() => agent.json('/api/v1/observations?limit=1&camera=sim'), { timeout: 60_000 })
      .toMatchObject({
        observations: [{ wave: { period_s: periodS, period_basis: 'video_spectrum' }, simulated: true }],
      });
  }, 300_000);

  it('publishes every topic of the contract', async () => {
    await agent.observation((one) => Number(one['seq']) >= 3, 60_000);
    const names = (): Set<string> =>
      new Set(subscriber.received.map(({ topic }) => topic.replace('swellsight/v1/test/dev/', '')));
    await expect
      .poll(() => TOPICS_OF_CONTRACT.filter((name) => !names().has(name)), { timeout: 60_000 })
      .toEqual([]);
    const states = (): string[] =>
      subscriber.received
        .filter(({ topic }) => topic.endsWith('/status'))
        .map(({ payload }) => (JSON.parse(payload) as { state: string }).state);
    await expect.poll(states, { timeout: 60_000 }).toContain('online');
    const latest = subscriber.received.filter(({ topic }) => topic.endsWith('/latest')).at(-1);
    expect(latest?.payload).toMatch(/"published_at":"2/);
  });

  it('learns heights from the labels of the simulation with a smaller error than the median has', async () => {
    const line = await agent.waitFor(
      'score over 8 calibrated estimates',
      ({ msg, n }) => msg === 'calibration compared with the simulated truth' && Number(n) >= 8,
      180_000,
    );
    const pairs = agent.lines
      .filter((one) => one.msg === 'observation' && typeof one['height_m'] === 'number')
      .slice(-8);
    for (const { height_m, low_m, high_m, truth_m, basis } of pairs)
      console.log(
        `height ${String(height_m)} m (${String(low_m)} - ${String(high_m)}) truth ${String(truth_m)} m ${String(basis)}`,
      );
    console.log(
      `mean error ${String(line['mean_error_m'])} m, the median's ${String(line['median_error_m'])} m, over ${String(line['n'])}`,
    );
    expect(Number(line['mean_error_m'])).toBeLessThan(0.8 * Number(line['median_error_m']));
  }, 240_000);

  it('answers requests on its local HTTP port', async () => {
    expect(await agent.json('/live')).toEqual({ live: true });
    expect(await agent.json('/ready')).toMatchObject({ ready: true });
    const status = await agent.json('/api/v1/status');
    expect(status).toMatchObject({ status: 'online', model: { active: { name: 'swellsight-factory' } } });
  });

  it('stops on SIGTERM and publishes the state stopped', async () => {
    const countBefore = subscriber.received.length;
    expect(await agent.stop()).toBe(0);
    const last = subscriber.received.slice(countBefore).find(({ topic }) => topic.endsWith('/status'));
    expect(JSON.parse(last?.payload ?? '{}')).toMatchObject({ state: 'stopped' });
  });
});
