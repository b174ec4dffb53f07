import { describe, expect, it } from 'vitest';
import type { Observation } from '../../../src/contract/observation.ts';
import type { ObservationDraft } from '../../../src/store/types.ts';
import { contractFault } from '../../fixtures/contract.ts';
import { linkOptions, topics, type Device } from '../../fixtures/link.ts';
import { LinkTestBed } from '../../fixtures/link-test-bed.ts';
import { until, type Message } from '../../fixtures/mosquitto.ts';
import { draft, NO_FEATURES, seaStateDraft } from '../../fixtures/store.ts';

const bed = new LinkTestBed();

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

/** The first arrival of each id, as a consumer keeps it. */
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

/** Every message conforms to the contract, and every stored record equals the one that was sent. */
function expectSameAsStore(running: Device, messages: readonly Message[]): void {
  expect(messages.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean)).toEqual([]);
  for (const { record, kind } of arrived(messages)) {
    expect(record.historical).toBe(kind === 'backfill');
    expect(record.published_at).not.toBeNull();
  }
  // The last copy of each record: the PUBACK of an earlier one may have been lost.
  const sent = new Map(arrived(messages).map(({ record }) => [record.id, record]));
  const stored = running.store.observations.query({ limit: 1000 }).observations;
  expect(stored).toHaveLength(sent.size);
  for (const record of stored) expect(sent.get(record.id)).toEqual(record);
}

