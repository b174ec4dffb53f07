import type { Socket } from 'node:net';
import { STATUS_CODES } from 'node:http';
import { AgentError } from '../base/errors.ts';
import { problemOf, retryAfterS } from './problem.ts';

const LINGER_MS = 2000;

/** Says a problem on a connection where no answer can be written the usual way, and ends it. */
export function sayProblem(socket: Socket, error: AgentError, as: { readonly status?: number } = {}): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOf(error);
  const status = as.status ?? problem.status;
  const body = JSON.stringify({ ...problem, status });
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? problem.title}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    ...(status === 503 ? [`retry-after: ${retryAfterS(error)}`] : []),
    'connection: close',
  ];
  socket.once('error', () => socket.destroy());
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
  // What is still received is passed over for a moment, so that the client reads this and not a broken connection.
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

/** What Node's HTTP parser or its time-outs object to, as the agent's error and status. */
export function parserProblem(code: string | undefined): {
  readonly error: AgentError;
  readonly status?: number;
} {
  if (code === 'HPE_HEADER_OVERFLOW')
    return {
      error: new AgentError('request_too_large', 'the headers are longer than they may be'),
      status: 431,
    };
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW')
    return { error: new AgentError('request_too_large', 'the chunk extensions are longer than they may be') };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return { error: new AgentError('request_timeout', 'the request did not arrive in time') };
  return { error: new AgentError('request_invalid', 'this is no HTTP that can be read') };
}
