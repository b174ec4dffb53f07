import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { HlsReader } from '../../../src/camera/hls/reader.ts';
import { HttpClient } from '../../../src/camera/http/client.ts';
import { CAUSE_REMEDIES } from '../../../src/camera/remedies.ts';
import { MEDIA, mediaPlaylist, serveHls, type Resources } from '../../fixtures/camera-zoo/hls.ts';
import { eventually } from '../../fixtures/capture.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** A reader of `/live.m3u8` on a server of these paths, and what it requested. */
const readerOf = async (resources: Resources, clock = systemClock) => {
  const { url, requests } = await serveHls(stack, resources);
  const client = new HttpClient({ url: `${url}/live.m3u8`, username: null, password: null });
  return { reader: new HlsReader({ client, clock }), requests };
};
const never = new AbortController().signal;

/** The sizes of the parts of the stream, in bytes; at most `count`. */
const readParts = async (reader: HlsReader, signal: AbortSignal = never): Promise<number[]> => {
  const sizes: number[] = [];
  for await (const part of reader.parts(signal)) {
    const index = sizes.push(0) - 1;
    for await (const chunk of part) sizes[index]! += chunk.length;
  }
  return sizes;
};
/** Whether each of these captures gets media. Ten minutes pass between them. */
const readInTurn = async (reader: HlsReader, clock: ManualClock, count: number): Promise<boolean[]> => {
  const results: boolean[] = [];
  for (let i = 0; i < count; i += 1) {
    const parts = reader.parts(never);
    const state = { hasEnded: false };
    const running = parts
      .next()
      .then(
        () => true,
        (failure: unknown) => {
          expect(failure).toMatchObject({ code: 'camera_no_frame', hint: CAUSE_REMEDIES.stopped_stream });
          return false;
        },
      )
      .finally(() => void (state.hasEnded = true));
    // Requests take real time, waits the time of the clock.
    while (!state.hasEnded) {
      await clock.pass(500);
      await delay(5);
    }
    const outcome = await running;
    await parts.return();
    results.push(outcome);
    await clock.pass(600_000);
  }
  return results;
};
const sizeOf = (...segments: (Buffer | undefined)[]): number =>
  segments.reduce((sum, segment) => sum + (segment?.length ?? NaN), 0);

