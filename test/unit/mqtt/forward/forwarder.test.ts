import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import { systemClock } from '../../../../src/base/clock.ts';
import { Forwarder } from '../../../../src/mqtt/forward/forwarder.ts';
import type { Link, PublishOptions } from '../../../../src/mqtt/types.ts';
import { until } from '../../../fixtures/mosquitto.ts';
import { draft, NO_FEATURES, silentLog } from '../../../fixtures/store.ts';
import { useStore } from '../../../fixtures/use-store.ts';

/** A link whose answers come from the test. */
class ScriptedLink implements Link {
  connected = true;
  maxPayloadBytes = 1e6;
  sent: { topic: string; options: PublishOptions; answer: (error?: AgentError) => void }[] = [];
  setState(): void {
    throw new Error('the forwarder must not call this');
  }
  publish(topic: string, _payload: string | Uint8Array, options: PublishOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.sent.push({ topic, options, answer: (error) => (error ? reject(error) : resolve()) });
    });
  }
  stats(): never {
    throw new Error('the forwarder must not call this');
  }
}

describe('Forwarder', () => {
  const state = useStore({}, { clock: systemClock });
  let link: ScriptedLink;
  let stop: AbortController;

  beforeEach(() => {
    link = new ScriptedLink();
    stop = new AbortController();
  });
  afterEach(() => {
    stop.abort();
  });

  function startForwarder(
    options: ConstructorParameters<typeof Forwarder>[0],
    outbox = state.store.outbox,
  ): Forwarder {
    const made = new Forwarder(options, {
      outbox,
      link,
      clock: systemClock,
      log: silentLog,
      random: () => 0.01,
      raise: state.store.raise,
    });
    made.start(stop.signal);
    return made;
  }

  const append = (count: number): void => {
    for (let n = 0; n < count; n += 1) state.store.append(draft(), NO_FEATURES);
  };
  const event = (): void =>
    state.store.raise({ type: 'e', severity: 'info', code: 'e', message: '', context: {} });
  const depth = (): number => state.store.outbox.stats().depth;

  it('sends nothing before the link is up, then at most its window', async () => {
    const made = startForwarder({ window: 3 });
    append(2);
    expect(link.sent).toHaveLength(0);
    made.linkUp();
    append(8);
    await until(() => link.sent.length === 3, 'a full window');
    link.sent[0]!.answer();
    await until(() => link.sent.length === 4, 'the next one');
    await until(() => depth() === 9, 'the row to leave');
  });

  it('sends live records, then events, then the backlog, which is marked as bulk and rate-limited', async () => {
    append(30);
    event();
    const made = startForwarder({ window: 1, backfillPerS: 40 });
    link.connected = false;
    made.linkUp();
    link.connected = true;
    append(1);
    const startedMs = performance.now();
    for (let n = 1; n <= 32; n += 1) {
      await until(() => link.sent.length === n, `message ${n}`);
      link.sent[n - 1]!.answer();
    }
    expect(link.sent.slice(0, 3).map(({ topic }) => topic)).toEqual([
      'camera/north/observation',
      'event/e',
      'camera/north/backfill',
    ]);
    expect(link.sent.map(({ options }) => options.bulk)).toEqual([
      false,
      false,
      ...new Array<boolean>(30).fill(true),
    ]);
    // 30 records of the backlog at 40 a second; a timer may be early by one millisecond.
    expect(performance.now() - startedMs).toBeGreaterThan(650);
    await until(() => depth() === 0, 'an empty outbox');
  });

  it('counts one strike for each link, even if a closing link refuses a message several times', async () => {
    const made = startForwarder({ window: 5 });
    made.linkUp();
    append(1);
    const linkLost = (): AgentError => new AgentError('mqtt_unreachable', 'the link was lost');
    for (let n = 1; n <= 8; n += 1) {
      await until(() => link.sent.length === n, `try ${n}`);
      link.sent[n - 1]!.answer(linkLost());
    }
    expect(depth()).toBe(1);
    for (let n = 9; n <= 12; n += 1) {
      made.linkUp();
      await until(() => link.sent.length === n, `try ${n}`);
      link.sent[n - 1]!.answer(linkLost());
    }
    await until(
      () => state.store.outbox.next(10, new Set())[0]?.stream === 'events',
      'the event about the rejection',
    );
    expect(state.store.stats.rejected(10).count).toBe(1);
  });

  it('pauses when the broker is busy, and sends the same row again', async () => {
    const made = startForwarder({ window: 5 });
    made.linkUp();
    append(1);
    link.sent[0]!.answer(new AgentError('mqtt_busy', 'quota'));
    await until(() => link.sent.length === 2, 'the second try');
    link.sent[1]!.answer();
    await until(() => depth() === 0, 'an empty outbox');
  });

  it('does not send an acknowledged row again that a full disk kept in the outbox', async () => {
    let failures = 0;
    const { outbox } = state.store;
    const failing: typeof outbox = {
      get newestRowId() {
        return outbox.newestRowId;
      },
      get revision() {
        return outbox.revision;
      },
      protect: (rows) => outbox.protect(rows),
      peek: (limit) => state.store.outbox.peek(limit),
      next: (...args) => outbox.next(...args),
      acknowledge: (...args) => {
        failures += 1;
        if (failures === 1) throw new AgentError('store_full', 'full');
        outbox.acknowledge(...args);
      },
      reject: (...args) => outbox.reject(...args),
      stats: () => outbox.stats(),
      onAdded: (listener) => outbox.onAdded(listener),
    };
    const made = startForwarder({ window: 5 }, failing);
    made.linkUp();
    append(1);
    link.sent[0]!.answer();
    await until(() => depth() === 0, 'an empty outbox');
    await made.idle(AbortSignal.timeout(2000));
    expect(failures).toBe(2);
    expect(link.sent).toHaveLength(1);
  });

  it('sends suspects alone after a loss, and clears them on PUBACK', async () => {
    const made = startForwarder({ window: 4, backfillPerS: 1e6 });
    made.linkUp();
    append(4);
    link.connected = false;
    for (const { answer } of link.sent.splice(0)) answer(new AgentError('mqtt_unreachable', 'lost'));
    await new Promise((resolve) => setImmediate(resolve));
    link.connected = true;
    made.linkUp();
    // A live record arrives meanwhile: it is not sent together with a suspect.
    append(1);
    for (let n = 1; n <= 5; n += 1) {
      await until(() => link.sent.length === n, `row ${n}`);
      await new Promise((resolve) => setImmediate(resolve));
      expect(link.sent).toHaveLength(n);
      link.sent[n - 1]!.answer();
    }
    await until(() => depth() === 0, 'an empty outbox');
    append(4);
    await until(() => link.sent.length === 9, 'the full window again');
  });

  it('sends nothing and changes nothing after its signal', async () => {
    const made = startForwarder({ window: 4 });
    made.linkUp();
    append(1);
    stop.abort();
    link.sent[0]!.answer(new AgentError('mqtt_publish_refused', 'no'));
    append(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(link.sent).toHaveLength(1);
    expect(depth()).toBe(2);
    await made.idle(AbortSignal.timeout(50));
  });
});
