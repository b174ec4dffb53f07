import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import type { Event } from '../../../src/contract/states.ts';
import { AgentError } from '../../../src/base/errors.ts';
import { Feed, type FeedOptions, type FeedSource } from '../../../src/http/feed.ts';
import { createLog } from '../../../src/base/log.ts';
import { CannedAgent, observation } from '../../fixtures/agent-api.ts';
import { startServer } from '../../fixtures/http-server.ts';

/** A store with records and events in memory. */
class Stored implements FeedSource {
  readonly records: Observation[] = [];
  readonly happened: Event[] = [];
  /** Number of the oldest rows that are deleted. */
  pruned = 0;
  padding = '';

  add(): Observation {
    const seq = this.records.length + 1;
    const id = `0195f3a0-0000-7000-8000-${String(seq).padStart(12, '0')}`;
    const record = { ...observation, id, seq, warnings: [this.padding] };
    this.records.push(record);
    return record;
  }

  raise(): void {
    const seq = this.happened.length + 1;
    const { captured_at: at, id } = observation;
    const schema = 'swellsight.event/1' as const;
    this.happened.push({
      schema,
      id,
      seq,
      at,
      type: 'test',
      severity: 'info',
      code: 'c',
      message: '',
      context: {},
    });
  }

  readonly observations = {
    after: (rowId: number, limit: number) =>
      this.records
        .map((record, index) => ({ rowId: index + 1, record }))
        .filter((row) => row.rowId > Math.max(rowId, this.pruned))
        .slice(0, limit),
    rowIdOf: (id: string) => {
      const rowId = this.records.findIndex((record) => record.id === id) + 1;
      return rowId > this.pruned ? rowId : null;
    },
    newestRow: () => {
      const id = this.records.at(-1)?.id;
      return id === undefined ? null : { rowId: this.records.length, id };
    },
  };
  readonly events = {
    after: (seq: number, limit: number) => this.happened.filter((event) => event.seq > seq).slice(0, limit),
    newestSeq: () => this.happened.length,
  };
}

interface ReceivedEvent {
  readonly event: string;
  readonly id: string;
  /** Null for a block with an id only. */
  readonly data: { readonly seq?: number; readonly reason?: string } | null;
}

async function startFeed(options: Partial<FeedOptions> = {}) {
  const stored = new Stored();
  const agent = new CannedAgent();
  const feed = new Feed(
    { pollIntervalMs: 20, ...options },
    { source: stored, log: createLog('silent'), states: () => agent.status() },
  );
  const server = await startServer({ rateLimit: 100_000 }, { feed });
  const url = `http://127.0.0.1:${String(server.port)}/api/v1/events`;
  const open = (lastId?: string) =>
    fetch(url, lastId === undefined ? {} : { headers: { 'last-event-id': lastId } });
  return { stored, feed, server, open, [Symbol.asyncDispose]: () => server.server.stop() };
}

/** Returns a function that reads events up to and including the first match. Later events stay for the next call. */
function reader(response: Response) {
  const stream = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  const waiting: ReceivedEvent[] = [];
  let rest = '';
  return async (until: (events: ReceivedEvent) => boolean): Promise<ReceivedEvent[]> => {
    const events: ReceivedEvent[] = [];
    for (;;) {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        events.push(next);
        if (until(next)) return events;
      }
      const { value, done } = (await stream?.read()) ?? { value: '', done: true };
      if (done) return events;
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)));
        const { event = '', id = '', data = 'null' } = fields as Record<string, string>;
        waiting.push({ event, id, data: JSON.parse(data) as ReceivedEvent['data'] });
      }
    }
  };
}

const seqs = (events: readonly ReceivedEvent[], name: string): number[] =>
  events.filter(({ event }) => event === name).map(({ data }) => data?.seq ?? 0);

