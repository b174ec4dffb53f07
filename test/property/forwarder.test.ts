import { rmSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { Observation } from '../../src/contract/observation.ts';
import { AgentError } from '../../src/base/errors.ts';
import { Forwarder } from '../../src/mqtt/forward/forwarder.ts';
import type { Link } from '../../src/mqtt/types.ts';
import type { Store } from '../../src/store/store.ts';
import { draft, memoryDir, NO_FEATURES, openCopy, openStore, silentLog } from '../fixtures/store.ts';

const CAMERAS = ['north', 'south'] as const;
const MAX_OUTBOX_MESSAGES = 8;

/** How the broker answers the messages in flight: the first one (`take`, `refuse`) or all of them. */
type Answer = 'take' | 'take_all' | 'refuse' | 'busy' | 'lose' | 'lose_acks' | 'silence';
type Step =
  | { readonly do: 'record'; readonly camera: (typeof CAMERAS)[number]; readonly count: number }
  | { readonly do: 'answer'; readonly answer: Answer }
  | { readonly do: 'restart' | 'crash' | 'link_up' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('record' as const),
      camera: fc.constantFrom(...CAMERAS),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      answer: fc.constantFrom<Answer>(
        'take',
        'take',
        'take_all',
        'take_all',
        'refuse',
        'busy',
        'lose',
        'lose_acks',
        'silence',
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('restart', 'crash', 'link_up') }) },
);

interface Sent {
  readonly topic: string;
  readonly payload: string;
  readonly done: (error?: AgentError) => void;
}

/** A link with its broker. `taken` is what a subscriber has received. */
class Broker implements Link {
  connected = false;
  maxPayloadBytes = 1e6;
  taken: { topic: string; payload: string }[] = [];
  refused = new Set<string>();
  #sent: Sent[] = [];

  setState(): void {
    throw new Error('the forwarder must not call this');
  }

  stats(): never {
    throw new Error('the forwarder must not call this');
  }

  publish(topic: string, payload: string | Uint8Array): Promise<void> {
    const text = String(payload);
    return new Promise((resolve, reject) => {
      if (this.connected)
        this.#sent.push({ topic, payload: text, done: (error) => (error ? reject(error) : resolve()) });
      else reject(new AgentError('mqtt_unreachable', 'no link'));
    });
  }

  answer(answer: Answer): void {
    const [first] = this.#sent;
    if (!first || answer === 'silence') return;
    const sent = answer === 'take' || answer === 'refuse' ? this.#sent.splice(0, 1) : this.#sent.splice(0);
    for (const each of sent) this.#settle(each, answer);
    // The connection is lost together with the acknowledgements.
    if (answer === 'lose' || answer === 'lose_acks') this.connected = false;
  }

  /** The agent has stopped: nothing receives the answers to its messages. */
  forget(): void {
    this.connected = false;
    this.#sent = [];
  }

  #settle({ topic, payload, done }: Sent, answer: Answer): void {
    if (answer === 'take' || answer === 'take_all' || answer === 'lose_acks')
      this.taken.push({ topic, payload });
    if (answer === 'refuse') {
      this.refused.add((JSON.parse(payload) as { id: string }).id);
      done(new AgentError('mqtt_publish_refused', 'no'));
    } else if (answer === 'busy') done(new AgentError('mqtt_busy', 'later'));
    else if (answer === 'lose' || answer === 'lose_acks') done(new AgentError('mqtt_unreachable', 'lost'));
    else done();
  }
}

