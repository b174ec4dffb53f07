import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { AgentError } from '../base/errors.ts';
import { sayProblem } from './raw-answer.ts';

export interface ConnectionLimits {
  /** Connections at the same time. */
  readonly most: number;
  /** Requests that one connection may send ahead of their answers. */
  readonly mostAhead: number;
  /** So many idle ones stay rather than those that are slow to send or to read: they may just have come, and be about to ask. */
  readonly fewIdle: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = { most: 256, mostAhead: 32, fewIdle: 16 };

/** Streams of events are given so long to end by themselves. */
const EVENTS_GRACE_MS = 250;

/**
 * The server's connections, and which of them wait for their clients: an attacker's or an idle one has to go when
 * there are too many, and never one whose request is being worked on.
 *
 * INVARIANT: a connection is in `#idle` exactly while no request of it is under way.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  /** Requests under way, by connection. */
  readonly #all = new Map<Socket, Set<ServerResponse>>();
  /** The one that has been idle the longest comes first. */
  readonly #idle = new Set<Socket>();
  readonly #open = new Map<ServerResponse, IncomingMessage>();
  /** What these ask is refused. */
  readonly #over = new WeakSet<Socket>();
  #onQuiet: (() => void) | null = null;

  constructor(limits: ConnectionLimits = CONNECTION_LIMITS) {
    this.#limits = limits;
  }

  attach(server: Server): void {
    server.on('connection', (socket) => this.#connected(socket));
    // In front of the one who answers, who asks about the connection.
    server.prependListener('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#requested(request, response),
    );
    // The client has neither sent nor taken a byte for long.
    server.on('timeout', (socket: Socket) => {
      if (this.#waitsForClient(socket)) socket.destroy();
    });
  }

  get count(): number {
    return this.#all.size;
  }

  /** Whether it came when there was no room left, or sends more ahead than it may. */
  isOver(socket: Socket): boolean {
    return this.#over.has(socket);
  }

  /** Whether bytes may still be written to it outside of an answer. */
  mayAnswer(socket: Socket): boolean {
    const open = [...(this.#all.get(socket) ?? [])];
    return socket.writable && open.length <= 1 && open.every((response) => !response.headersSent);
  }

  /** Waits until no request is under way, at most this long; streams of events have no end and are cut. */
  async quiet(withinMs: number): Promise<void> {
    const events = setTimeout(() => {
      for (const response of this.#open.keys()) if (isEvents(response)) response.destroy();
    }, EVENTS_GRACE_MS);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onQuiet = resolve;
      timer = setTimeout(resolve, withinMs);
      if (this.#open.size === 0) resolve();
    });
    clearTimeout(timer);
    clearTimeout(events);
    this.#onQuiet = null;
  }

  /** Ends what is still under way: with an answer where none has begun. */
  cut(): void {
    for (const [response, { socket }] of this.#open)
      if (response.headersSent) socket.destroy();
      else
        sayProblem(
          socket,
          new AgentError('request_stopping', 'the agent stopped before the answer was ready'),
        );
  }

  #connected(socket: Socket): void {
    while (this.#all.size >= this.#limits.most && this.#shed());
    if (this.#all.size >= this.#limits.most) this.#over.add(socket);
    this.#all.set(socket, new Set());
    this.#idle.add(socket);
    socket.once('close', () => {
      this.#all.delete(socket);
      this.#idle.delete(socket);
    });
  }

  #requested(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const open = this.#all.get(socket);
    if (!open) return;
    this.#idle.delete(socket);
    open.add(response);
    this.#open.set(response, request);
    response.once('close', () => {
      open.delete(response);
      this.#open.delete(response);
      if (open.size === 0 && !socket.destroyed) this.#idle.add(socket);
      if (this.#open.size === 0) this.#onQuiet?.();
    });
    // Those that came in the same packet are still handed on.
    if (open.size > this.#limits.mostAhead) {
      this.#over.add(socket);
      socket.destroy();
    }
  }

  /** Makes room: the oldest idle one goes where there are many, or else the oldest one that waits for its client. */
  #shed(): boolean {
    const [idle] = this.#idle;
    const slow = (): Socket | undefined =>
      this.#all.keys().find((one) => !this.#idle.has(one) && this.#waitsForClient(one));
    const socket = this.#idle.size > this.#limits.fewIdle ? idle : (slow() ?? idle);
    if (!socket) return false;
    this.#all.delete(socket);
    this.#idle.delete(socket);
    socket.destroy();
    return true;
  }

  /** For more of a request, or for the client to take the answer; not for the agent. */
  #waitsForClient(socket: Socket): boolean {
    const open = [...(this.#all.get(socket) ?? [])];
    return (
      open.length === 0 ||
      socket.writableLength > 0 ||
      open.some((response) => this.#open.get(response)?.complete === false)
    );
  }
}

const isEvents = (response: ServerResponse): boolean =>
  String(response.getHeader('content-type')).startsWith('text/event-stream');
