import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import Database from 'better-sqlite3';

/** Compares everything that a device stored with everything that a subscriber received. */
export interface Verdict {
  readonly observations: number;
  readonly events: number;
  /** Messages that reached the subscriber, repetitions included. */
  readonly received: number;
  readonly duplicates: number;
  readonly live: number;
  readonly backfill: number;
  /** Not received and not acknowledged by the broker: lost by the device, or not sent yet. */
  readonly lostByDevice: readonly string[];
  /** Acknowledged by the broker, but not received. */
  readonly lostByBroker: readonly string[];
  readonly changed: readonly string[];
  readonly outOfOrder: readonly string[];
  /** Received, but not in the database. */
  readonly unknown: readonly string[];
}

interface Stored {
  readonly key: string;
  readonly payload: string;
  seen: boolean;
}

type Kind = 'observation' | 'backfill' | 'event';

/** Reads the device's database and the subscriber's file, and compares them message by message. */
export async function judge(
  device: string,
  database: string,
  received: string,
  acked: ReadonlySet<string>,
): Promise<Verdict> {
  const stored = readStored(database);
  const found = { received: 0, duplicates: 0, observation: 0, backfill: 0, event: 0 };
  const changed: string[] = [];
  const outOfOrder: string[] = [];
  const unknown: string[] = [];
  const last = new Map<string, number>();
  for await (const line of createInterface({ input: createReadStream(received) })) {
    const tab = line.indexOf('\t');
    const match = /\/([^/]+)\/(?:camera\/([^/]+)\/(observation|backfill)|(event)\/[^/]+)$/.exec(
      line.slice(0, tab),
    );
    if (match?.[1] !== device) continue;
    const kind = (match[3] ?? match[4]) as Kind;
    const stream = match[2] === undefined ? 'events' : `camera:${match[2]}`;
    const message = JSON.parse(line.slice(tab + 1)) as Message;
    found.received += 1;
    const record = stored.get(message.id);
    const key = `${stream} ${message.seq}`;
    if (!record) {
      unknown.push(key);
      continue;
    }
    if (record.key !== key || !isSame(message, record.payload, kind)) changed.push(key);
    if (record.seen) {
      found.duplicates += 1;
      continue;
    }
    record.seen = true;
    found[kind] += 1;
    const topic = `${stream} ${kind}`;
    if (message.seq <= (last.get(topic) ?? 0)) outOfOrder.push(key);
    last.set(topic, Math.max(message.seq, last.get(topic) ?? 0));
  }
  const missing = [...stored].filter(([, { seen }]) => !seen);
  const events = [...stored.values()].filter(({ key }) => key.startsWith('events ')).length;
  return {
    observations: stored.size - events,
    events,
    received: found.received,
    duplicates: found.duplicates,
    live: found.observation,
    backfill: found.backfill,
    lostByDevice: missing.filter(([id]) => !acked.has(id)).map(([, { key }]) => key),
    lostByBroker: missing.filter(([id]) => acked.has(id)).map(([, { key }]) => key),
    changed,
    outOfOrder,
    unknown,
  };
}

/** Describes the faults of a verdict, with a few examples of each kind. */
export function faultsOf(verdict: Verdict): readonly string[] {
  const lists = {
    'lost by the device': verdict.lostByDevice,
    'lost by the broker': verdict.lostByBroker,
    changed: verdict.changed,
    'out of order': verdict.outOfOrder,
    'not in the database': verdict.unknown,
  };
  return Object.entries(lists)
    .filter(([, keys]) => keys.length > 0)
    .map(([kind, keys]) => `${keys.length} ${kind}: ${keys.slice(0, 5).join(', ')}`);
}

interface Message {
  readonly id: string;
  readonly seq: number;
  readonly [field: string]: unknown;
}

function readStored(database: string): Map<string, Stored> {
  const db = new Database(database, { readonly: true });
  try {
    const rows = db
      .prepare<[], { id: string; key: string; payload: string }>(
        `SELECT id, 'camera:' || camera || ' ' || seq AS key, payload FROM observations
         UNION ALL SELECT payload ->> 'id', 'events ' || seq, payload FROM events`,
      )
      .all();
    return new Map(rows.map(({ id, key, payload }) => [id, { key, payload, seen: false }]));
  } finally {
    db.close();
  }
}

/** Compares all stored fields. The fields set at publication must match the topic. */
function isSame(message: Message, payload: string, kind: Kind): boolean {
  if (kind === 'event') return isDeepStrictEqual(message, JSON.parse(payload));
  const { published_at, historical, ...rest } = message;
  const stored = JSON.parse(payload) as Message;
  return (
    typeof published_at === 'string' &&
    historical === (kind === 'backfill') &&
    isDeepStrictEqual(
      { ...rest, published_at: stored['published_at'], historical: stored['historical'] },
      stored,
    )
  );
}
