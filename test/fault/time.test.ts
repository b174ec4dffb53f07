import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { Health } from '../../src/contract/health.ts';
import type { Observation } from '../../src/contract/observation.ts';
import type { Event } from '../../src/contract/states.ts';
import { RunningAgent, type Steering } from '../fixtures/agent.ts';
import type { TestServer } from '../fixtures/camera-server.ts';
import { freePort, Mosquitto, until, type Message } from '../fixtures/mosquitto.ts';
import { seaCamera } from '../fixtures/sea-camera.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** Deadline for steps that normally take seconds. */
const WITHIN_MS = 60_000;
/** The date at which a board without a battery starts. */
const IMAGE_DATE_MS = Date.UTC(2025, 0, 1);

const interval = {
  id: 'interval',
  kind: 'http',
  schedule: { everyS: 1 },
  burst: { frames: 1 },
};
const cron = { ...interval, id: 'cron', schedule: { cron: '* * * * *' } };

/** Each test has its own agent and broker and mostly waits, so the tests run concurrently. */
describe.concurrent('clock steps under a running agent', { timeout: 240_000 }, () => {
  let sea: TestServer;
  beforeAll(async () => {
    sea = await seaCamera();
  });
  afterAll(() => sea.stop());
  type OnEnd = TestContext['onTestFinished'];
  const start = async (
    onEnd: OnEnd,
    cameras: object[],
    url: string,
    steered: Steering,
  ): Promise<RunningAgent> => {
    const settings = {
      mqtt: { url },
      heartbeat: { intervalS: 1 },
      cameras: cameras.map((camera) => ({ ...camera, url: `${sea.url}/now.jpg` })),
    };
    const agent = await RunningAgent.start(settings, { steered });
    onEnd(() => agent[Symbol.asyncDispose]());
    return agent;
  };
  const startBroker = async (onEnd: OnEnd, port?: number): Promise<Mosquitto> => {
    const broker = await Mosquitto.start(port === undefined ? {} : { port });
    onEnd(() => broker.stop());
    return broker;
  };
  const parsed = <T>(messages: readonly Message[], topic: RegExp): T[] =>
    messages.filter((one) => topic.test(one.topic)).map(({ payload }) => JSON.parse(payload.toString()) as T);
  const records = (messages: readonly Message[], camera: string): Observation[] =>
    parsed<Observation>(messages, new RegExp(`/camera/${camera}/(observation|backfill)$`));
  const events = (messages: readonly Message[]): Event[] => parsed<Event>(messages, /\/event\//);
  const timeOf = ({ captured_at: at }: Observation): number => Date.parse(at);
  /** Expects every number from 1 to the highest. */
  const expectNoGaps = (found: readonly { seq: number }[]): void => {
    const numbers = [...new Set(found.map(({ seq }) => seq))].toSorted((a, b) => a - b);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  };

  it('corrects the times of unsent records when the clock is first set, and marks them', async ({
    onTestFinished,
  }) => {
    const port = await freePort();
    const one = await start(onTestFinished, [interval], `mqtt://127.0.0.1:${port}`, {
      setMs: IMAGE_DATE_MS,
      synced: false,
    });
    const fifth = await one.observation((line) => line['seq'] === 5);
    const mark = one.lines.indexOf(fifth);
    const setAtMs = Date.now();
    one.steer({ setMs: setAtMs, synced: true });
    await one.waitFor('timestamps corrected', (line) => line.msg === 'timestamps corrected', WITHIN_MS, mark);
    const broker = await startBroker(onTestFinished, port);
    const messages = await broker.record('swellsight/v1/#');
    await until(
      () => records(messages, 'interval').some(({ clock }) => clock.synced),
      'a record after it',
      WITHIN_MS,
    );
    await until(() => records(messages, 'interval').some(({ seq }) => seq === 1), 'the first record');
    await until(() => events(messages).some(({ type }) => type === 'times_mended'), 'the event');

    const found = records(messages, 'interval').toSorted((a, b) => a.seq - b.seq);
    expectNoGaps(found);
    const before = found.filter(({ seq }) => seq <= 5);
    expect(before).toHaveLength(5);
    for (const record of before) {
      expect(record.clock.synced).toBe(false);
      expect(record.warnings).toContain('time_corrected');
      expect(timeOf(record)).toBeGreaterThan(setAtMs - MINUTE_MS);
      expect(timeOf(record)).toBeLessThanOrEqual(setAtMs + 100);
      expect(record.historical).toBe(true);
    }
    // Records are in the order of their times. A skipped slot has the time when it was due.
    const captured = found.filter(({ status }) => status !== 'skipped').map(timeOf);
    expect(captured).toEqual(captured.toSorted((a, b) => a - b));
    const step = events(messages).find(({ type }) => type === 'clock_step');
    expect(step?.context['delta_ms']).toBeGreaterThan(DAY_MS);
    expect(step?.context).toMatchObject({ steps: 1, synced: true });
    // The history on the device has the same times.
    const { observations } = (await one.json('/api/v1/observations?limit=100')) as {
      observations: Observation[];
    };
    for (const record of before)
      expect(observations.find(({ id }) => id === record.id)).toMatchObject({
        captured_at: record.captured_at,
        warnings: record.warnings,
      });
  });

  it('does not change published records when the clock is set: they had clock.synced false', async ({
    onTestFinished,
  }) => {
    const broker = await startBroker(onTestFinished);
    const messages = await broker.record('swellsight/v1/#');
    const one = await start(onTestFinished, [interval], broker.url, { setMs: IMAGE_DATE_MS, synced: false });
    await until(() => records(messages, 'interval').length >= 4, 'records', WITHIN_MS);
    // Collect unsent records while the broker is down.
    await broker.down('SIGKILL');
    const mark = one.lines.length;
    await one.observation((line) => Number(line['seq']) > 6, WITHIN_MS, mark);
    one.steer({ setMs: Date.now(), synced: true });
    await one.waitFor('timestamps corrected', (line) => line.msg === 'timestamps corrected', WITHIN_MS, mark);
    await broker.up();
    await until(
      () => records(messages, 'interval').some(({ clock, historical }) => clock.synced && !historical),
      'a live record after it',
      WITHIN_MS,
    );
    await until(() => records(messages, 'interval').some(({ historical }) => historical), 'the backlog');
    await until(() => {
      const numbers = new Set(records(messages, 'interval').map(({ seq }) => seq));
      return numbers.size === Math.max(...numbers);
    }, 'every number');
    const found = records(messages, 'interval');
    expectNoGaps(found);
    const ids = new Set(found.map(({ id }) => id));
    const times = new Set(found.map(({ id, captured_at: at }) => `${id} ${at}`));
    expect(times.size, 'one time under each id').toBe(ids.size);
    const sent = found.filter((record) => timeOf(record) < IMAGE_DATE_MS + DAY_MS);
    const corrected = found.filter(({ warnings }) => warnings.includes('time_corrected'));
    expect(sent.length).toBeGreaterThanOrEqual(4);
    expect(corrected.length).toBeGreaterThanOrEqual(1);
    for (const { clock } of [...sent, ...corrected]) expect(clock.synced).toBe(false);
    for (const record of corrected) expect(Math.abs(timeOf(record) - Date.now())).toBeLessThan(2 * MINUTE_MS);
  });

  it('keeps its schedules and drops nothing when the clock steps 400 days forward and back', async ({
    onTestFinished,
  }) => {
    const broker = await startBroker(onTestFinished);
    const messages = await broker.record('swellsight/v1/#');
    const one = await start(onTestFinished, [interval, cron], broker.url, {});
    const beats: number[] = [];
    const listener = await broker.client();
    listener.on('message', () => beats.push(performance.now()));
    await listener.subscribeAsync('swellsight/v1/+/+/health');
    await until(() => records(messages, 'interval').length >= 2, 'the first records', WITHIN_MS);
    one.steer({ stepMs: 400 * DAY_MS });
    // Longer than each component needs to detect the step.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    one.steer({ stepMs: -400 * DAY_MS });
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    // The next whole minute comes after each component has detected the step.
    const dueMs = Math.ceil(Date.now() / MINUTE_MS) * MINUTE_MS + 5 * MINUTE_MS;
    one.steer({ setMs: dueMs - 12_000 });
    const onTime = await until(
      () =>
        records(messages, 'cron').find(
          (record) => record.status !== 'skipped' && Math.abs(timeOf(record) - dueMs) < 20_000,
        ),
      'the run at the whole minute',
      WITHIN_MS,
    );
    expect(onTime.clock.synced).toBe(true);
    const health = parsed<Health>(messages, /\/health$/).at(-1);
    expect(health?.outbox.dropped_total).toBe(0);
    // The interval schedule continued: about one record a second.
    const steady = records(messages, 'interval');
    expectNoGaps(steady);
    expect(steady.length).toBeGreaterThan(15);
    // Three steps: at most one record of skipped slots each, and the runs of two whole minutes.
    const runs = records(messages, 'cron');
    expectNoGaps(runs);
    expect(runs.length).toBeLessThanOrEqual(8);
    expect(runs.filter(({ reasons }) => reasons.includes('clock_step')).length).toBeLessThanOrEqual(2);
    const pauses = beats.slice(1).map((at, index) => at - (beats[index] ?? at));
    expect(Math.max(...pauses), 'longest pause between heartbeats, ms').toBeLessThan(15_000);
    // The first step is reported at once; the later ones together, in a later event.
    expect(events(messages).filter(({ type }) => type === 'clock_step')).toHaveLength(1);
    expectNoGaps(events(messages));
    const { observations } = (await one.json('/api/v1/observations?limit=500')) as {
      observations: Observation[];
    };
    // The device has stored all published records, and one or two more by now.
    for (const sent of [steady, runs]) {
      const numbers = new Set(sent.map(({ seq }) => seq));
      const kept = observations.filter(({ camera, seq }) => camera === sent[0]?.camera && numbers.has(seq));
      expect(kept).toHaveLength(numbers.size);
    }
  });
});
