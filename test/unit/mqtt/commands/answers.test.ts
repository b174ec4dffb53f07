import { describe, expect, it } from 'vitest';
import {
  Answers,
  sameAnswer,
  type Answer,
  type AnswersOptions,
} from '../../../../src/mqtt/commands/answers.ts';
import { settle, SteppedClock, TakingLink } from '../../../fixtures/commands.ts';
import { silentLog } from '../../../fixtures/store.ts';

const TO: Answer = { topic: 'cmdres/ping', correlationData: null };

function made(options: AnswersOptions = {}) {
  const clock = new SteppedClock();
  const link = new TakingLink();
  const stop = new AbortController();
  const dropped: Answer[] = [];
  const answers = new Answers(options, {
    link,
    clock,
    log: silentLog,
    signal: stop.signal,
    onDropped: (answer) => void dropped.push(answer),
  });
  const texts = () => link.sent.map(({ payload }) => String(payload));
  return { clock, link, stop, dropped, answers, texts };
}

describe('Answers', () => {
  it('wait for the link, in their order', async () => {
    const { clock, link, answers, texts } = made();
    link.connected = false;
    void answers.send(TO, { n: 1 });
    void answers.send(TO, { n: 2 });
    for (let n = 0; n < 4; n += 1) await clock.pass(500);
    expect(texts()).toEqual([]);
    link.connected = true;
    await clock.pass(500);
    expect(texts()).toEqual(['{"n":1}', '{"n":2}']);
  });

  it('give up in the end, and at once when all ends', async () => {
    const { clock, link, answers, stop, texts } = made({ patienceMs: 2000 });
    link.connected = false;
    void answers.send(TO, { n: 1 });
    await settle();
    for (let n = 0; n < 6; n += 1) await clock.pass(500);
    link.connected = true;
    for (let n = 0; n < 6; n += 1) await clock.pass(500);
    expect([texts(), clock.sleeping]).toEqual([[], 0]);
    link.connected = false;
    void answers.send(TO, { n: 2 });
    await settle();
    stop.abort();
    link.connected = true;
    for (let n = 0; n < 3; n += 1) await clock.pass(500);
    expect(texts()).toEqual([]);
  });

  it('do not wait long for the link where they are bulk', async () => {
    const { clock, link, answers, dropped, texts } = made();
    link.connected = false;
    void answers.send(TO, { n: 1 }, true);
    void answers.send(TO, { n: 2 });
    await settle();
    for (let n = 0; n < 25; n += 1) await clock.pass(500);
    expect(dropped).toHaveLength(1);
    link.connected = true;
    await clock.pass(500);
    expect(texts()).toEqual(['{"n":2}']);
  });

  it('are bounded in number and in bytes, but one may be large', async () => {
    const { link, answers, dropped, texts } = made({ limit: 3, limitBytes: 2000 });
    let open: () => void = () => undefined;
    link.gate = new Promise((resolve) => (open = resolve));
    void answers.send(TO, { large: 'x'.repeat(5000) });
    void answers.send(TO, { n: 1 });
    expect(dropped).toHaveLength(1);
    open();
    await settle();
    link.gate = new Promise((resolve) => (open = resolve));
    for (let n = 0; n < 5; n += 1) void answers.send(TO, { n });
    expect(dropped).toHaveLength(3);
    open();
    await settle();
    expect(texts().slice(1)).toEqual(['{"n":0}', '{"n":1}', '{"n":2}']);
    // Room again.
    void answers.send(TO, { n: 9 });
    await settle();
    expect(texts().at(-1)).toBe('{"n":9}');
  });
});

describe('sameAnswer', () => {
  it('compares place and bytes', () => {
    const to = (topic: string, data: string | null): Answer => ({
      topic,
      correlationData: data === null ? null : Buffer.from(data),
    });
    expect(sameAnswer(to('a', null), to('a', null))).toBe(true);
    expect(sameAnswer(to('a', 'x'), to('a', 'x'))).toBe(true);
    expect(sameAnswer(to('a', 'x'), to('a', 'y'))).toBe(false);
    expect(sameAnswer(to('a', null), to('a', 'y'))).toBe(false);
    expect(sameAnswer(to('a', null), to('b', null))).toBe(false);
  });
});
