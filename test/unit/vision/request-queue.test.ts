import { describe, expect, it } from 'vitest';
import { RequestQueue, type Priority, type QueuedRequest } from '../../../src/vision/request-queue.ts';

function entries(max: number) {
  const queue = new RequestQueue({ max }, { serving: () => null, send: () => Promise.resolve() });
  const refused: string[] = [];
  const add = (name: string, priority: Priority): QueuedRequest => {
    const entry: QueuedRequest = {
      request: { type: 'analyze', bytes: Buffer.from(name), options: { roi: null, privacyMasks: [] } },
      priority,
      signal: undefined,
      resolve: () => undefined,
      reject: (reason) => refused.push(`${name}: ${(reason as { code: string }).code}`),
    };
    queue.add(entry);
    return entry;
  };
  const names = (): string[] => {
    const list: string[] = [];
    for (let entry = queue.next(); entry !== undefined; entry = queue.next()) {
      if (entry.request.type === 'analyze') list.push(Buffer.from(entry.request.bytes).toString());
    }
    return list;
  };
  return { queue, add, names, refused };
}

describe('RequestQueue', () => {
  it('puts scheduled frames first, each kind in the order it came', () => {
    const { add, names } = entries(9);
    for (const [name, priority] of [
      ['r1', 'request'],
      ['s1', 'schedule'],
      ['r2', 'request'],
      ['s2', 'schedule'],
    ] as const) {
      add(name, priority);
    }
    expect(names()).toEqual(['s1', 's2', 'r1', 'r2']);
  });

  it('is bounded: a request is refused, a scheduled frame displaces the newest request', () => {
    const { add, names, refused } = entries(2);
    add('r1', 'request');
    add('r2', 'request');
    add('r3', 'request');
    add('s1', 'schedule');
    add('s2', 'schedule');
    add('s3', 'schedule');
    expect(refused).toEqual(['r3: vision_busy', 'r2: vision_busy', 'r1: vision_busy', 's3: vision_busy']);
    expect(names()).toEqual(['s1', 's2']);
  });

  it('takes back what was sent in vain: before all others of its kind, and though it is full', () => {
    for (const [kind, expected] of [
      ['schedule', ['sent', 's1', 'r1', 'r2']],
      ['request', ['s1', 'sent', 'r1', 'r2']],
    ] as const) {
      const { queue, add, names, refused } = entries(3);
      const sent = add('sent', kind);
      expect(queue.next()).toBe(sent);
      add('s1', 'schedule');
      add('r1', 'request');
      add('r2', 'request');
      queue.putBack(sent);
      expect(names()).toEqual(expected);
      expect(refused).toEqual([]);
    }
  });

  it('takes back a request where scheduled frames alone wait', () => {
    const { queue, add, names } = entries(3);
    const sent = add('sent', 'request');
    queue.next();
    add('s1', 'schedule');
    queue.putBack(sent);
    expect(names()).toEqual(['s1', 'sent']);
  });

  it('forgets what is taken back', () => {
    const { queue, add, names } = entries(3);
    const taken = add('r1', 'request');
    add('r2', 'request');
    queue.remove(taken);
    queue.remove(taken);
    expect(names()).toEqual(['r2']);
  });
});
