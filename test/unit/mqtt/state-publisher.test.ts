import { describe, expect, it } from 'vitest';
import type { AgentVersions } from '../../../src/contract/agent-update.ts';
import type { Info, ModelState } from '../../../src/contract/states.ts';
import { StatePublisher, type StatePublisherDeps } from '../../../src/mqtt/state-publisher.ts';
import type { PublishOptions, StateOptions } from '../../../src/mqtt/types.ts';
import { settle } from '../../fixtures/commands.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';

function setUp(announce: () => Promise<void> = () => Promise.resolve()) {
  const clock = new ManualClock();
  const states: [string, unknown, StateOptions?][] = [];
  const sent: [string, unknown, PublishOptions][] = [];
  const published: string[] = [];
  const link = {
    connected: true,
    setState: (topic: string, payload: unknown, options?: StateOptions) => {
      states.push(options ? [topic, payload, options] : [topic, payload]);
    },
    publish: (topic: string, payload: unknown, options: PublishOptions) => {
      sent.push([topic, payload, options]);
      return Promise.reject(new Error('lost'));
    },
    announce,
  };
  const info = { schema: 'swellsight.info/1', at: '2026-06-01T00:00:00.000Z' } as Info;
  const described = { next: info };
  const model = { schema: 'swellsight.model_state/1' } as ModelState;
  const versions = { schema: 'swellsight.agent_state/1' } as AgentVersions;
  const deps: StatePublisherDeps = {
    clock,
    link: link as unknown as StatePublisherDeps['link'],
    discovery: { refresh: () => states.push(['discovery', null]) },
    info: { describe: () => described.next },
    models: { state: () => model },
    updates: { state: () => versions },
    onPublished: (topic) => published.push(topic),
  };
  return {
    publisher: new StatePublisher(deps),
    clock,
    link,
    states,
    sent,
    published,
    info,
    described,
    model,
    versions,
  };
}

describe('StatePublisher', () => {
  it('sets info first, then discovery, then the states of the models and of the agent', () => {
    const { publisher, states, info, model, versions } = setUp();
    publisher.publish();
    expect(states).toEqual([
      ['info', info],
      ['discovery', null],
      ['model/state', model, { each: true }],
      ['agent/state', versions, { each: true }],
    ]);
  });

  it('sets info again only when it changed, with the other states or alone', () => {
    const { publisher, states, info, described } = setUp();
    const times = () => states.filter(([topic]) => topic === 'info').map(([, set]) => (set as Info).at);
    publisher.publish();
    publisher.publish();
    publisher.publishInfo();
    expect(times()).toEqual([info.at]);
    described.next = { ...info, at: '2026-06-01T00:02:00.000Z' };
    publisher.publishInfo();
    publisher.publish();
    expect(times()).toEqual([info.at, described.next.at]);
  });

  it('sends a transient message with QoS 0, not retained, and ignores its loss', async () => {
    const { publisher, sent, published } = setUp();
    publisher.publishTransient('model/progress', { percent: 5 });
    await settle();
    expect(sent).toEqual([['model/progress', '{"percent":5}', { qos: 0, retain: false }]]);
    expect(published).toEqual(['model/progress']);
  });

  it('reports a transient message to local listeners without a connection, and sends nothing', () => {
    const { publisher, link, sent, published } = setUp();
    link.connected = false;
    publisher.publishTransient('model/progress', { percent: 5 });
    expect([sent, published]).toEqual([[], ['model/progress']]);
  });

  it('announces at once, then at most once a second, for all requests in between', async () => {
    let announced = 0;
    const { publisher, clock } = setUp(() => {
      announced += 1;
      return Promise.resolve();
    });
    await publisher.announce();
    expect(announced).toBe(1);
    let done = 0;
    for (let n = 0; n < 100; n += 1) void publisher.announce().then(() => (done += 1));
    await settle();
    expect([announced, done]).toEqual([1, 0]);
    await clock.pass(1000);
    expect([announced, done]).toEqual([2, 100]);
    await clock.pass(1000);
    await publisher.announce();
    expect(announced).toBe(3);
  });

  it('fails an announcement for the requests that share it, and not for the next one', async () => {
    let isLost = true;
    const { publisher, clock } = setUp(() =>
      isLost ? Promise.reject(new Error('lost')) : Promise.resolve(),
    );
    await expect(publisher.announce()).rejects.toThrow('lost');
    isLost = false;
    const next = publisher.announce();
    await clock.pass(1000);
    await next;
  });
});