describe('Forwarder on mosquitto', () => {
  it('sends every record as it is stored', async () => {
    const mosquitto = await bed.broker();
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = bed.device(linkOptions(mosquitto.url)).start();
    await until(() => running.link.connected, 'the link');
    for (let n = 0; n < 10; n += 1) {
      append(running, 3);
      append(running, 1, 'south');
    }
    await drained(running);
    await until(() => seen.length === 40, 'all messages');
    expect(seqs(arrived(seen), 'observation')).toEqual(upTo(30));
    expect(seqs(arrived(seen), 'observation', 'south')).toEqual(upTo(10));
    expectSameAsStore(running, seen);
  });

  it('loses nothing when the broker is killed: live records first, then the backlog, each in order', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const before = await mosquitto.record(`${topics.prefix}#`);
    const running = bed.device(linkOptions(proxy.url), { backfillPerS: 200 }).start();
    await until(() => running.link.connected, 'the link');
    append(running, 5);
    await drained(running);
    await until(() => seqs(arrived(before), 'observation').length === 5, 'the first records');
    await mosquitto.down('SIGKILL');
    append(running, 50);
    running.store.raise({ type: 'test', severity: 'info', code: 'test', message: 'm', context: {} });
    // The subscriber connects first, so that it receives all messages.
    proxy.frozen = true;
    await mosquitto.up();
    const after = await mosquitto.record(`${topics.prefix}#`);
    proxy.frozen = false;
    proxy.cut();
    await until(() => running.link.connected, 'the next link');
    append(running, 3);
    await drained(running);
    await until(() => deduped(after).length === 53, 'all records');
    const list = deduped(after);
    expect(seqs(list, 'observation')).toEqual(upTo(58, 56));
    expect(seqs(list, 'backfill')).toEqual(upTo(55, 6));
    const kinds = list.map(({ kind }) => kind);
    expect(kinds.lastIndexOf('observation')).toBeLessThan(kinds.lastIndexOf('backfill'));
    expect(after.filter(({ topic }) => topic.endsWith('event/test'))).toHaveLength(1);
    expectSameAsStore(
      running,
      [...before, ...after].filter(({ topic }) => topic.includes('/camera/')),
    );
  });

  it('sends unacknowledged records with the same id after a restart of the agent', async () => {
    const mosquitto = await bed.broker();
    const running = bed.device(linkOptions(mosquitto.url));
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

  it('sends sea states on topics of their own, with their own numbers, and again on request', async () => {
    const mosquitto = await bed.broker();
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = bed.device(linkOptions(mosquitto.url));
    const { store } = running;
    for (let n = 0; n < 3; n += 1) {
      append(running, 1);
      store.appendSeaState(seaStateDraft());
    }
    running.start();
    await until(() => running.link.connected, 'the link');
    await drained(running);
    store.appendSeaState(seaStateDraft());
    await drained(running);
    store.requeue('north', 2, 4, 'sea_state');
    await drained(running);
    await until(() => seen.length === 10, 'all messages');
    expect(seen.map(({ topic, payload }) => contractFault(topic, payload)).filter(Boolean)).toEqual([]);
    const sent = seen.map(({ topic, payload, retain }) => {
      const { seq, historical } = JSON.parse(payload.toString()) as Observation;
      return [topic.slice(`${topics.prefix}camera/north/`.length), seq, historical, retain];
    });
    expect(sent.filter(([kind]) => kind === 'backfill')).toHaveLength(3);
    expect(sent.filter(([kind]) => kind !== 'backfill')).toEqual([
      ...upTo(3).map((seq) => ['sea_state/backfill', seq, true, false]),
      ['sea_state', 4, false, false],
      ...upTo(4, 2).map((seq) => ['sea_state/backfill', seq, true, false]),
    ]);
    expect(store.seaStates.newest('north')).toMatchObject({ seq: 4, historical: true });
  });

  it('respects a receive maximum of 1', async () => {
    const mosquitto = await bed.broker({ lines: ['max_inflight_messages 1'] });
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = bed.device(linkOptions(mosquitto.url)).start();
    await until(() => running.link.connected, 'the link');
    append(running, 60);
    await drained(running);
    await until(() => seen.length >= 60, 'all messages');
    expect(seqs(deduped(seen), 'observation')).toEqual(upTo(60));
    expect(running.link.stats().reconnects1h).toBe(0);
  });

  it('loses nothing when a proxy drops every answer and cuts the link', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = bed
      .device(linkOptions(proxy.url, { tuning: { ackTimeoutMs: 400 } }), { backfillPerS: 500 })
      .start();
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
    // With or without PUBACK, the first arrivals of each kind are in order.
    for (const kind of ['observation', 'backfill'])
      expect(seqs(list, kind)).toEqual(seqs(list, kind).toSorted((a, b) => a - b));
    expect(running.store.outbox.stats().droppedTotal).toBe(0);
  });

  it('sets aside records that the broker calls too large or forbidden, raises events, and continues', async () => {
    const mosquitto = await bed.broker({
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
    const running = bed.device(linkOptions(mosquitto.url, { username: 'dev1', password: 'p' })).start();
    await until(() => running.link.connected, 'the link');
    running.store.append(draft({ warnings: ['w'.repeat(5000)] }), NO_FEATURES);
    append(running, 1, 'forbidden');
    append(running, 2);
    await drained(running);
    await until(() => seqs(arrived(seen), 'observation').length === 2, 'the others');
    expect(seqs(arrived(seen), 'observation')).toEqual([2, 3]);
    const rejections = running.store.events.recent(10).filter(({ type }) => type === 'outbox_rejected');
    expect(rejections.map(({ code }) => code).toSorted()).toEqual(['mqtt_publish_refused', 'mqtt_too_large']);
    expect(running.link.stats().reconnects1h).toBe(0);
  });

  it('sets aside a record above a limit that the broker does not announce', async () => {
    const mosquitto = await bed.broker({ lines: ['message_size_limit 3000'] });
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = bed
      .device(linkOptions(mosquitto.url, { tuning: QUICK_LOSS }), { backfillPerS: 500 })
      .start();
    await expectPoisonRejected(running, seen, { warnings: ['w'.repeat(5000)] });
  });

  it('sets aside only the message over which the broker closes the connection each time', async () => {
    const mosquitto = await bed.broker();
    const proxy = await bed.proxyTo(mosquitto.port);
    proxy.closesOn = 'poison';
    const seen = await mosquitto.record(`${topics.prefix}camera/#`);
    const running = bed.device(linkOptions(proxy.url, { tuning: QUICK_LOSS }), { backfillPerS: 500 }).start();
    await expectPoisonRejected(running, seen, { warnings: ['poison'] });
    expect(running.link.stats().reconnects1h).toBeGreaterThanOrEqual(5);
  });
});

const QUICK_LOSS = { ackTimeoutMs: 1000, backoff: { minMs: 10, maxMs: 20, resetAfterMs: 1e6 } };

/** Sends ten records. The broker never accepts the fourth. */
async function expectPoisonRejected(
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
  const rejections = running.store.events.recent(20).filter(({ type }) => type === 'outbox_rejected');
  expect(rejections).toMatchObject([{ context: { seq: 4 } }]);
}
