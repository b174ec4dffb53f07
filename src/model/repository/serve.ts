import { once } from 'node:events';
import { constants } from 'node:fs';
import { open, realpath, type FileHandle } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AgentError, asAgentError } from '../../base/errors.ts';

export interface ServeOptions {
  readonly dir: string;
  readonly host: string;
  /** The TCP port; 0 means any free port. */
  readonly port: number;
}

export interface ServedRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
}

/** The paths that are served: those below `metadata/` and `targets/`, without names that start with a dot. */
const SERVED_PATH = /^(metadata|targets)(\/[A-Za-z0-9][A-Za-z0-9._-]*)+$/;

/**
 * A simple web server to test a repository. It supports GET and HEAD, one range per request, and ETags. In production
 * any static web server can serve the directory. Resolves when the server listens. Throws `repo_missing` and
 * `http_listen`.
 */
export async function serveRepository(
  options: ServeOptions,
  onRequest: (request: ServedRequest) => void,
): Promise<{ url: string; close: () => Promise<void> }> {
  const root = await realpath(options.dir).catch((error: unknown) => {
    throw new AgentError('repo_missing', `there is no directory ${options.dir}`, { cause: error });
  });
  const server = createServer((request, response) => {
    void handleRequest(root, request, response).then(
      () => onRequest({ method: request.method ?? '', path: request.url ?? '', status: response.statusCode }),
      () => response.destroy(),
    );
  });
  const { host, port } = options;
  await once(server.listen(port, host), 'listening').catch((cause: unknown) => {
    const { message } = asAgentError(cause);
    throw new AgentError('http_listen', `cannot listen on ${host}:${port}: ${message}`, { cause });
  });
  const address = server.address();
  const actualPort = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${actualPort}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function handleRequest(
  root: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  const path = (request.url ?? '').split('?', 1)[0]?.slice(1) ?? '';
  const file = SERVED_PATH.test(path) ? await openBelow(root, path) : null;
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  await using _closed = file;
  await sendFile(file, path, request, response);
}

async function sendFile(
  file: FileHandle,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { size, mtimeMs } = await file.stat();
  const etag = `"${size.toString(16)}-${Math.round(mtimeMs).toString(16)}"`;
  const cacheControl =
    path === 'metadata/timestamp.json' ? 'no-cache' : 'public, max-age=31536000, immutable';
  response.setHeader('etag', etag);
  response.setHeader('accept-ranges', 'bytes');
  response.setHeader('cache-control', cacheControl);
  response.setHeader('content-type', path.endsWith('.json') ? 'application/json' : 'application/x-tar');
  const ifRange = request.headers['if-range'];
  const range = ifRange === undefined || ifRange === etag ? parseRange(request.headers.range, size) : null;
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${size}` }).end();
    return;
  }
  const [start, end] = range ?? [0, size - 1];
  response.setHeader('content-length', end - start + 1);
  if (range) response.setHeader('content-range', `bytes ${start}-${end}/${size}`);
  response.writeHead(range ? 206 : 200);
  if (request.method === 'HEAD' || size === 0) response.end();
  else await pipeline(file.createReadStream({ start, end, autoClose: false }), response);
}

/**
 * The first and the last byte of the requested range; null when the whole file is sent. A request for several ranges or
 * an invalid range gets the whole file (RFC 9110, 14.2).
 */
function parseRange(
  header: string | undefined,
  size: number,
): readonly [number, number] | 'unsatisfiable' | null {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === '' && last === '') return null;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(size - 1, Number(last));
  if (first !== '' && last !== '' && Number(last) < Number(first)) return null;
  return start > end ? 'unsatisfiable' : [start, end];
}

/**
 * Opens a file below `root`. Returns null for a path that does not exist, is not a plain file, or leaves `root` through
 * a link.
 */
async function openBelow(root: string, path: string): Promise<FileHandle | null> {
  try {
    const real = await realpath(join(root, path));
    if (!real.startsWith(root + sep)) return null;
    const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    return null;
  } catch {
    return null;
  }
}
