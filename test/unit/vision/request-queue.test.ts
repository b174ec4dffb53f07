import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../src/base/clock.ts';
import type { FramePriority } from '../../../src/vision/protocol.ts';
import { RequestQueue, type QueuedRequest, type SubmitOptions } from '../../../src/vision/request-queue.ts';
import { SourceShares } from '../../../src/vision/source-shares.ts';
import type { VisionChild } from '../../../src/vision/vision-child.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';

const shared = (clock: Clock = new ManualClock()) => ({ clock, shares: new SourceShares({ clock }) });

function entries(max: number) {
  const queue = new RequestQueue(
    { max },
    { serving: () => null, send: () => Promise.resolve(), ...shared() },
  );
  const refused: string[] = [];
  const add = (name: string, priority: FramePriority): QueuedRequest => {
    const entry: QueuedRequest = {
      request: { type: 'analyze', bytes: Buffer.from(name), options: { roi: null, privacyMasks: [] } },
      priority,
      source: '',
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
  it('puts scheduled frames first, each kind in order of arrival', () => {
    const { add, names } = entries(9);
    for (const [name, priority] of [
      ['c1', 'clip'],
      ['r1', 'request'],
      ['s1', 'schedule'],
      ['r2', 'request'],
      ['s2', 'schedule'],
    ] as const) {
      add(name, priority);
    }
    expect(names()).toEqual(['s1', 's2', 'r1', 'r2', 'c1']);
  });

  it('refuses a request when it is full; a scheduled frame displaces the newest request', () => {
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

  it('puts a request back before all others of its kind, even when the queue is full', () => {
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

  it('puts a request back behind scheduled frames', () => {
    const { queue, add, names } = entries(3);
    const sent = add('sent', 'request');
    queue.next();
    add('s1', 'schedule');
    queue.putBack(sent);
    expect(names()).toEqual(['s1', 'sent']);
  });

  it('forgets a removed request', () => {
    const { queue, add, names } = entries(3);
    const taken = add('r1', 'request');
    add('r2', 'request');
    queue.remove(taken);
    queue.remove(taken);
    expect(names()).toEqual(['r2']);
  });

  it('puts uploads last, and displaces them first', () => {
    const { add, names, refused } = entries(3);
    add('u1', 'upload');
    add('u2', 'upload');
    add('s1', 'schedule');
    add('r1', 'request');
    add('u3', 'upload');
    expect(refused).toEqual(['u2: vision_busy', 'u3: vision_busy']);
    expect(names()).toEqual(['s1', 'r1', 'u1']);
  });
});

const tick = () => new Promise((resolve) => setImmediate(resolve));

/** A queue before a process whose requests end when the test says so. */
function sending(max = 8, parts = shared()) {
  const sent: string[] = [];
  const ends = new Map<string, () => void>();
  const child = { end: null } as unknown as VisionChild;
  const queue = new RequestQueue(
    { max },
    {
      ...parts,
      serving: () => child,
      send: (_child, { request, resolve, reject }) => {
        const name = request.type === 'analyze' ? Buffer.from(request.bytes).toString() : request.type;
        sent.push(name);
        return new Promise<void>((settle) =>
          ends.set(name, () => {
            if (name.startsWith('bad')) reject(new Error(name));
            else resolve({ id: 0, type: 'rendered', jpeg: Buffer.from(name), rssMb: 1 });
            settle();
          }),
        );
      },
    },
  );
  const submit = (name: string, signal?: AbortSignal, options?: SubmitOptions) =>
    queue
      .submit(
        { type: 'analyze', bytes: Buffer.from(name), options: { roi: null, privacyMasks: [] } },
        signal,
        options,
      )
      .then((reply) => (reply.type === 'rendered' ? Buffer.from(reply.jpeg).toString() : reply.type));
  return { ...parts, queue, sent, submit, end: (name: string) => ends.get(name)?.() };
}

describe('RequestQueue before a process', () => {
  it('sends one request ahead, and the others in order as replies come', async () => {
    const { sent, submit, end } = sending();
    const all = ['a', 'b', 'c', 'd'].map((name) => submit(name));
    await tick();
    expect(sent).toEqual(['a', 'b']);
    end('b');
    await tick();
    expect(sent).toEqual(['a', 'b', 'c']);
    for (const name of ['a', 'c', 'd']) {
      end(name);
      await tick();
    }
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('removes a waiting request whose client has gone, and sends the next one after a failure', async () => {
    const { sent, submit, end } = sending();
    const failing = submit('bad');
    const ahead = submit('ahead');
    const leaving = new AbortController();
    const gone = submit('gone', leaving.signal);
    const last = submit('last');
    leaving.abort(new Error('gone'));
    await expect(gone).rejects.toThrow('gone');
    end('bad');
    await expect(failing).rejects.toThrow('bad');
    await tick();
    expect(sent).toEqual(['bad', 'ahead', 'last']);
    end('ahead');
    end('last');
    expect(await Promise.all([ahead, last])).toEqual(['ahead', 'last']);
  });

  it('finishes a due request whose client has gone only with `finishOnceDue`', async () => {
    const { queue, submit, end } = sending();
    const leaving = new AbortController();
    const finished = submit('finished', leaving.signal, { finishOnceDue: true });
    const abandoned = submit('abandoned', leaving.signal);
    const waiting = submit('waiting', leaving.signal, { finishOnceDue: true });
    leaving.abort(new Error('gone'));
    await expect(abandoned).rejects.toThrow('gone');
    await expect(waiting).rejects.toThrow('gone');
    end('finished');
    expect(await finished).toBe('finished');
    end('abandoned');
    await queue.inFlightSettled();
    expect(queue.hasInFlight).toBe(false);
  });

  const from = (source: string): SubmitOptions => ({ priority: 'schedule', source });

  it('sends the frames of the source that used less time first', async () => {
    const { clock, shares, sent, submit, end } = sending();
    shares.submitted('slow', 'schedule');
    shares.ended('slow', clock.monoMs() - 900, null);
    const all = [
      submit('s1', undefined, from('slow')),
      submit('s2', undefined, from('slow')),
      submit('s3', undefined, from('slow')),
      submit('q1', undefined, from('quick')),
      submit('q2', undefined, from('quick')),
    ];
    for (const name of ['s1', 's2', 'q1', 'q2', 's3']) {
      await tick();
      end(name);
    }
    await Promise.all(all);
    expect(sent).toEqual(['s1', 's2', 'q1', 'q2', 's3']);
  });

  it('lets the source of a slow frame rest, sends none of its frames ahead, and wakes for it', async () => {
    const clock = new ManualClock();
    const { shares, sent, submit, end } = sending(8, shared(clock));
    shares.submitted('quick', 'schedule');
    await clock.pass(100);
    shares.ended('quick', 0, null);
    shares.submitted('slow', 'schedule');
    await clock.pass(1000);
    shares.ended('slow', 100, null);
    const all = [submit('s1', undefined, from('slow')), submit('s2', undefined, from('slow'))];
    await tick();
    expect(sent).toEqual([]);
    all.push(submit('q1', undefined, from('quick')));
    await tick();
    expect(sent).toEqual(['q1']);
    end('q1');
    await tick();
    await clock.pass(8_999);
    expect(sent).toEqual(['q1']);
    await clock.pass(1);
    await tick();
    // The second one would be ahead of a frame that another camera may send at any time.
    expect(sent).toEqual(['q1', 's1']);
    end('s1');
    await tick();
    end('s2');
    expect(await Promise.all(all)).toEqual(['s1', 's2', 'q1']);
  });
});
