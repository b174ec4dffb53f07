import { describe, expect, it } from 'vitest';
import {
  AnswerSender,
  isSameRequester,
  type AnswerSenderOptions,
  type Requester,
} from '../../../../src/mqtt/commands/answers.ts';
import { FakeLink, settle } from '../../../fixtures/commands.ts';
import { ManualClock } from '../../../fixtures/manual-clock.ts';
import { silentLog } from '../../../fixtures/store.ts';

const REQUESTER: Requester = { topic: 'cmdres/ping', correlationData: null };

function setUp(options: AnswerSenderOptions = {}) {
  const clock = new ManualClock();
  const link = new FakeLink();
  const stop = new AbortController();
  const dropped: Requester[] = [];
  const answers = new AnswerSender(options, {
    link,
    clock,
    log: silentLog,
    signal: stop.signal,
    onDropped: (requester) => void dropped.push(requester),
  });
  const texts = () => link.sent.map(({ payload }) => String(payload));
  return { clock, link, stop, dropped, answers, texts };
}

describe('AnswerSender', () => {
  it('keeps answers until the link is up, in their order', async () => {
    const { clock, link, answers, texts } = setUp();
    link.connected = false;
    void answers.send(REQUESTER, { n: 1 });
    void answers.send(REQUESTER, { n: 2 });
    for (let n = 0; n < 4; n += 1) await clock.pass(500);
    expect(texts()).toEqual([]);
    link.connected = true;
    await clock.pass(500);
    expect(texts()).toEqual(['{"n":1}', '{"n":2}']);
  });

  it('drops answers at the timeout, and at once when the agent stops', async () => {
    const { clock, link, answers, stop, texts } = setUp({ linkTimeoutMs: 2000 });
    link.connected = false;
    void answers.send(REQUESTER, { n: 1 });
    await settle();
    for (let n = 0; n < 6; n += 1) await clock.pass(500);
    link.connected = true;
    for (let n = 0; n < 6; n += 1) await clock.pass(500);
    expect([texts(), clock.sleepers]).toEqual([[], 0]);
    link.connected = false;
    void answers.send(REQUESTER, { n: 2 });
    await settle();
    stop.abort();
    link.connected = true;
    for (let n = 0; n < 3; n += 1) await clock.pass(500);
    expect(texts()).toEqual([]);
  });

  it('drops bulk answers earlier when the link stays down', async () => {
    const { clock, link, answers, dropped, texts } = setUp();
    link.connected = false;
    void answers.send(REQUESTER, { n: 1 }, true);
    void answers.send(REQUESTER, { n: 2 });
    await settle();
    for (let n = 0; n < 25; n += 1) await clock.pass(500);
    expect(dropped).toHaveLength(1);
    link.connected = true;
    await clock.pass(500);
    expect(texts()).toEqual(['{"n":2}']);
  });

  it('limits the number and the bytes of pending answers, except for a single large one', async () => {
    const { link, answers, dropped, texts } = setUp({ maxPending: 3, maxPendingBytes: 2000 });
    let open: () => void = () => undefined;
    link.gate = new Promise((resolve) => (open = resolve));
    void answers.send(REQUESTER, { large: 'x'.repeat(5000) });
    void answers.send(REQUESTER, { n: 1 });
    expect(dropped).toHaveLength(1);
    open();
    await settle();
    link.gate = new Promise((resolve) => (open = resolve));
    for (let n = 0; n < 5; n += 1) void answers.send(REQUESTER, { n });
    expect(dropped).toHaveLength(3);
    open();
    await settle();
    expect(texts().slice(1)).toEqual(['{"n":0}', '{"n":1}', '{"n":2}']);
    // All earlier answers were delivered, so there is room again.
    void answers.send(REQUESTER, { n: 9 });
    await settle();
    expect(texts().at(-1)).toBe('{"n":9}');
  });
});

describe('isSameRequester', () => {
  it('compares the topic and the correlation data', () => {
    const to = (topic: string, data: string | null): Requester => ({
      topic,
      correlationData: data === null ? null : Buffer.from(data),
    });
    expect(isSameRequester(to('a', null))(to('a', null))).toBe(true);
    expect(isSameRequester(to('a', 'x'))(to('a', 'x'))).toBe(true);
    expect(isSameRequester(to('a', 'x'))(to('a', 'y'))).toBe(false);
    expect(isSameRequester(to('a', null))(to('a', 'y'))).toBe(false);
    expect(isSameRequester(to('a', null))(to('b', null))).toBe(false);
  });
});