describe('HlsReader', () => {
  it('downloads the best variant alone, each segment once', async () => {
    const master = [
      '#EXTM3U',
      ...['#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=80x60', 'green.m3u8'],
      ...['#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=160x120', 'red.m3u8'],
    ].join('\n');
    const { reader, requests } = await readerOf({
      '/live.m3u8': master,
      '/red.m3u8': mediaPlaylist(['red0', 'red1']),
      '/green.m3u8': mediaPlaylist(['green0', 'green1']),
    });
    expect(await readParts(reader)).toEqual([sizeOf(MEDIA.red[0], MEDIA.red[1])]);
    expect(requests).toEqual(['/live.m3u8', '/red.m3u8', '/red0', '/red1']);
  });

  it('begins with the first new segment of a live stream and continues with those that follow', async () => {
    const lists = [
      mediaPlaylist(['#EXT-X-MEDIA-SEQUENCE:10', 'red0'], { live: true }),
      mediaPlaylist(['#EXT-X-MEDIA-SEQUENCE:10', 'red0', 'red1'], { live: true }),
      mediaPlaylist(['#EXT-X-MEDIA-SEQUENCE:10', 'red0', 'red1'], { live: true }),
      // It has lost the segment that would be next: it continues with the next one that there is.
      mediaPlaylist(['#EXT-X-MEDIA-SEQUENCE:13', 'red3', 'red4']),
    ];
    const { reader, requests } = await readerOf({
      '/live.m3u8': (_, response) => void response.end(lists.shift()),
    });
    expect(await readParts(reader)).toEqual([sizeOf(MEDIA.red[1], MEDIA.red[3], MEDIA.red[4])]);
    expect(requests.filter((target) => target !== '/live.m3u8')).toEqual(['/red1', '/red3', '/red4']);
  });

  it.each([
    [
      'counts anew',
      ['#EXT-X-MEDIA-SEQUENCE:69', 'red2'],
      ['#EXT-X-MEDIA-SEQUENCE:70', 'red0'],
      ['#EXT-X-MEDIA-SEQUENCE:0', 'green0'],
    ],
    ['does not count', ['red2', 'red0'], ['red0', 'red1'], ['red1', 'green0']],
  ])('begins another part when the server %s', async (_, earlier, before, after) => {
    const lists = [
      mediaPlaylist(earlier, { live: true }),
      mediaPlaylist(before, { live: true }),
      mediaPlaylist(after),
    ];
    const { reader } = await readerOf({
      '/live.m3u8': (_request, response) => void response.end(lists.shift()),
    });
    const first = before.at(-1) === 'red0' ? MEDIA.red[0] : MEDIA.red[1];
    expect(await readParts(reader)).toEqual([sizeOf(first), sizeOf(MEDIA.green[0])]);
  });

  it.each([
    ['answers 503 twice', 2, [sizeOf(MEDIA.red[0], MEDIA.red[1])]],
    ['answers 503 three times', 3, 'camera_unreachable'],
  ])('with a server that %s while the stream runs', async (_, failures, expected) => {
    const list = mediaPlaylist(['red0'], { live: true });
    const answers = [list, ...Array<null>(failures).fill(null), mediaPlaylist(['red0', 'red1'])];
    const { reader } = await readerOf({
      '/live.m3u8': (_request, response) => {
        const answer = answers.shift();
        if (answer == null) response.writeHead(503).end();
        else response.end(answer);
      },
    });
    const result = readParts(reader);
    if (typeof expected === 'string') await expect(result).rejects.toMatchObject({ code: expected });
    else expect(await result).toEqual(expected);
  });

  it('reports a live playlist that has stopped, in the capture and in those after it, until it goes on', async () => {
    const clock = new ManualClock();
    let list = mediaPlaylist(['red0', 'red1'], { live: true });
    const { reader } = await readerOf({ '/live.m3u8': (_, response) => void response.end(list) }, clock);
    const running = readParts(reader);
    const state = { hasEnded: false };
    const end = (): void => void (state.hasEnded = true);
    void running.then(end, end);
    // Requests take real time, waits the time of the clock.
    while (!state.hasEnded) {
      await clock.pass(500);
      await delay(5);
    }
    await expect(running).rejects.toMatchObject({
      code: 'camera_no_frame',
      message: expect.stringMatching(/no new segment for 3\d s/) as string,
    });
    await clock.pass(600_000);
    await expect(readParts(reader)).rejects.toMatchObject({ code: 'camera_no_frame' });
    list = mediaPlaylist(['#EXT-X-MEDIA-SEQUENCE:1', 'red1', 'red2']);
    expect(await readParts(reader)).toEqual([sizeOf(MEDIA.red[1], MEDIA.red[2])]);
  });

  it.each([
    ['a stopped server', [100], [false, false]],
    ['a stopped server that answered from a cache first', [100, 100, 100, 99], [false, false]],
    ['two stopped servers that answer in turn', [100, 105, 100, 105], [true, false, false]],
    ['three stopped servers', [105, 100, 102, 105, 100, 102], [true, false, false, false]],
    ['a stopped server that is behind', [105, 100, 100], [false, false]],
    ['a server that counts anew', [105, 0, 1, 2], [true, true]],
    ['a server that goes on', [105, 106, 107], [true, true]],
  ])('knows old segments in captures at long intervals: %s', async (_, sequences, areNew) => {
    const clock = new ManualClock();
    const answers = [...sequences];
    const { reader } = await readerOf(
      {
        '/live.m3u8': (_request, response) => {
          const sequence = answers.length > 1 ? answers.shift() : answers[0];
          const list = [`#EXT-X-MEDIA-SEQUENCE:${sequence}`, 'red0'];
          response.end(mediaPlaylist(list, { live: true }));
        },
      },
      clock,
    );
    expect(await readInTurn(reader, clock, areNew.length)).toEqual(areNew);
  });

  it.each([
    ['is missing', 404, '', 'camera_unreachable'],
    ['is refused', 403, '', 'camera_auth'],
    ['is too short', 200, 'short', 'camera_codec'],
    ['is too long', 200, 'x'.repeat(17), 'camera_codec'],
  ])('keeps no connection open when the key %s', async (_, status, key, code) => {
    const open = new Set<unknown>();
    const { reader } = await readerOf({
      '/live.m3u8': mediaPlaylist([
        '#EXT-X-KEY:METHOD=AES-128,URI="key"',
        ...['endless', 'endless', 'endless'],
      ]),
      '/key': (_request, response) => void response.writeHead(status).end(key),
      '/endless': (_request, response) => {
        open.add(response);
        response.once('close', () => open.delete(response));
        response.write('x');
      },
    });
    for (let capture = 0; capture < 3; capture += 1)
      await expect(readParts(reader)).rejects.toMatchObject({ code });
    await eventually('closed connections', () => open.size === 0);
  });

  it('ends at once when it is aborted: while it waits, and during an answer', async () => {
    for (const resources of [
      { '/live.m3u8': mediaPlaylist(['red0'], { live: true }) },
      {
        '/live.m3u8': mediaPlaylist(['slow']),
        '/slow': (_: unknown, response: { write(text: string): unknown }) => void response.write('x'),
      },
      { '/live.m3u8': () => undefined },
    ] satisfies Resources[]) {
      const { reader, requests } = await readerOf(resources);
      const abort = new AbortController();
      const running = readParts(reader, abort.signal);
      running.catch(() => undefined);
      while (requests.length === 0) await delay(5);
      await delay(100);
      abort.abort();
      await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    }
  });
});
