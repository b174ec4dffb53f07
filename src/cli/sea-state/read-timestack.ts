import { AgentError } from '../../base/errors.ts';
import { ClipCollector, NO_GAPS, type Clip, type InputOptions } from './clips.ts';
import { asOneImage, decodeGrey, pictureSize, SAMPLE_HZ } from './decode.ts';

/** Points along the line that are used: more only cost time. */
const MAX_POINTS = 192;
/** A time stack is one clip, unless it is longer than a sea is steady, seconds. */
const DEFAULT_WINDOW_S = 2048;
/** A time stack of a day at two samples per second. */
const MAX_SAMPLES = 172_800;

/** Reads a time stack: an image with time along x, one column for each sample, and a line over the water along y. */
export async function* readTimestack(
  path: string,
  options: InputOptions,
): AsyncGenerator<Clip, void, undefined> {
  const { fps, signal, windowS } = options;
  const { width, height } = await pictureSize(asOneImage(path), path, signal);
  if (width > MAX_SAMPLES) throw new AgentError('usage', `${path} has ${String(width)} columns: divide it`);
  const rows = Math.round(height / Math.ceil(height / MAX_POINTS));
  const filters = `scale=${width}:${rows}:flags=area,format=gray`;
  const input = [...asOneImage(path), '-frames:v', '1'];
  for await (const image of decodeGrey(
    { input, filters, sizeBytes: width * rows, feed: null, path },
    signal,
  )) {
    const shape = { columns: 1, rows, cellAspect: null, rateHz: fps ?? SAMPLE_HZ };
    const clips = new ClipCollector(shape, windowS ?? DEFAULT_WINDOW_S, () => NO_GAPS);
    for (let sample = 0; sample < width; sample += 1) {
      const clip = clips.add(
        Uint8Array.from({ length: rows }, (_, y) => image[y * width + sample] ?? 0),
        null,
      );
      if (clip) yield clip;
    }
    const last = clips.end();
    if (last) yield last;
  }
}
