import { afterAll, describe, expect, it, vi } from 'vitest';
import { DIRECTORY_ROWS } from '../../fixtures/camera-zoo/directory-rows.ts';
import { FILM_ROWS } from '../../fixtures/camera-zoo/film-rows.ts';
import { HLS_ROWS } from '../../fixtures/camera-zoo/hls-rows.ts';
import { HTTP_ROWS } from '../../fixtures/camera-zoo/http-rows.ts';
import { JPEG_ROWS } from '../../fixtures/camera-zoo/jpeg-rows.ts';
import { RTSP_ROWS } from '../../fixtures/camera-zoo/rtsp-rows.ts';
import { HEADER_ROWS, TLS_ROWS } from '../../fixtures/camera-zoo/tls-rows.ts';
import { describeOutcome, formatTable, tryCamera } from '../../fixtures/camera-zoo/zoo.ts';

const KINDS = {
  directory: DIRECTORY_ROWS,
  film: FILM_ROWS,
  http: HTTP_ROWS,
  jpeg: JPEG_ROWS,
  hls: HLS_ROWS,
  rtsp: RTSP_ROWS,
  TLS: TLS_ROWS,
  headers: HEADER_ROWS,
};

// The tests mostly wait for frames, and for answers that do not come.
vi.setConfig({ maxConcurrency: 6 });

/** Cameras with quirks, as public bug reports describe them. One line in the file of a kind adds one. */
describe.each(Object.entries(KINDS))('the zoo of %s cameras', (kind, rows) => {
  const results: { quirk: string; result: string }[] = [];
  afterAll(() => console.log(`${kind}: ${results.length} quirks\n${formatTable(results)}`));

  it.concurrent.each(rows)('$quirk: $expected', async ({ quirk, open, expected, remedy }) => {
    const outcome = await tryCamera(open);
    const result = describeOutcome(outcome);
    results.push({ quirk, result });
    const text = 'text' in outcome ? outcome.text : '';
    expect(result, text).toBe(expected);
    if (remedy) expect(text).toMatch(remedy);
  });
});
