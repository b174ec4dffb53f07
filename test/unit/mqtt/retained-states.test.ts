import { beforeEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { RetainedStates, type PublishState } from '../../../src/mqtt/retained-states.ts';
import { ManualClock, silentLog } from '../../fixtures/store.ts';

const lost = new AgentError('mqtt_unreachable', 'lost');
const busy = new AgentError('mqtt_busy', 'busy');

let clock: ManualClock;
let states: RetainedStates;
let sent: string[];
let leftOut: string[];
beforeEach(() => {
  clock = new ManualClock();
  sent = [];
  leftOut = [];
  states = new RetainedStates({ clock, log: silentLog, onLeftOut: (topic) => leftOut.push(topic) });
});

/** Records the published topics; rejects for one of them. */
const publish =
  (fails: string | null = null, error = lost): PublishState =>
  (topic) => {
    sent.push(topic);
    return topic === fails ? Promise.reject(error) : Promise.resolve();
  };

async function births(count: number, fails: string | null): Promise<boolean[]> {
  const outcomes: boolean[] = [];
  for (let n = 0; n < count; n += 1)
    outcomes.push(
      await states.publishAll(publish(fails)).then(
        () => true,
        () => false,
      ),
    );
  return outcomes;
}

describe('RetainedStates', () => {
  it('publishes info, then absolute topics, then the others in the order of their first set', async () => {
    states.set('camera/a/state', 1);
    states.set('homeassistant/device/x/config', 2, { absolute: true });
    states.set('health', 3);
    states.set('info', 4);
    await states.publishAll(publish());
    expect(sent).toEqual(['info', 'homeassistant/device/x/config', 'camera/a/state', 'health']);
  });

  it('publishes every value of an `each` topic, and only the newest one of another', async () => {
    for (const [topic, options] of [
      ['model/state', { each: true }],
      ['health', {}],
    ] as const) {
      const payloads: string[] = [];
      const release: (() => void)[] = [];
      const slow: PublishState = (_topic, payload) => {
        payloads.push(payload);
        return new Promise((resolve) => release.push(resolve));
      };
      states.set(topic, 'requested', options);
      const running = states.publish(topic, slow);
      for (const phase of ['downloading', 'verifying', 'verifying', 'testing'])
        states.set(topic, phase, options);
      const ended = new AbortController();
      void running.then(() => ended.abort());
      while (!ended.signal.aborted) {
        release.shift()?.();
        await new Promise(setImmediate);
      }
      expect(payloads.map((payload) => JSON.parse(payload) as string)).toEqual(
        'each' in options ? ['requested', 'downloading', 'verifying', 'testing'] : ['requested', 'testing'],
      );
    }
  });

  it('drops the queued values of a lost connection', async () => {
    let lose = (): void => undefined;
    states.set('model/state', 'requested', { each: true });
    const running = states.publish(
      'model/state',
      () => new Promise((_resolve, reject) => (lose = () => reject(lost))),
    );
    states.set('model/state', 'downloading', { each: true });
    states.set('model/state', 'failed', { each: true });
    lose();
    await running;
    const payloads: string[] = [];
    await states.publishAll((_topic, payload) => Promise.resolve(void payloads.push(payload)));
    await states.publish('model/state', (_topic, payload) => Promise.resolve(void payloads.push(payload)));
    expect(payloads).toEqual(['"failed"', '"failed"']);
  });

  it('leaves out the state over which the link is lost each time', async () => {
    for (const topic of ['info', 'bad', 'health']) states.set(topic, 'x'.repeat(100));
    expect(await births(5, 'bad')).toEqual([false, false, false, false, true]);
    expect(leftOut).toEqual(['bad']);
    sent = [];
    states.set('bad', 'x'.repeat(90));
    await states.publish('bad', publish());
    expect(sent).toEqual([]);
    // Less than half as large: publish it again.
    states.set('bad', 'x'.repeat(40));
    await states.publish('bad', publish());
    expect(sent).toEqual(['bad']);
  });

  it('publishes a state that was left out again after an hour', async () => {
    states.set('bad', 'x');
    await births(4, 'bad');
    expect(leftOut).toEqual(['bad']);
    clock.advance(3_600_000);
    expect(await births(1, null)).toEqual([true]);
    expect(sent.at(-1)).toBe('bad');
  });

  it('leaves out no state when the link is lost only sometimes', async () => {
    for (const topic of ['info', 'health']) states.set(topic, 1);
    for (let n = 0; n < 5; n += 1) await births(2, 'info').then(() => births(1, null));
    expect(leftOut).toEqual([]);
  });

  it('continues after a temporary refusal, and publishes that state later', async () => {
    states.set('info', 1);
    states.set('health', 2);
    await states.publishAll(publish('info', busy));
    expect(sent).toEqual(['info', 'health']);
    states.publishPostponed(publish());
    states.publishPostponed(publish());
    expect(sent).toEqual(['info', 'health', 'info']);
  });
});
