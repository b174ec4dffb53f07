import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../src/base/errors.ts';
import { RetainedTopics } from '../../../src/mqtt/retained-topics.ts';
import { Topics } from '../../../src/mqtt/topics.ts';
import { MemoryKeyValue } from '../../fixtures/key-value.ts';
import { silentLog } from '../../fixtures/store.ts';

const BROKER = 'broker:1883';

/** Counts the writes. */
class CountedKeyValue extends MemoryKeyValue {
  writeCount = 0;

  override set(key: string, value: string): void {
    this.writeCount += 1;
    super.set(key, value);
  }
}

describe('RetainedTopics', () => {
  const memory = () => new CountedKeyValue();
  /** As in a new run of the agent. */
  const open = (kept: MemoryKeyValue, { device = 'dev1', id = 'store-1' } = {}): RetainedTopics =>
    new RetainedTopics({
      topics: new Topics({ base: 'swellsight/v1', site: 'test', device }),
      memory: kept,
      store: { id },
      log: silentLog,
    });

  /** Clears what is out of date. Returns the cleared topics without `swellsight/v1/test/`. */
  async function clear(
    topics: RetainedTopics,
    { current = ['status'], broker = BROKER, fails = null as AgentError | null } = {},
  ): Promise<string[]> {
    const cleared: string[] = [];
    const isCurrent = (topic: string): boolean => current.includes(topic);
    await topics.clearOutdated(broker, isCurrent, (topic) => {
      if (fails) return Promise.reject(fails);
      cleared.push(topic.replace('swellsight/v1/test/', ''));
      return Promise.resolve();
    });
    return cleared;
  }

  it('writes only when the set changes', async () => {
    const kept = memory();
    const topics = open(kept);
    topics.add(BROKER, ['status', 'info']);
    topics.add(BROKER, ['info']);
    topics.add(BROKER, ['status', 'info']);
    expect(await clear(topics, { current: ['status', 'info'] })).toEqual([]);
    open(kept).add(BROKER, ['status']);
    expect(kept.writeCount).toBe(1);
  });

  it('clears the topics of a removed camera once, in a later run', async () => {
    const kept = memory();
    open(kept).add(BROKER, ['status', 'camera/a/state', 'camera/b/state', 'camera/b/latest']);
    const current = ['status', 'camera/a/state'];
    expect(await clear(open(kept), { current })).toEqual(['dev1/camera/b/state', 'dev1/camera/b/latest']);
    expect(await clear(open(kept), { current })).toEqual([]);
  });

  it('clears the topics of former names, the status last, and each on the broker where they are', async () => {
    const kept = memory();
    open(kept, { device: 'old' }).add('other:1883', ['status']);
    open(kept, { device: 'old' }).add(BROKER, ['status', 'info']);
    const topics = open(kept);
    topics.add('other:1883', ['status']);
    expect(await clear(topics, { broker: 'other:1883' })).toEqual(['old/status']);
    expect(await clear(topics)).toEqual(['old/info', 'old/status']);
    expect(await clear(open(kept))).toEqual([]);
  });

  it('clears on a broker with another address what it may retain from before', async () => {
    const kept = memory();
    open(kept, { device: 'old' }).add(BROKER, ['status']);
    const topics = open(kept);
    topics.add('192.0.2.1:8883', ['status']);
    expect(await clear(topics, { broker: '192.0.2.1:8883' })).toEqual(['old/status']);
    expect(await clear(open(kept), { broker: '192.0.2.1:8883' })).toEqual([]);
    expect(await clear(open(kept))).toEqual(['old/status']);
  });

  it('forgets the former names of the device whose state directory was copied', async () => {
    const kept = memory();
    open(kept).add(BROKER, ['status', 'camera/a/state']);
    expect(await clear(open(kept, { device: 'copy', id: 'store-2' }))).toEqual([]);
    expect(await clear(open(kept, { id: 'store-2' }))).toEqual(['dev1/camera/a/state']);
  });

  it('tries again after a lost connection, and gives up after two, or when the broker refuses', async () => {
    const lost = new AgentError('mqtt_unreachable', 'lost');
    for (const failures of [[lost], [lost, lost], [new AgentError('mqtt_publish_refused', 'denied')]]) {
      const kept = memory();
      open(kept, { device: 'old' }).add(BROKER, ['status', 'info']);
      const topics = open(kept);
      for (const fails of failures) expect(await clear(topics, { fails })).toEqual([]);
      const isGivenUp = failures[0] !== lost || failures.length > 1;
      expect(await clear(topics)).toEqual(isGivenUp ? [] : ['old/info', 'old/status']);
    }
  });

  it('remembers eight brokers, and no topic that was cleared otherwise', async () => {
    const kept = memory();
    const topics = open(kept);
    for (let n = 1; n <= 9; n += 1) topics.add(`broker${n}:1883`, ['camera/a/state']);
    topics.remove('broker9:1883', 'camera/a/state');
    const counts = [];
    for (const n of [1, 2, 9]) counts.push((await clear(open(kept), { broker: `broker${n}:1883` })).length);
    expect(counts).toEqual([0, 1, 0]);
  });

  it.each(['{"brokers"', 'null', '{}', '{"store_id":null,"brokers":{"b:1":{"p":7}}}'])(
    'starts with a memory that is damaged, or of another version: %s',
    async (text) => {
      const kept = memory();
      kept.values.set('mqtt.retained', text);
      expect(await clear(open(kept))).toEqual([]);
    },
  );
});
