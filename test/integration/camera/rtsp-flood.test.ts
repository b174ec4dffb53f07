import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import { tcpServer } from '../../fixtures/camera-server.ts';

/** More than the sockets on the way hold. */
const FLOOD_BYTES = 192 * 2 ** 20;
/** Each message has 30 bytes. */
const PASSING_BYTES = 12 * 2 ** 20;
const MAX_GROWTH_MB = 30;
const MESSAGES = Buffer.from('OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n'.repeat(2000));
const PACKETS = Buffer.concat(
  Array.from({ length: 60 }, () => Buffer.from([0x24, 0, 4, 0, ...new Uint8Array(1024)])),
);

/** A relay in a process of its own, as ffmpeg and a camera see it. */
async function floodedRelay() {
  const sockets = Promise.withResolvers<Socket>();
  const server = await tcpServer((socket) => {
    socket.on('error', () => undefined);
    sockets.resolve(socket);
  });
  onTestFinished(() => server.stop());
  const flags = ['--max-semi-space-size=1', '--max-old-space-size=96', '--optimize-for-size'];
  const entry = join(import.meta.dirname, '..', '..', 'fixtures', 'relay-process.ts');
  const args = [...flags, entry, `rtsp://127.0.0.1:${server.port}/cam`];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async () => String((await lines.next()).value);
  const url = await read();
  const client = connect(Number(new URL(url).port), '127.0.0.1');
  onTestFinished(() => void client.destroy());
  client.on('error', () => undefined);
  client.write(`OPTIONS ${url} RTSP/1.0\r\nCSeq: 1\r\n\r\n`);
  const camera = await sockets.promise;
  await once(camera, 'data');
  const rssMb = async (): Promise<number> => {
    child.stdin.write('\n');
    return Number(await read());
  };
  return { client, camera, rssMb };
}

/**
 * Writes until the other side takes no more, or `bytes` are written. Returns the bytes, and the largest growth of the
 * memory of the relay.
 */
async function flood(from: Socket, piece: Buffer, rssMb: () => Promise<number>, bytes = FLOOD_BYTES) {
  const beforeMb = await rssMb();
  let growthMb = 0;
  let writtenBytes = 0;
  for (let idle = 0; writtenBytes < bytes && idle < 20;) {
    if (from.writableNeedDrain) {
      // The relay reads on at once, or never: the other side takes nothing.
      const drained = once(from, 'drain').then(() => true);
      const waited = new Promise<false>((resolve) => setTimeout(() => resolve(false), 250));
      idle = (await Promise.race([drained, waited])) ? 0 : idle + 1;
      growthMb = Math.max(growthMb, (await rssMb()) - beforeMb);
    } else {
      from.write(piece);
      writtenBytes += piece.length;
    }
  }
  return { growthMb, writtenBytes };
}

it.each([
  ['messages', MESSAGES],
  ['media packets', PACKETS],
])('a client that does not read makes a camera wait with its %s', { timeout: 120_000 }, async (_, piece) => {
  const { client, camera, rssMb } = await floodedRelay();
  client.pause();
  const { growthMb, writtenBytes } = await flood(camera, piece, rssMb);
  expect(growthMb).toBeLessThan(MAX_GROWTH_MB);
  expect(writtenBytes).toBeLessThan(FLOOD_BYTES);
});

it.each([
  ['messages', MESSAGES],
  ['media packets', PACKETS],
])('a camera that does not read makes a client wait with its %s', { timeout: 120_000 }, async (_, piece) => {
  const { client, camera, rssMb } = await floodedRelay();
  camera.pause();
  const { growthMb, writtenBytes } = await flood(client, piece, rssMb);
  expect(growthMb).toBeLessThan(MAX_GROWTH_MB);
  expect(writtenBytes).toBeLessThan(FLOOD_BYTES);
});

it('a flood of messages passes with bounded memory', { timeout: 240_000 }, async () => {
  const { client, camera, rssMb } = await floodedRelay();
  client.resume();
  const { growthMb, writtenBytes } = await flood(camera, MESSAGES, rssMb, PASSING_BYTES);
  expect(writtenBytes).toBeGreaterThanOrEqual(PASSING_BYTES);
  expect(growthMb).toBeLessThan(MAX_GROWTH_MB);
});
