import { computed, effect, signal } from '@preact/signals';
import { route } from '../shared/route.ts';
import { FleetConnection, lastMessage, link } from './connection.ts';
import type { Row } from './device-table.ts';
import { listTags, tagsOf } from './tags.ts';
import { selectRows, type Selection } from './selection.ts';
import { login } from './login.ts';

/** How often the list is computed again, at most. */
const TICK_MS = 1000;
/** The first messages of a burst are shown after this time. */
const FIRST_TICK_MS = 120;

/** The present connection; null while the page asks for the login. */
export const connection = signal<FleetConnection | null>(null);
/** The devices as they were judged last, and when. */
export const snapshot = signal<{ readonly rows: readonly Row[]; readonly nowMs: number }>({
  rows: [],
  nowMs: Date.now(),
});
/** True when messages of further devices were left out. */
export const isFull = signal(false);

let lastTickMs = 0;
let timer = 0;

function tick(): void {
  timer = 0;
  lastTickMs = Date.now();
  const table = connection.value?.table;
  // Without a connection, no heartbeat can arrive: what was known then stays as it is.
  if (!table || link.value.kind === 'lost') return;
  isFull.value = table.isFull;
  if (document.visibilityState === 'visible')
    snapshot.value = { rows: table.rows(lastTickMs), nowMs: lastTickMs };
}

/** Computes the list soon: at once for the first message, at most once a second for the next ones. */
function tickSoon(): void {
  if (timer !== 0) return;
  timer = window.setTimeout(tick, Math.max(FIRST_TICK_MS, lastTickMs + TICK_MS - Date.now()));
}

/** Connects with each new login. */
export function followLogin(): void {
  setInterval(() => {
    if (Date.now() - lastTickMs >= TICK_MS) tick();
  }, TICK_MS);
  document.addEventListener('visibilitychange', tick);
  effect(() => {
    const next = login.value;
    connection.peek()?.close();
    snapshot.value = { rows: [], nowMs: Date.now() };
    lastMessage.ms = 0;
    if (next === null) {
      connection.value = null;
      return;
    }
    const opened: FleetConnection = new FleetConnection(next, (message) => {
      lastMessage.ms = message.receivedMs;
      if (opened.table.receive(message)) tickSoon();
      for (const listener of listeners) listener(message.topic, message.payload);
    });
    connection.value = opened;
    opened.open().catch((thrown: unknown) => {
      link.value = { kind: 'failed', reason: String(thrown) };
    });
  });
}

const listeners = new Set<(topic: string, payload: Uint8Array) => void>();

/** Calls the listener for each message until the returned function is called. */
export function listen(listener: (topic: string, payload: Uint8Array) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Filter, search and order, from the address. */
export const selection = computed<Selection>(() => {
  const { params } = route.value;
  return {
    search: params.get('q') ?? '',
    conditions: params.get('show')?.split(',') ?? [],
    site: params.get('site'),
    tag: params.get('tag'),
    sort: params.get('sort') ?? 'condition',
    isReversed: params.get('dir') === 'desc',
  };
});

/** The rows that match, in the chosen order. */
export const shownRows = computed(() =>
  selectRows(snapshot.value.rows, selection.value, snapshot.value.nowMs, tagsOf),
);
export const sites = computed(() =>
  [...new Set(snapshot.value.rows.map(({ device }) => device.site))].sort(),
);
export const allTags = computed(() => listTags(snapshot.value.rows.map(({ device }) => device.name)));
/** The open device, `site/device`; null without one. */
export const openName = computed(() => route.value.params.get('device'));
