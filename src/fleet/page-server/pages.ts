import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join, sep } from 'node:path';
import { gzipSync } from 'node:zlib';
import { AgentError } from '../../base/errors.ts';

/** What the page learns from its server; src/web/fleet/served.ts reads it. */
export interface ServedSettings {
  /** The broker, as a person knows it. */
  readonly broker: string;
  /** Path of the tunnel to it. */
  readonly path: string;
  readonly base: string;
  /** Names of tags by a pattern of devices. */
  readonly tags: Readonly<Record<string, readonly string[]>>;
}

interface Page {
  readonly body: Buffer;
  /** Null where it would not be smaller. */
  readonly compressed: Buffer | null;
  readonly etag: string;
  readonly type: string;
}

const ENTRY = 'fleet.html';
const MIN_COMPRESSED_BYTES = 1024;
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
};
/** The page loads files and opens connections on this server alone. */
const HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "manifest-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
};

/** The built fleet page and its files, in memory: a request can name no other file. */
export class Pages {
  readonly #pages: ReadonlyMap<string, Page>;

  /** Reads the directory of the build. Throws `usage` when there is no page. */
  static read(dir: string, settings: ServedSettings): Pages {
    const pages = new Map<string, Page>();
    let names: readonly string[] = [];
    try {
      names = readdirSync(dir, { recursive: true, encoding: 'utf8' });
      for (const name of names) {
        const type = TYPES[extname(name)];
        if (type === undefined || (type.startsWith('text/html') && name !== ENTRY)) continue;
        const body = readFileSync(join(dir, name));
        pages.set(
          `/${name.split(sep).join('/')}`,
          toPage(name === ENTRY ? withSettings(body, settings) : body, type),
        );
      }
    } catch (cause) {
      throw new AgentError('usage', `the fleet page cannot be read from ${dir}`, { hint: HINT, cause });
    }
    const entry = pages.get(`/${ENTRY}`);
    if (!entry) throw new AgentError('usage', `there is no ${ENTRY} in ${dir}`, { hint: HINT });
    pages.set('/', entry);
    return new Pages(pages);
  }

  private constructor(pages: ReadonlyMap<string, Page>) {
    this.#pages = pages;
  }

  respond({ method, url = '', headers }: IncomingMessage, response: ServerResponse): void {
    const path = url.split('?', 1)[0] ?? '';
    const page = this.#pages.get(path);
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    if (!page) {
      response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('not found\n');
      return;
    }
    const isImmutable = path.startsWith('/assets/');
    response.setHeader('etag', page.etag);
    response.setHeader('vary', 'accept-encoding');
    response.setHeader('cache-control', isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache');
    if (headers['if-none-match'] === page.etag) {
      response.writeHead(304).end();
      return;
    }
    const accepts = /(^|[\s,])gzip($|[\s,;](?!\s*q=0(\.0*)?\s*($|,)))/i.test(
      headers['accept-encoding'] ?? '',
    );
    const compressed = accepts ? page.compressed : null;
    const body = compressed ?? page.body;
    if (compressed) response.setHeader('content-encoding', 'gzip');
    response.writeHead(200, { 'content-type': page.type, 'content-length': body.length });
    response.end(method === 'HEAD' ? undefined : body);
  }
}

const HINT = 'build the pages first: npm run build';

function toPage(body: Buffer, type: string): Page {
  const isText = /^(text|application|image\/svg)/.test(type);
  const smaller = isText && body.length >= MIN_COMPRESSED_BYTES ? gzipSync(body, { level: 9 }) : null;
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  return { body, type, etag, compressed: smaller && smaller.length < body.length ? smaller : null };
}

/** Writes the settings into the page: it needs no further request for them, and runs no inline script. */
function withSettings(body: Buffer, settings: ServedSettings): Buffer {
  const escaped = JSON.stringify(settings)
    .replaceAll('&', '&amp;')
    .replaceAll('"', '&quot;')
    .replaceAll('<', '&lt;');
  const html = body.toString('utf8');
  const at = /<head[^>]*>/i.exec(html);
  if (!at) throw new AgentError('usage', `${ENTRY} has no head`, { hint: HINT });
  const end = at.index + at[0].length;
  return Buffer.from(
    `${html.slice(0, end)}<meta name="swellsight-fleet" content="${escaped}">${html.slice(end)}`,
  );
}
