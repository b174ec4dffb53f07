import { request } from './api.ts';

export interface ServerEvent {
  readonly name: string;
  readonly data: unknown;
}

export interface EventStreamHandlers {
  /** The connection is open; events follow. */
  readonly opened: () => void;
  readonly received: (event: ServerEvent) => void;
  /** The connection failed or ended; the stream connects again after a pause. */
  readonly lost: (reason: unknown) => void;
}

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
/** The agent sends a comment every 15 s; without any bytes for this time the connection is dead. */
const SILENCE_MS = 40_000;
/** Protects the memory of the page against a server that never ends an event. */
const MAX_EVENT_CHARACTERS = 4_000_000;

/**
 * Follows the server-sent events of an address until `signal` fires. `EventSource` cannot send a token, so this reads the
 * response itself. After a lost connection it asks for the events since the last one.
 */
export async function followEvents(
  path: string,
  handlers: EventStreamHandlers,
  signal: AbortSignal,
): Promise<void> {
  const position: { lastId?: string } = {};
  let pauseMs = FIRST_PAUSE_MS;
  for (const isStopped = (): boolean => signal.aborted; !isStopped();) {
    const opened = (): void => {
      pauseMs = FIRST_PAUSE_MS;
      handlers.opened();
    };
    const reason = await followOnce(path, { ...handlers, opened }, position, signal).catch(
      (thrown: unknown) => thrown,
    );
    if (isStopped()) return;
    handlers.lost(reason);
    await pause(pauseMs * (0.5 + Math.random() / 2), signal);
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
  }
}

/** One connection, until it ends or is silent. Rejects with `RequestProblem` when it cannot be opened. */
async function followOnce(
  path: string,
  { opened, received }: Pick<EventStreamHandlers, 'opened' | 'received'>,
  position: { lastId?: string },
  signal: AbortSignal,
): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const { body } = await request(path, {
      headers: position.lastId === undefined ? {} : { 'last-event-id': position.lastId },
      signal: AbortSignal.any([signal, silence.signal]),
    });
    opened();
    const parser = new EventParser((id, event) => {
      if (id !== null) position.lastId = id;
      received(event);
    });
    if (body === null) return;
    // Not `for await`: Safari streams have no iterator.
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      parser.add(part.value);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Cuts the text of `text/event-stream` into events. Exported for the tests. */
export class EventParser {
  readonly #emit: (id: string | null, event: ServerEvent) => void;
  #rest = '';

  constructor(emit: (id: string | null, event: ServerEvent) => void) {
    this.#emit = emit;
  }

  add(text: string): void {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    if (this.#rest.length > MAX_EVENT_CHARACTERS) throw new Error('an event is too long');
    for (const block of blocks) this.#parse(block);
  }

  #parse(block: string): void {
    let id: string | null = null;
    let name = 'message';
    const data: string[] = [];
    for (const line of block.split('\n')) {
      const [, field = '', value = ''] = /^(\w+): ?(.*)$/.exec(line) ?? [];
      if (field === 'id') id = value;
      else if (field === 'event') name = value;
      else if (field === 'data') data.push(value);
    }
    if (data.length === 0) return;
    try {
      this.#emit(id, { name, data: JSON.parse(data.join('\n')) as unknown });
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown;
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
