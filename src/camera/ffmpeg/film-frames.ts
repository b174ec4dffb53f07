import { addAbortListener } from 'node:events';
import { closeAtEnd } from '../../base/closing.ts';
import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { MAX_FRAME_BYTES } from '../camera.ts';
import { ChildProgram, createMissingProgramError } from '../child-program.ts';
import { JpegSplitter } from '../jpeg-splitter.ts';
import { buildFfmpegArgs, type FfmpegPrograms } from './source.ts';
import { videoInput } from './input.ts';

export interface FilmFramesOptions {
  readonly path: string;
  readonly stream: number;
  /** Position of the first frame in the film, seconds. */
  readonly positionS: number;
  readonly fps: number;
  readonly loop: boolean;
  readonly programs: FfmpegPrograms;
}

export interface FilmFrame {
  readonly bytes: Buffer;
  /** Seconds of the film after the first frame. */
  readonly atS: number;
}

/**
 * An even series of frames of a film, as fast as the caller takes them. ffmpeg repeats a frame where the film has none: such
 * frames are left out. Ends with the film.
 */
export async function* filmFrames(
  { path, stream, positionS, fps, loop, programs }: FilmFramesOptions,
  deps: { readonly clock: Clock },
  signal: AbortSignal,
): AsyncGenerator<FilmFrame, void, undefined> {
  const input = videoInput(path, positionS);
  const repeat = loop ? ['-stream_loop', '-1'] : [];
  const args = buildFfmpegArgs({ args: [...repeat, ...input.args], stream }, fps);
  const program = new ChildProgram({ program: programs.ffmpeg, args }, deps);
  using _abort = addAbortListener(signal, () => void program.stop());
  await using _stopped = closeAtEnd(() => program.stop());
  const splitter = new JpegSplitter({ maxBytes: MAX_FRAME_BYTES });
  let index = 0;
  let previous: Buffer = Buffer.alloc(0);
  for await (const chunk of program.stdout as AsyncIterable<Buffer>)
    for (const { bytes } of splitter.push(chunk)) {
      const isRepeated = previous.equals(bytes);
      previous = bytes;
      if (!isRepeated) yield { bytes, atS: index / fps };
      index += 1;
    }
  signal.throwIfAborted();
  const exit = await program.exited;
  if (exit.kind === 'not_started') throw createMissingProgramError(programs.ffmpeg, exit.error);
  if (index === 0) throw new AgentError('camera_codec', 'the video file has no frame that can be decoded');
}
