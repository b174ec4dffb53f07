import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { AgentError } from '../base/errors.ts';
import { writeProblem } from './problem.ts';

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Requests that one connection may send before the response to the first of them (HTTP pipelining). */
  readonly maxPipelined: number;
  /** With more idle connections than this, close an idle one before a slow one. A few idle ones may be new and about to send. */
  readonly sparedIdle: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = { maxConnections: 256, maxPipelined: 32, sparedIdle: 16 };

/** Time for streams of events to end on their own, before they are cut. */
const EVENTS_GRACE_MS = 250;

/**
 * Limits the connections of the server. When there are too many, it closes an idle connection or one that waits for a slow
 * client, never one whose request the agent is processing.
 *
 * INVARIANT: a connection is in `#idle` exactly while it has no open request.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  /** Open requests by connection. The oldest connection is first. */
  readonly #connections = new Map<Socket, Set<ServerResponse>>();
  /** The connection that has been idle for the longest time is first. */
  readonly #idle = new Set<Socket>();
  readonly #requests = new Map<ServerResponse, IncomingMessage>();
  /** Connections over a limit: their requests are refused. */
  readonly #over = new WeakSet<Socket>();
  #onAllDone: (() => void) | null = null;

  constructor(limits: ConnectionLimits = CONNECTION_LIMITS) {
    this.#limits = limits;
  }

  attach(server: Server): void {
    server.on('connection', (socket) => this.#addConnection(socket));
    // Before fastify's listener, which needs the state of the connection.
    server.prependListener('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#addRequest(request, response),
    );
    // No byte was sent or received for the idle timeout.
    server.on('timeout', (socket: Socket) => {
      if (this.#waitsForClient(socket)) socket.destroy();
    });
  }

  get count(): number {
    return this.#connections.size;
  }

  /** True when the connection exceeds the number of connections or of pipelined requests. */
  isOver(socket: Socket): boolean {
    return this.#over.has(socket);
  }

  /** True when no response has begun, so that a raw response can be written to the socket. */
  canWriteTo(socket: Socket): boolean {
    const open = [...(this.#connections.get(socket) ?? [])];
    return socket.writable && open.length <= 1 && open.every((response) => !response.headersSent);
  }

  /** Waits until all requests are done, or for `timeoutMs`. Cuts streams of events, which have no end. */
  async whenIdle(timeoutMs: number): Promise<void> {
    const eventsTimer = setTimeout(() => {
      for (const response of this.#requests.keys()) if (isEventStream(response)) response.destroy();
    }, EVENTS_GRACE_MS);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onAllDone = resolve;
      timer = setTimeout(resolve, timeoutMs);
      if (this.#requests.size === 0) resolve();
    });
    clearTimeout(timer);
    clearTimeout(eventsTimer);
    this.#onAllDone = null;
  }

  /** Ends the remaining requests. Those without a response yet get `request_stopping`. */
  cutAll(): void {
    for (const [response, { socket }] of this.#requests)
      if (response.headersSent) socket.destroy();
      else
        writeProblem(
          socket,
          new AgentError('request_stopping', 'the agent stopped before the response was ready'),
        );
  }

  #addConnection(socket: Socket): void {
    while (this.#connections.size >= this.#limits.maxConnections && this.#closeOne());
    if (this.#connections.size >= this.#limits.maxConnections) this.#over.add(socket);
    this.#connections.set(socket, new Set());
    this.#idle.add(socket);
    socket.once('close', () => {
      this.#connections.delete(socket);
      this.#idle.delete(socket);
    });
  }

  #addRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const open = this.#connections.get(socket);
    if (!open) return;
    this.#idle.delete(socket);
    open.add(response);
    this.#requests.set(response, request);
    response.once('close', () => {
      open.delete(response);
      this.#requests.delete(response);
      if (open.size === 0 && !socket.destroyed) this.#idle.add(socket);
      if (this.#requests.size === 0) this.#onAllDone?.();
    });
    // Node still emits the requests that arrived in the same packet.
    if (open.size > this.#limits.maxPipelined) {
      this.#over.add(socket);
      socket.destroy();
    }
  }

  /** Closes the longest idle connection when there are many, else the oldest one that waits for its client. */
  #closeOne(): boolean {
    const [longestIdle] = this.#idle;
    const findSlow = (): Socket | undefined =>
      this.#connections.keys().find((other) => !this.#idle.has(other) && this.#waitsForClient(other));
    const socket = this.#idle.size > this.#limits.sparedIdle ? longestIdle : (findSlow() ?? longestIdle);
    if (!socket) return false;
    this.#connections.delete(socket);
    this.#idle.delete(socket);
    socket.destroy();
    return true;
  }

  /** True when the client has to send more of a request, or to read the response; false when the agent is working. */
  #waitsForClient(socket: Socket): boolean {
    const open = [...(this.#connections.get(socket) ?? [])];
    return (
      open.length === 0 ||
      socket.writableLength > 0 ||
      open.some((response) => this.#requests.get(response)?.complete === false)
    );
  }
}

const isEventStream = (response: ServerResponse): boolean =>
  String(response.getHeader('content-type')).startsWith('text/event-stream');
