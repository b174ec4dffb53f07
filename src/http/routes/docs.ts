import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { PAGE_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { AgentError } from '../../base/errors.ts';
import { DOCS_PAGE, DOCS_SCRIPT } from '../docs-page.ts';
import { answer } from '../route.ts';
import { takeOver } from '../take-over.ts';
import type { Routes } from '../types.ts';

/** Of swagger-ui-dist; its maps and other builds are megabytes that nothing asks for. */
const FILES = new Set(['swagger-ui-bundle.js', 'swagger-ui.css', 'favicon-32x32.png']);
const FILES_FRESH_MS = 86_400_000;
/** Shipped beside the compiled code. */
const DOCUMENT = new URL(
  import.meta.url.endsWith('.ts') ? '../../../docs/generated/openapi.json' : '../openapi.json',
  import.meta.url,
);

/** The document, and a page that shows it. */
export const docsRoutes: Routes = (app) => {
  const { openApi, docs, docsFile } = PAGE_OPERATIONS;
  answer(app, openApi, async (_asked, reply) => {
    // Read each time: it is wanted rarely, and 300 kB of memory are not to be kept for it.
    const file = await open(DOCUMENT);
    return reply.type('application/json; charset=utf-8').send(file.createReadStream());
  });
  answer(app, docs, (_asked, reply) => reply.type('text/html; charset=utf-8').send(DOCS_PAGE));

  // Some megabytes of code that most agents never need.
  let files: Promise<FastifyInstance> | null = null;
  answer(app, docsFile, async ({ params, request }, reply) => {
    if (params.file === 'start.js') return reply.type('text/javascript; charset=utf-8').send(DOCS_SCRIPT);
    if (!FILES.has(params.file)) throw new AgentError('request_not_found', 'there is nothing at this path');
    files ??= openFiles().catch((thrown: unknown) => {
      files = null;
      throw thrown;
    });
    const opened = await files;
    opened.routing(request.raw, takeOver(reply));
    return reply;
  });
  app.addHook('onClose', async () => (await files)?.close());
};

async function openFiles(): Promise<FastifyInstance> {
  const [{ fastify }, { default: files }] = await Promise.all([import('fastify'), import('@fastify/static')]);
  const app = fastify({ logger: false });
  await app.register(files, {
    root: dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json'))),
    prefix: '/docs/',
    index: false,
    acceptRanges: false,
    maxAge: FILES_FRESH_MS,
  });
  await app.ready();
  return app;
}
