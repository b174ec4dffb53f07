import { afterEach, describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import type { ObservationDraft } from '../../../src/store/types.ts';
import { contractFault } from '../../fixtures/contract.ts';
import { Device, linkOptions, topics } from '../../fixtures/link.ts';
import { Mosquitto, until, type Message } from '../../fixtures/mosquitto.ts';
import { Proxy } from '../../fixtures/proxy.ts';
import { draft, NO_FEATURES } from '../../fixtures/store.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function broker(options: Parameters<typeof Mosquitto.start>[0] = {}): Promise<Mosquitto> {
  const mosquitto = await Mosquitto.start(options);
  cleanups.push(() => mosquitto.stop());
  return mosquitto;
}

async function proxied(mosquitto: Mosquitto): Promise<Proxy> {
  const proxy = await Proxy.to(mosquitto.port);
  cleanups.push(() => proxy.stop());
  return proxy;
}

function device(...args: ConstructorParameters<typeof Device>): Device {
  const running = new Device(...args);
  cleanups.push(() => running.stop());
  return running.start();
}

interface Arrived {
  readonly kind: string;
  readonly record: Observation;
}

const arrived = (messages: readonly Message[]): Arrived[] =>
  messages
    .filter(({ topic }) => topic.startsWith(`${topics.prefix}camera/`))
    .map(({ topic, payload }) => ({
      kind: topic.slice(topic.lastIndexOf('/') + 1),
      record: JSON.parse(payload.toString()) as Observation,
    }));

/** First arrivals only: what a consumer has after it dropped what it knew. */
function deduped(messages: readonly Message[]): Arrived[] {
  const known = new Set<string>();
  return arrived(messages).filter(({ record }) => !known.has(record.id) && known.add(record.id));
}

const seqs = (list: readonly Arrived[], kind: string, camera = 'north'): number[] =>
  list.filter((one) => one.kind === kind && one.record.camera === camera).map(({ record }) => record.seq);

const upTo = (last: number, from = 1): number[] =>
  Array.from({ length: last - from + 1 }, (_, n) => from + n);

function append(running: Device, count: number, camera = 'north'): void {
  for (let n = 0; n < count; n += 1) running.store.append(draft({ camera }), NO_FEATURES);
}

const drained = (running: Device): Promise<true> =>
  until(() => running.store.outbox.stats().depth === 0, 'an empty outbox');

/** Every message is as the contract says, and every stored record as it was sent. */
function checkAgainstStore(running: Device, messages: readonly Message[]): void {
  expect(messages.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean)).toEqual([]);
  for (const { record, kind } of arrived(messages)) {
    expect(record.historical).toBe(kind === 'backfill');
    expect(record.published_at).not.toBeNull();
  }
  // The newest sending of each: an earlier one may have been lost on its way back.
  const sent = new Map(arrived(messages).map(({ record }) => [record.id, record]));
  const stored = running.store.observations.query({ limit: 1000 }).observations;
  expect(stored).toHaveLength(sent.size);
  for (const record of stored) expect(sent.get(record.id)).toEqual(record);
}

