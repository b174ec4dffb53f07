import { PassThrough } from 'node:stream';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { readHead } from '../../../../src/camera/http/response-head.ts';
import { SocketBytes } from '../../../../src/camera/http/socket-bytes.ts';

/** A source of these pieces, which then ends or fails. */
function sourceOf(pieces: readonly string[], failure?: Error): SocketBytes {
  const stream = new PassThrough();
  const source = new SocketBytes(stream as unknown as Socket);
  for (const piece of pieces) stream.write(piece, 'latin1');
  if (failure) setImmediate(() => stream.destroy(failure));
  else stream.end();
  return source;
}

describe('SocketBytes', () => {
  it('hands out what arrived before a failure, then throws it', async () => {
    const source = sourceOf(['one', 'two'], new Error('reset'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(String(await source.read()) + String(await source.read())).toBe('onetwo');
    await expect(source.read()).rejects.toThrow('reset');
  });

  it('reads lines across pieces, and puts the rest back', async () => {
    const source = sourceOf(['a', 'b\r', '\nc\n\r\r\nrest']);
    const lines = [await source.readLine(9), await source.readLine(9), await source.readLine(9)];
    expect(lines).toEqual(['ab\r', 'c', '\r\r']);
    expect(String(await source.read())).toBe('rest');
    expect(await source.read()).toBeNull();
  });

  it('bounds a line, and returns null for a line that is cut', async () => {
    await expect(sourceOf(['x'.repeat(9)]).readLine(8)).rejects.toBeInstanceOf(RangeError);
    expect(await sourceOf(['HTTP']).readLine(8)).toBeNull();
  });
});

describe('readHead', () => {
  it('removes all carriage returns at the end of a line, and no others', async () => {
    const { headers } = await readHead(sourceOf(['HTTP/1.1 200 OK\r\r\nA: b\r\rc\r\r\r\n\r\n']));
    expect(headers.get('a')).toEqual(['b\r\rc']);
  });

  it('keeps all values of a header, in order, with folded lines', async () => {
    const { status, headers } = await readHead(
      sourceOf(['HTTP/1.1 200 OK\r\nSet: a\r\n b\r\nset: c\r\n: d\r\n e\r\nnone\r\n\r\n']),
    );
    expect(status).toBe(200);
    expect([...headers]).toEqual([['set', ['a b', 'c']]]);
  });

  it.each([
    ['HTTP/1.1 404', 404],
    ['ICY 200 OK', 200],
    ['RTSP/1.0 454 Session Not Found', 454],
    ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content', 204],
    ['HTTP/1.1 101 Switching Protocols', 101],
  ])('reads the status of %j', async (line, status) => {
    expect((await readHead(sourceOf([`${line}\r\n\r\n`]))).status).toBe(status);
  });

  it.each([
    ['220 ftp ready\r\n\r\n', 'camera_codec'],
    ['HTTP/1.1 2000 OK\r\n\r\n', 'camera_codec'],
    ['HTTP/1.1 099 Low\r\n\r\n', 'camera_codec'],
    ['HTTP/1.1 200 OK\r\nX: y\r\n', 'camera_unreachable'],
    ['', 'camera_unreachable'],
    [`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(20_000)}`, 'camera_codec'],
    ['HTTP/1.1 100 Continue\r\n\r\n'.repeat(5000), 'camera_codec'],
    [`${'\n'.repeat(70_000)}HTTP/1.1 200 OK\r\n\r\n`, 'camera_codec'],
    [`${`${'\r'.repeat(1000)}\n`.repeat(70)}HTTP/1.1 200 OK\r\n\r\n`, 'camera_codec'],
  ])('refuses row %#', async (text, code) => {
    await expect(readHead(sourceOf([text]))).rejects.toMatchObject({ code });
  });
});
