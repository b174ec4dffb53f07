import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { LoadAnswer, LoadJob } from './http-client.ts';

/**
 * Sends images over keep-alive connections, one request at a time on each. It parses little of a response and runs in
 * its own process, so that the measurement is that of the server.
 */
const BOUNDARY = 'swellsight-bench';
const HEADER_END = Buffer.from('\r\n\r\n');

function requestOf(port: number, image: Uint8Array): Buffer {
  const head = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(head), image, Buffer.from(`\r\n--${BOUNDARY}--\r\n`)]);
  const lines = [
    'POST /api/v1/analyze HTTP/1.1',
    `host: 127.0.0.1:${String(port)}`,
    `content-type: multipart/form-data; boundary=${BOUNDARY}`,
    `content-length: ${String(body.length)}`,
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly ms: number;
}

class Connection {
  readonly #socket: ReturnType<typeof connect>;
  #resolve: ((answer: Answer) => void) | null = null;
  #reject: ((cause: Error) => void) | null = null;
  #received: Buffer = Buffer.alloc(0);
  #sentMs = 0;

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('error', (cause) => this.#reject?.(cause));
    this.#socket.on('close', () => this.#reject?.(new Error('the server closed the connection')));
  }

  send(request: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#sentMs = performance.now();
      this.#socket.write(request);
    });
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const end = this.#received.indexOf(HEADER_END);
    if (end < 0) return;
    const head = this.#received.toString('latin1', 0, end);
    const start = end + HEADER_END.length;
    const length = Number(/\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(length)) throw new Error(`a response without content-length: ${head}`);
    if (this.#received.length < start + length) return;
    const body = this.#received.toString('utf8', start, start + length);
    this.#received = this.#received.subarray(start + length);
    this.#resolve?.({ status: Number(head.slice(9, 12)), body, ms: performance.now() - this.#sentMs });
  }

  close(): void {
    this.#reject = null;
    this.#socket.destroy();
  }
}

async function runJob({ port, files, clients, requests }: LoadJob): Promise<LoadAnswer> {
  const requestBytes = files.map((file) => requestOf(port, readFileSync(file)));
  const clientMs: number[] = [];
  const serverMs: number[] = [];
  let next = 0;
  let cachedCount = 0;
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      const connection = new Connection(port);
      while (next < requests) {
        const request = requestBytes[next % requestBytes.length];
        next += 1;
        if (!request) throw new Error('no image to send');
        const { status, body, ms } = await connection.send(request);
        if (status !== 200) throw new Error(`response with status ${String(status)}: ${body}`);
        const answer = JSON.parse(body) as { processing_time_seconds: number; cached: boolean };
        clientMs.push(ms);
        serverMs.push(1000 * answer.processing_time_seconds);
        cachedCount += Number(answer.cached);
      }
      connection.close();
    }),
  );
  return { tookMs: performance.now() - startedMs, clientMs, serverMs, cachedCount };
}

process.on('message', (job: LoadJob) => {
  runJob(job).then(
    (answer) => process.send?.(answer),
    (thrown: unknown) => process.send?.({ error: String(thrown) }),
  );
});