describe('Forwarder on mosquitto', () => {
  it('sends what is recorded, as it is stored', async () => {
    const mosquitto = await broker();
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = device(linkOptions(mosquitto.url));
    await until(() => running.link.connected, 'the link');
    for (let n = 0; n < 10; n += 1) {
      append(running, 3);
      append(running, 1, 'south');
    }
    await drained(running);
    await until(() => seen.length === 40, 'all messages');
    expect(seqs(arrived(seen), 'observation')).toEqual(upTo(30));
    expect(seqs(arrived(seen), 'observation', 'south')).toEqual(upTo(10));
    checkAgainstStore(running, seen);
  });

  it('loses nothing when the broker is killed: live records first, the backlog behind, each in order', async () => {
    const mosquitto = await broker();
    const proxy = await proxied(mosquitto);
    const before = await mosquitto.record(`${topics.prefix}#`);
    const running = device(linkOptions(proxy.url), { backfillPerS: 200 });
    await until(() => running.link.connected, 'the link');
    append(running, 5);
    await drained(running);
    await until(() => seqs(arrived(before), 'observation').length === 5, 'the first records');
    await mosquitto.down('SIGKILL');
    append(running, 50);
    running.store.raise({ type: 'test', severity: 'info', code: 'test', message: 'm', context: {} });
    // The watcher first, so that it sees all.
    proxy.frozen = true;
    await mosquitto.up();
    const after = await mosquitto.record(`${topics.prefix}#`);
    proxy.frozen = false;
    proxy.cut();
    await until(() => running.link.connected, 'the link again');
    append(running, 3);
    await drained(running);
    await until(() => deduped(after).length === 53, 'all records');
    const list = deduped(after);
    expect(seqs(list, 'observation')).toEqual(upTo(58, 56));
    expect(seqs(list, 'backfill')).toEqual(upTo(55, 6));
    const kinds = list.map(({ kind }) => kind);
    expect(kinds.lastIndexOf('observation')).toBeLessThan(kinds.lastIndexOf('backfill'));
    expect(after.filter(({ topic }) => topic.endsWith('event/test'))).toHaveLength(1);
    checkAgainstStore(
      running,
      [...before, ...after].filter(({ topic }) => topic.includes('/camera/')),
    );
  });

  it('goes on after a restart of the agent: what was not acknowledged is sent, with the same id', async () => {
    const mosquitto = await broker();
    const running = new Device(linkOptions(mosquitto.url));
    cleanups.push(() => running.stop());
    append(running, 3);
    const ids = running.store.outbox
      .next(5, new Set())
      .map(({ payload }) => (JSON.parse(payload) as Observation).id);
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    running.start();
    await drained(running);
    await until(() => seen.length === 3, 'the backlog');
    expect(arrived(seen).map(({ kind, record }) => [kind, record.id])).toEqual(
      ids.map((id) => ['backfill', id]),
    );
  });

  it('keeps to a receive maximum of 1', async () => {
    const mosquitto = await broker({ lines: ['max_inflight_messages 1'] });
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = device(linkOptions(mosquitto.url));
    await until(() => running.link.connected, 'the link');
    append(running, 60);
    await drained(running);
    await until(() => seen.length >= 60, 'all messages');
    expect(seqs(deduped(seen), 'observation')).toEqual(upTo(60));
    expect(running.link.stats().reconnects1h).toBe(0);
  });

  it('survives a proxy that swallows every answer, and link cuts, without loss', async () => {
    const mosquitto = await broker();
    const proxy = await proxied(mosquitto);
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = device(linkOptions(proxy.url, { tuning: { ackTimeoutMs: 400 } }), { backfillPerS: 500 });
    await until(() => running.link.connected, 'the link');
    proxy.mute = true;
    append(running, 30);
    await until(() => proxy.connections >= 3, 'new attempts');
    expect(running.store.outbox.stats().depth).toBe(30);
    proxy.mute = false;
    for (let n = 0; n < 4; n += 1) {
      await until(() => running.link.connected, 'the link');
      append(running, 5);
      await new Promise((resolve) => setTimeout(resolve, 20));
      proxy.cut();
      await until(() => !running.link.connected, 'the loss');
    }
    await drained(running);
    await until(() => deduped(seen).length === 50, 'all messages');
    const list = deduped(seen);
    expect(list.map(({ record }) => record.seq).toSorted((a, b) => a - b)).toEqual(upTo(50));
    // Acknowledged or not, what arrived first of each kind came in order.
    for (const kind of ['observation', 'backfill'])
      expect(seqs(list, kind)).toEqual(seqs(list, kind).toSorted((a, b) => a - b));
    expect(running.store.outbox.stats().droppedTotal).toBe(0);
  });

  it('sets aside what the broker says is too large or forbidden, tells of it, and goes on', async () => {
    const mosquitto = await broker({
      lines: ['max_packet_size 4096'],
      users: { dev1: 'p', watcher: 'p' },
      acl: [
        'user dev1',
        `topic readwrite ${topics.prefix}status`,
        `topic readwrite ${topics.prefix}event/#`,
        `topic readwrite ${topics.prefix}camera/north/#`,
        'user watcher',
        'topic read swellsight/#',
      ],
    });
    const seen = await mosquitto.record(`${topics.prefix}#`, { username: 'watcher', password: 'p' });
    const running = device(linkOptions(mosquitto.url, { username: 'dev1', password: 'p' }));
    await until(() => running.link.connected, 'the link');
    running.store.append(draft({ warnings: ['w'.repeat(5000)] }), NO_FEATURES);
    append(running, 1, 'forbidden');
    append(running, 2);
    await drained(running);
    await until(() => seqs(arrived(seen), 'observation').length === 2, 'the others');
    expect(seqs(arrived(seen), 'observation')).toEqual([2, 3]);
    const told = running.store.events.recent(10).filter(({ type }) => type === 'outbox_rejected');
    expect(told.map(({ code }) => code).toSorted()).toEqual(['mqtt_publish_refused', 'mqtt_too_large']);
    expect(running.link.stats().reconnects1h).toBe(0);
  });

  it('sets aside what is larger than a limit that the broker does not tell', async () => {
    const mosquitto = await broker({ lines: ['message_size_limit 3000'] });
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = device(linkOptions(mosquitto.url, { tuning: POISON }), { backfillPerS: 500 });
    await poisoned(running, seen, { warnings: ['w'.repeat(5000)] });
  });

  it('finds the message over which the broker hangs up each time, and sets only that one aside', async () => {
    const mosquitto = await broker();
    const proxy = await proxied(mosquitto);
    proxy.hangUpOn = 'poison';
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = device(linkOptions(proxy.url, { tuning: POISON }), { backfillPerS: 500 });
    await poisoned(running, seen, { warnings: ['poison'] });
    expect(running.link.stats().reconnects1h).toBeGreaterThanOrEqual(5);
  });
});

const POISON = { ackTimeoutMs: 1000, backoff: { minMs: 10, maxMs: 20, resetAfterMs: 1e6 } };

/** One record among nine others that the broker never takes. */
async function poisoned(
  running: Device,
  seen: readonly Message[],
  over: Partial<ObservationDraft>,
): Promise<void> {
  await until(() => running.link.connected, 'the link');
  append(running, 3);
  running.store.append(draft(over), NO_FEATURES);
  append(running, 6);
  await drained(running);
  await until(() => deduped(seen).length === 9, 'the others');
  const numbers = deduped(seen).map(({ record }) => record.seq);
  expect(numbers.toSorted((a, b) => a - b)).toEqual([1, 2, 3, ...upTo(10, 5)]);
  const told = running.store.events.recent(20).filter(({ type }) => type === 'outbox_rejected');
  expect(told).toMatchObject([{ context: { seq: 4 } }]);
}