/** Lets promises, immediates and the timer of `AcknowledgedRows` run. */
const yieldToTimers = (ms = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

class Run {
  readonly dir = memoryDir().path;
  readonly broker = new Broker();
  readonly appended: { camera: string; seq: number; id: string }[] = [];
  store: Store = this.#open();
  #stop = new AbortController();
  #forwarder = this.#startForwarder();

  #open(): Store {
    return openStore(this.dir, systemClock, { outbox: { maxMessages: MAX_OUTBOX_MESSAGES, maxAgeDays: 7 } });
  }

  #startForwarder(): Forwarder {
    const { store, broker } = this;
    const forwarder = new Forwarder(
      { window: 3, backfillPerS: 0, deadlineMs: 40 },
      {
        outbox: store.outbox,
        link: broker,
        // Shorten only the pauses after a busy broker.
        clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 40), signal) },
        log: silentLog,
        raise: store.raise,
        random: () => 0,
      },
    );
    forwarder.start(this.#stop.signal);
    return forwarder;
  }

  async apply(each: Step): Promise<void> {
    if (each.do === 'record')
      for (let n = 0; n < each.count; n += 1) {
        const { camera, seq, id } = this.store.append(draft({ camera: each.camera }), NO_FEATURES);
        this.appended.push({ camera, seq, id });
      }
    else if (each.do === 'answer') this.broker.answer(each.answer);
    else if (each.do === 'link_up') this.linkUp();
    else this.restart(each.do === 'restart');
    await yieldToTimers();
  }

  linkUp(): void {
    if (this.broker.connected) return;
    this.broker.connected = true;
    this.#forwarder.linkUp();
  }

  /** `isClean`: the forwarder is stopped before the store is closed. Otherwise it can no longer write. */
  restart(isClean: boolean): void {
    this.broker.forget();
    const { store } = this;
    if (isClean) this.#stop.abort();
    store.close();
    this.#stop.abort();
    this.#stop = new AbortController();
    this.store = this.#open();
    this.#forwarder = this.#startForwarder();
  }

  /** Lets the broker accept everything until the outbox is empty. */
  async drain(): Promise<void> {
    const endMs = performance.now() + 5000;
    while (this.store.outbox.stats().depth > 0) {
      if (performance.now() > endMs) throw new Error(`${this.store.outbox.stats().depth} rows are stuck`);
      this.linkUp();
      this.broker.answer('take_all');
      await yieldToTimers(1);
    }
  }

  end(): void {
    this.#stop.abort();
    this.store.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

describe('outbox and forwarder with a broker that answers at random', () => {
  it('account for every record as accepted, rejected or dropped, and keep each stream in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const run = new Run();
        try {
          for (const each of steps) await run.apply(each);
          await run.drain();
          expectConsistent(run);
        } finally {
          run.end();
        }
      }),
      // Shrinking may take longer than the test may: ends earlier, with seed and counterexample.
      { numRuns: 60, interruptAfterTimeLimit: 100_000 },
    );
  }, 120_000);
});

function expectConsistent({ broker, appended, store, dir }: Run): void {
  const { droppedTotal } = store.outbox.stats();
  const db = openCopy(dir);
  const rejected = new Set(
    db
      .prepare<[], { id: string }>(`SELECT payload ->> 'id' AS id FROM rejected`)
      .all()
      .map(({ id }) => id),
  );
  const published = db
    .prepare<[], { n: number }>(
      `SELECT (SELECT count(*) FROM publications)
            + (SELECT count(*) FROM events WHERE published_at_ms IS NOT NULL) AS n`,
    )
    .get()?.n;
  const waiting = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM outbox').get()?.n;
  const integrity: unknown = db.pragma('integrity_check', { simple: true });
  db.close();
  expect(integrity).toBe('ok');
  expect(waiting).toBe(0);
  const first = new Map<string, Observation & { topic: string }>();
  for (const { topic, payload } of broker.taken) {
    const record = JSON.parse(payload) as Observation;
    if (topic.startsWith('camera/') && !first.has(record.id)) first.set(record.id, { ...record, topic });
  }
  // Each record is published, rejected or dropped exactly once.
  const events = store.events.recent(1000);
  expect((published ?? 0) + rejected.size + droppedTotal).toBe(appended.length + events.length);
  // Everything that is neither received nor rejected is counted as dropped.
  const arrived = new Set(broker.taken.map(({ payload }) => (JSON.parse(payload) as { id: string }).id));
  const missing = [...appended, ...events].filter(({ id }) => !arrived.has(id) && !rejected.has(id));
  expect(missing.length).toBeLessThanOrEqual(droppedTotal);
  for (const camera of CAMERAS)
    for (const kind of ['observation', 'backfill']) {
      const seqs = [...first.values()]
        .filter((record) => record.camera === camera && record.topic.endsWith(kind))
        .map(({ seq }) => seq);
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    }
  for (const record of first.values()) {
    expect(record.historical).toBe(record.topic.endsWith('backfill'));
    expect(record.published_at).not.toBeNull();
  }
  if (droppedTotal > 0) expect(events.some(({ type }) => type === 'outbox_dropped')).toBe(true);
}
