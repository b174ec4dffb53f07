import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { EventDraft } from '../../src/contract/states.ts';
import { observation } from '../fixtures/agent-api.ts';
import { collect } from '../fixtures/collect.ts';
import { CommandBench, settle } from '../fixtures/commands.ts';
import { contractFault } from '../fixtures/contract.ts';
import { hostileCommand, type HostileCommand } from '../fixtures/hostile-commands.ts';
import { draft, NO_FEATURES } from '../fixtures/store.ts';

/** The long form: SWELLSIGHT_FUZZ_COMMANDS=1000000. */
const MANY = Number(process.env['SWELLSIGHT_FUZZ_COMMANDS'] ?? 10_000);
const BATCH = 500;
const SEED = 20_260_601;

const heapMb = (): number => {
  collect();
  return process.memoryUsage().heapUsed / 1_048_576;
};

/** Replaces every method of the agent that a command may call. Returns the list of calls. */
function recordCalls(bench: CommandBench): string[] {
  const calls: string[] = [];
  const methods = [
    'announce',
    'capture',
    'addLabel',
    'removeLabel',
    'latestImage',
    'backfill',
    'diagnostics',
  ];
  for (const name of methods)
    Object.assign(bench.agent, {
      [name]: () => {
        calls.push(name);
        return Promise.resolve(observation);
      },
    });
  return calls;
}

describe(`${MANY} hostile commands`, () => {
  const open: CommandBench[] = [];
  afterEach(() => {
    for (const bench of open.splice(0)) bench.close();
  });
  const setUp = (): { bench: CommandBench; calls: string[]; raised: EventDraft[] } => {
    const raised: EventDraft[] = [];
    const bench = new CommandBench({}, { raise: (event) => void raised.push(event) });
    open.push(bench);
    return { bench, calls: recordCalls(bench), raised };
  };
  const sumCounts = (raised: readonly EventDraft[], code: string): number =>
    raised
      .filter((event) => event.code === code)
      .reduce((sum, { context }) => sum + Number(context['count']), 0);

  it(
    'never run; each is answered or counted, and memory does not grow',
    async () => {
      const { bench, calls, raised } = setUp();
      // Generated in batches, so that the messages do not count as heap growth.
      const generateBatch = (batch: number): HostileCommand[] =>
        fc.sample(hostileCommand, { numRuns: BATCH, seed: SEED + batch });
      let before = 0;
      const tally = { rejected: 0, other: 0, faults: [] as string[] };
      const badAnswers: string[] = [];
      for (let batch = 0; batch < MANY / BATCH; batch += 1) {
        for (const { name, payload, packet } of generateBatch(batch)) bench.send(name, payload, packet);
        await settle();
        for (const { topic, payload, options } of bench.link.sent.splice(0)) {
          const { status } = JSON.parse(String(payload)) as { status: string };
          if (status === 'rejected') tally.rejected += 1;
          else tally.other += 1;
          const fault = contractFault(bench.topics.absolute(topic), Buffer.from(payload));
          if (fault !== null) tally.faults.push(fault);
          if (!/^cmdres\/[^+#\p{Cc}\p{Cs}]{1,256}$/u.test(topic)) badAnswers.push(topic);
          if ((options.correlationData?.length ?? 0) > 1024 || String(payload).length > 3000)
            badAnswers.push(topic);
        }
        // After the first batches all code is loaded and compiled.
        if (batch === 3) before = heapMb();
      }
      const grown = heapMb() - before;
      await bench.clock.pass(3_600_000);
      await bench.clock.pass(3_600_000);
      expect(calls).toEqual([]);
      expect([tally.other, tally.faults, badAnswers]).toEqual([0, [], []]);
      expect(tally.rejected + sumCounts(raised, 'command_unanswered')).toBe(MANY);
      expect(bench.store.stats.read().rows['commands']).toBe(0);
      // Retained, expired and unanswered commands: one event for the first of each, then events with counts.
      expect(raised.length).toBeLessThan(12);
      expect(sumCounts(raised, 'command_retained')).toBeGreaterThan(100);
      expect(sumCounts(raised, 'command_expired')).toBeGreaterThan(100);
      expect(grown).toBeLessThan(8);
      console.log(`${MANY} hostile commands: heap grew by ${grown.toFixed(2)} MB, ${raised.length} events`);
    },
    60_000 + MANY * 5,
  );

  it('do not prevent valid commands among them, which run once each', async () => {
    const { bench, calls } = setUp();
    const validBody = (n: number) => ({ id: `good-${n}`, args: { camera: 'north' } });
    let n = 0;
    for (const { name, payload, packet } of fc.sample(hostileCommand, { numRuns: 2000, seed: 7 })) {
      bench.send(name, payload, packet);
      n += 1;
      if (n % 50 !== 0) continue;
      bench.send('capture', validBody(n / 50));
      bench.send('capture', validBody(n / 50));
      await settle();
      await bench.clock.pass(1000);
    }
    expect(calls).toEqual(Array.from({ length: 40 }, () => 'capture'));
    const succeeded = bench.replies().filter(({ status }) => status === 'succeeded');
    expect(new Set(succeeded.map(({ id }) => id)).size).toBe(40);
  }, 30_000);

  it('do not push records out of the outbox with events of retained and expired commands', async () => {
    const bench = new CommandBench();
    open.push(bench);
    for (let n = 0; n < 5; n += 1) bench.store.append(draft(), NO_FEATURES);
    for (let n = 0; n < MANY; n += 1) {
      const body = { id: `x${n}`, args: { camera: 'north' }, expires_at: '2020-01-01T00:00:00.000Z' };
      bench.send('capture', body, { retain: n % 2 === 0 });
      if (n % 500 === 0) await settle();
    }
    for (let hour = 0; hour < 24; hour += 1) await bench.clock.pass(3_600_000);
    expect(bench.store.outbox.next(100, new Set(), { streams: 'cameras' })).toHaveLength(5);
    expect(bench.store.outbox.stats().depth).toBeLessThan(5 + 10);
    const events = bench.store.events.recent(100);
    expect([sumCounts(events, 'command_retained'), sumCounts(events, 'command_expired')]).toEqual([
      MANY / 2,
      MANY / 2,
    ]);
  }, 30_000);
});
