import { Readable, pipeline } from 'node:stream';
import { createGzip, gzip } from 'node:zlib';
import type { onSendHookHandler } from 'fastify';
import { addVary } from './response-headers.ts';

/** Not images, which are compressed already, and not server-sent events, which must be sent one by one. */
const COMPRESSIBLE =
  /^(application\/([\w.-]+\+)?json|application\/javascript|application\/openmetrics-text|text\/(?!event-stream)|image\/svg)/;
/** A smaller response fits into about one packet, compressed or not. */
const MIN_BYTES = 1024;
/** Each compression takes about 256 kB and a thread of Node's pool, which file access and image decoding need too. */
const MAX_CONCURRENT = 4;

/** True when `Accept-Encoding` allows gzip (RFC 9110 section 12.5.3). */
export function acceptsGzip(accepted: string | undefined): boolean {
  const offers = (accepted ?? '').toLowerCase().split(',', 16);
  const weight = (name: string): number | null => {
    for (const offer of offers) {
      const [coding = '', ...parameters] = offer.split(';').map((part) => part.trim());
      if (coding !== name) continue;
      const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
      return q === undefined ? 1 : Number(q);
    }
    return null;
  };
  return (weight('gzip') ?? weight('*') ?? 0) > 0;
}

/** Compresses long text responses. Beyond `MAX_CONCURRENT`, responses are sent uncompressed. */
export function compressResponses(): onSendHookHandler {
  let running = 0;
  return (request, reply, payload, done) => {
    const type = reply.getHeader('content-type');
    // A range refers to the uncompressed bytes.
    const mustStay = reply.statusCode === 206 || reply.hasHeader('content-encoding');
    if (typeof type !== 'string' || !COMPRESSIBLE.test(type) || mustStay) {
      done(null, payload);
      return;
    }
    const isComplete = typeof payload === 'string' || Buffer.isBuffer(payload);
    if (!isComplete && !(payload instanceof Readable)) {
      done(null, payload);
      return;
    }
    if (isComplete && Buffer.byteLength(payload) < MIN_BYTES) {
      done(null, payload);
      return;
    }
    addVary(reply, 'Accept-Encoding');
    if (
      request.method === 'HEAD' ||
      running >= MAX_CONCURRENT ||
      !acceptsGzip(request.headers['accept-encoding'])
    ) {
      done(null, payload);
      return;
    }
    running += 1;
    void reply.header('content-encoding', 'gzip');
    reply.removeHeader('content-length');
    if (isComplete) {
      gzip(payload, (error, compressed) => {
        running -= 1;
        if (error) done(error);
        else done(null, compressed);
      });
      return;
    }
    // `pipeline` destroys both streams on the first error.
    const compressed = pipeline(payload, createGzip(), () => {
      running -= 1;
    });
    done(null, compressed);
  };
}
