import type { FastifyStaticOptions } from '@fastify/static';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { takeOverResponse } from './route.ts';

/** Sends files of one directory. @fastify/static is loaded with the first request: most agents never need it. */
export class StaticFiles {
  readonly #options: FastifyStaticOptions;
  #opening: Promise<FastifyInstance> | null = null;

  constructor(options: FastifyStaticOptions) {
    this.#options = options;
  }

  /** Sends the file at the path of the request; a directory is its `index.html`. The caller checks that it exists. */
  async send(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    this.#opening ??= openFileServer(this.#options).catch((thrown: unknown) => {
      this.#opening = null;
      throw thrown;
    });
    const server = await this.#opening;
    server.routing(request.raw, takeOverResponse(reply));
    return reply;
  }

  async close(): Promise<void> {
    await (await this.#opening)?.close();
  }
}

async function openFileServer(options: FastifyStaticOptions): Promise<FastifyInstance> {
  const [{ fastify }, { default: staticFiles }] = await Promise.all([
    import('fastify'),
    import('@fastify/static'),
  ]);
  const app = fastify({ logger: false });
  await app.register(staticFiles, { acceptRanges: false, ...options });
  await app.ready();
  return app;
}