describe('server-sent events', () => {
  it('send the states, then everything new, to each client', async () => {
    await using at = await startFeed();
    at.stored.add();
    const [one, two] = [reader(await at.open()), reader(await at.open())];
    const begin = await Promise.all([one(({ id }) => id !== ''), two(({ id }) => id !== '')]);
    expect(begin.map((events) => seqs(events, 'sea_state'))).toEqual([[1], [1]]);
    at.stored.add();
    at.stored.raise();
    at.feed.wake();
    at.feed.publish('camera/north/state', { state: 'down' });
    at.feed.publish('camera/north/sea_state/latest', { seq: 8 });
    at.feed.publish('camera/south/sea_state/latest', null);
    at.feed.publish('model/progress', { phase: 'testing' });
    for (const read of [one, two]) {
      const events = await read(({ event }) => event === 'progress');
      expect(events.map(({ event }) => event)).toEqual([
        ...['observation', 'event', 'camera', 'sea_state', 'progress'],
      ]);
      expect(seqs(events, 'observation')).toEqual([2]);
    }
  });

  it('continue after the last id, each record once and in order, also while new ones are stored', async () => {
    await using at = await startFeed();
    for (let count = 0; count < 300; count += 1) at.stored.add();
    const since = `${at.stored.records[9]?.id ?? ''}.0`;
    const read = reader(await at.open(since));
    const more = setInterval(() => {
      if (at.stored.records.length < 320) at.stored.add();
    }, 2);
    const events = await read(({ data }) => data?.seq === 320);
    clearInterval(more);
    expect(seqs(events, 'observation')).toEqual(Array.from({ length: 310 }, (_none, index) => index + 11));
  });

  it('send a gap when they cannot continue', async () => {
    await using at = await startFeed({ maxMissed: 5 });
    for (let count = 0; count < 20; count += 1) at.stored.add();
    at.stored.pruned = 3;
    const reason = async (lastId: string): Promise<string | undefined> => {
      const events = await reader(await at.open(lastId))(({ event, id }) => event === 'gap' || id !== '');
      return events.at(-1)?.data?.reason;
    };
    const id = (seq: number): string => `${at.stored.records[seq - 1]?.id ?? ''}.0`;
    expect(await reason(id(2))).toBe('unknown_id');
    expect(await reason('nonsense')).toBe('unknown_id');
    expect(await reason(id(10))).toBe('too_many');
    expect(await reason(`${id(20)}7`)).toBe('unknown_id');
    const events = await reader(await at.open(id(18)))(({ data }) => data?.seq === 20);
    expect(seqs(events, 'observation')).toEqual([19, 20]);
  });

  it('are limited to a number of clients, and accept another one after a disconnect', async () => {
    await using at = await startFeed({ maxClients: 1 });
    const first = await at.open();
    const refused = await at.open();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await refused.json()).toMatchObject({ code: 'request_streams_full' });
    await first.body?.cancel();
    let again = await at.open();
    for (let tries = 0; again.status === 503 && tries < 100; tries += 1) {
      await again.body?.cancel();
      await new Promise((resolve) => setTimeout(resolve, 50));
      again = await at.open();
    }
    expect(again.status).toBe(200);
    await again.body?.cancel();
  });

  it('disconnect a client that does not read, without effect on others', async () => {
    await using at = await startFeed();
    const slow = connect(at.server.port, '127.0.0.1');
    slow.on('error', () => undefined);
    slow.write('GET /api/v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n');
    await once(slow, 'readable');
    const read = reader(await at.open());
    await read(({ id }) => id !== '');
    at.stored.padding = 'x'.repeat(60_000);
    const before = process.memoryUsage.rss();
    for (let count = 1; count <= 400; count += 1) {
      at.stored.add();
      at.feed.wake();
      await read(({ data }) => data?.seq === count);
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(120 * 1024 * 1024);
    // The server has closed the connection of the slow client.
    slow.resume();
    await once(slow, 'close');
  });

  it('end when the server stops', async () => {
    await using at = await startFeed();
    const read = reader(await at.open());
    await read(({ id }) => id !== '');
    const all = read(() => false);
    await at.server.server.stop();
    expect(await all).toEqual([]);
  });

  it('end when the store fails, and a new request gets the problem', async () => {
    await using at = await startFeed();
    const read = reader(await at.open());
    await read(({ id }) => id !== '');
    const broken = (): never => {
      throw new AgentError('store_failed', 'the store cannot be read');
    };
    Object.assign(at.stored.events, { after: broken, newestSeq: broken });
    await read(() => false);
    const again = await at.open();
    expect([again.status, await again.json()]).toEqual([
      503,
      expect.objectContaining({ code: 'store_failed' }),
    ]);
  });
});
