import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { AgentError } from '../../base/errors.ts';
import { layoutOf, smallSize } from '../../sea-state/layout.ts';
import { listImageFiles } from '../analyze-files.ts';
import {
  ClipCollector,
  collectClips,
  DEFAULT_WINDOW_S,
  NO_GAPS,
  type Clip,
  type InputOptions,
} from './clips.ts';
import { asOneImage, decodeGrey, pictureSize, SAMPLE_HZ, smallGrey } from './decode.ts';

/** Demultiplexers of ffmpeg for images one behind the other, by the end of the file name. */
const PIPES: Readonly<Record<string, string>> = {
  '.jpg': 'jpeg_pipe',
  '.jpeg': 'jpeg_pipe',
  '.png': 'png_pipe',
  '.webp': 'webp_pipe',
};

/** Reads the images of a directory in the order of their names; `--fps` says how many the camera took in a second. */
export async function* readFolder(
  path: string,
  options: InputOptions,
): AsyncGenerator<Clip, void, undefined> {
  const { fps, lines, signal, windowS } = options;
  if (fps === null)
    throw new AgentError('usage', 'add --fps with the number of frames per second: images do not state it');
  const files = await listImageFiles([path]);
  const kinds = new Set(files.map((file) => PIPES[extname(file).toLowerCase()]));
  const [kind] = kinds;
  if (kinds.size > 1 || kind === undefined)
    throw new AgentError('usage', `${path} has images of several formats: keep one`);
  const rateHz = Math.min(fps, SAMPLE_HZ);
  const size = await pictureSize(asOneImage(files[0] ?? path), path, signal);
  const layout = layoutOf(smallSize(size), lines);
  const clips = new ClipCollector({ ...layout, rateHz }, windowS ?? DEFAULT_WINDOW_S, () => NO_GAPS);
  const input = ['-f', kind, '-framerate', String(fps), '-i', 'pipe:0'];
  const filters = `fps=${rateHz}:round=near,${smallGrey(layout.size)}`;
  const sizeBytes = layout.size.width * layout.size.height;
  const total = Math.ceil((files.length / fps) * rateHz);
  const feed = contentsOf(files);
  const pictures = decodeGrey({ input, filters, sizeBytes, feed, path }, signal);
  const samples = yield* collectClips(pictures, clips, total, layout, options);
  // Without the pictures that cannot be decoded, all later ones would stand at the wrong time.
  if (samples < total - 1)
    throw new AgentError('image_corrupt', `some images of ${path} cannot be decoded`, {
      context: { images: files.length, samples, wanted: total },
    });
  const last = clips.end();
  if (last) yield last;
}

async function* contentsOf(files: readonly string[]): AsyncGenerator<Buffer, void, undefined> {
  for (const file of files) yield await readFile(file);
}
