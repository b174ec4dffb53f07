import { Readable, pipeline } from 'node:stream';
import { createGzip, gzip } from 'node:zlib';
import type { onSendHookHandler } from 'fastify';
import { addVary } from './vary.ts';

/** Images are compressed already; server-sent events must go out one by one. */
const COMPRESSIBLE =
  /^(application\/([\w.-]+\+)?json|application\/javascript|application\/openmetrics-text|text\/(?!event-stream)|image\/svg)/;
/** About what one packet carries: nothing is gained below. */
const MIN_BYTES = 1024;
/** At the same time: each takes about 256 kB, and a thread that files and pictures wait for too. */
const MAX_AT_ONCE = 4;

/** True when gzip is among what the client takes (RFC 9110 section 12.5.3). */
export function takesGzip(accepted: string | undefined): boolean {
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

/** Compresses long answers of text, as many at once as memory allows; others go as they are. */
export function compression(): onSendHookHandler {
  let underWay = 0;
  return (request, reply, payload, done) => {
    const type = reply.getHeader('content-type');
    // A part of a file is a part of its bytes as they are.
    const asIs = reply.statusCode === 206 || reply.hasHeader('content-encoding');
    if (typeof type !== 'string' || !COMPRESSIBLE.test(type) || asIs) {
      done(null, payload);
      return;
    }
    const whole = typeof payload === 'string' || Buffer.isBuffer(payload);
    if (!whole && !(payload instanceof Readable)) {
      done(null, payload);
      return;
    }
    if (whole && Buffer.byteLength(payload) < MIN_BYTES) {
      done(null, payload);
      return;
    }
    addVary(reply, 'Accept-Encoding');
    if (
      request.method === 'HEAD' ||
      underWay >= MAX_AT_ONCE ||
      !takesGzip(request.headers['accept-encoding'])
    ) {
      done(null, payload);
      return;
    }
    underWay += 1;
    void reply.header('content-encoding', 'gzip');
    reply.removeHeader('content-length');
    if (whole) {
      gzip(payload, (error, compressed) => {
        underWay -= 1;
        if (error) done(error);
        else done(null, compressed);
      });
      return;
    }
    // The stream that is sent is destroyed with the first error, and with it the one that it reads from.
    const compressed = pipeline(payload, createGzip(), () => {
      underWay -= 1;
    });
    done(null, compressed);
  };
}
